//! Trains the service's models: ticks come from the archive, models go to the object store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use bus::Connection;
use bus::error::Disposition;
use bus::reminder::Reminder;
use futures::FutureExt;
use futures::future::BoxFuture;
use learn::config::LearnConfig;
use learn::forecaster::Forecaster;
use market::{Instrument, Recipe};
use service::{Code, WithCode};
use store::archive::location::ArchiveLocation;
use store::model_card::{FileDigest, ModelCard};
use store::paths;
use tokio::sync::Semaphore;

use super::error::REBUILD_ADVICE;
use super::fit_process::frame::FitRequest;
use super::fit_process::{FittedModel, spawn_fit};
use super::model::{ModelRef, load_model};
use super::model_retention;
use super::model_trainer::{ModelTrainer, TrainingJob, TrainingOutcome};
use super::trainings::RETRY_DELAY;
use crate::archive_service::ArchiveHandle;
use crate::upload::Uploader;

/// Hexadecimal digits of a SHA-256 that an error shows.
const DIGITS_SHOWN: usize = 16;

/// The stores that a model goes to.
#[derive(Clone)]
pub struct ModelSinks {
    /// The object store, which every model must reach: after a crash the step reads it from there.
    pub connection: Connection,
    /// A folder for the newest model's files.
    pub out: Option<PathBuf>,
    /// A bucket. Uploads to it are not waited for.
    pub uploader: Option<Uploader>,
}

/// The model trainer of the service. Clones share it.
#[derive(Clone)]
pub struct ArchiveTrainer {
    storage: ArchiveLocation,
    archive: ArchiveHandle,
    /// How models are learned. Each training puts its own instrument in.
    config: LearnConfig,
    sinks: ModelSinks,
    /// One fit at a time: each uses the threads given.
    fit_permit: Arc<Semaphore>,
}

impl ArchiveTrainer {
    /// Creates a trainer that learns from the archive in `storage`. A fit waits for the `fit_permit`.
    pub(crate) fn new(
        storage: ArchiveLocation,
        archive: ArchiveHandle,
        config: LearnConfig,
        sinks: ModelSinks,
        fit_permit: Arc<Semaphore>,
    ) -> Self {
        Self { storage, archive, config, sinks, fit_permit }
    }

    async fn train_once(self, job: TrainingJob) -> anyhow::Result<TrainingOutcome> {
        self.archive.write_through(job.through.seq).await?;
        let incumbent = match &job.incumbent {
            Some(model) => Some(self.read(&job.instrument, model).await?),
            None => None,
        };
        let permit = self.fit_permit.acquire().await.context("the service is ending")?;
        tracing::info!(instrument = %job.instrument, through = job.through.seq, "fitting a model");
        let config = LearnConfig { instrument: job.instrument.clone(), ..self.config.clone() };
        let request = FitRequest { archive: self.storage.to_string(), config, through: job.through };
        let fitted = match spawn_fit(request, incumbent).await? {
            Ok(fitted) => fitted,
            Err(why) => {
                tracing::info!(instrument = %job.instrument, "no model: {why}");
                return Ok(TrainingOutcome::NoModel);
            }
        };
        drop(permit);
        // Retried here, so that a model is not fitted again because it cannot be stored yet.
        let mut reminder = Reminder::default();
        while let Err(error) = self.publish(&job, &fitted).await {
            if error.disposition() == Disposition::Stop {
                return Err(error.into());
            }
            reminder.warn(&error);
            tokio::time::sleep(RETRY_DELAY).await;
        }
        let FittedModel { card, artifacts, trained } = fitted;
        log_verdict(&job.instrument, &card);
        if let Some(Err(error)) = self.sinks.out.as_ref().map(|out| artifacts.write(out)) {
            tracing::warn!(model = card.model, "the newest model is not in the folder: {error:#}");
        }
        if let Some(uploader) = &self.sinks.uploader {
            uploader.offer(&job.instrument, &card, artifacts);
        }
        Ok(TrainingOutcome::Trained(Box::new(trained)))
    }

    /// Removes old models from the object store, and stores the files of a new one there.
    async fn publish(&self, job: &TrainingJob, fitted: &FittedModel) -> Result<(), bus::Error> {
        let connection = &self.sinks.connection;
        if let Err(error) = model_retention::prune(connection, &job.instrument, fitted.card.recipe).await {
            tracing::warn!(%error, "old models stay in the object store");
        }
        fitted.artifacts.publish(connection, &job.instrument, &fitted.card).await
    }

    /// Reads the file of the model in use, and refuses any file but the one that FORECAST names: the object store takes
    /// any file, and XGBoost checks little of what it reads.
    async fn read(&self, instrument: &Instrument, model: &ModelRef) -> anyhow::Result<Vec<u8>> {
        let recipe: Recipe = self.config.recipe;
        let key = paths::model_key(instrument, recipe, &model.id, paths::MODEL);
        let content = bus::objects::get(&self.sinks.connection, &key).await?;
        let missing = || anyhow!("the model in use, {key}, is not in the object store: {REBUILD_ADVICE}");
        let content = content.ok_or_else(missing).exit_code(Code::Server)?;
        check_digest(&key, &content, model).exit_code(Code::Server)?;
        Ok(content)
    }
}

impl ModelTrainer for ArchiveTrainer {
    fn train(&self, job: TrainingJob) -> BoxFuture<'static, anyhow::Result<TrainingOutcome>> {
        self.clone().train_once(job).boxed()
    }

    fn load(&self, instrument: Instrument, model: ModelRef) -> BoxFuture<'static, anyhow::Result<Forecaster>> {
        let trainer = self.clone();
        async move {
            let content = trainer.read(&instrument, &model).await?;
            load_model(&content, &instrument)
        }
        .boxed()
    }
}

/// Refuses a file whose digest is not the model's.
fn check_digest(key: &str, file: &[u8], model: &ModelRef) -> anyhow::Result<()> {
    let found = FileDigest::of(file).sha256;
    let beginning = |sha256: &str| sha256.chars().take(DIGITS_SHOWN).collect::<String>();
    ensure!(
        found == model.sha256,
        "the model in use, {key}, is not the file that FORECAST names (its SHA-256 begins with {}, not with {}): find out \
         what has replaced it; put the right file back, or {REBUILD_ADVICE}",
        beginning(&found),
        beginning(&model.sha256)
    );
    Ok(())
}

fn log_verdict(instrument: &Instrument, card: &ModelCard) {
    let (skill, duration_ms) = (card.holdout.scores.skill, card.duration_ms);
    tracing::info!(%instrument, model = card.model, skill, duration_ms, "{}", card.verdict);
}
