//! Where the service's models are made: ticks from the archive, models into the object store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use bus::Connection;
use bus::connect::Reminder;
use bus::error::Disposition;
use futures::FutureExt;
use futures::future::BoxFuture;
use learn::forecaster::Forecaster;
use learn::training::LearnConfig;
use market::{Instrument, Recipe};
use service::{Code, WithCode};
use store::archive::location::ArchiveLocation;
use store::model_card::{FileDigest, ModelCard};
use store::paths;
use tokio::sync::Semaphore;

use super::fit_process::{Made, Order, REBUILD, fit_apart, load};
use super::model_retention;
use super::trainings::{Job, ModelRef, Outcome, RETRY, Workshop};
use crate::archive_service::Reach;
use crate::upload::Uploader;

/// How much of a SHA-256 people are shown.
const DIGITS_SHOWN: usize = 16;

/// Where models are kept.
#[derive(Clone)]
pub struct Shelves {
    /// The object store, which every model must reach: the step goes on from there after a crash.
    pub connection: Connection,
    /// A folder for the newest model's files.
    pub out: Option<PathBuf>,
    /// A bucket, which nobody waits for.
    pub uploader: Option<Uploader>,
}

/// The workshop of the service. Clones share it.
#[derive(Clone)]
pub struct Forge {
    place: ArchiveLocation,
    reach: Reach,
    /// How models are learned; the instrument is each in its turn.
    config: LearnConfig,
    shelves: Shelves,
    /// One fit at a time: each uses the threads given.
    turn: Arc<Semaphore>,
}

impl Forge {
    /// A workshop that learns from the archive, when it is its `turn`.
    pub(crate) fn new(
        place: ArchiveLocation,
        reach: Reach,
        config: LearnConfig,
        shelves: Shelves,
        turn: Arc<Semaphore>,
    ) -> Self {
        Self { place, reach, config, shelves, turn }
    }

    async fn make(self, job: Job) -> anyhow::Result<Outcome> {
        self.reach.through(job.through.seq).await?;
        let rival = match &job.rival {
            Some(model) => Some(self.read(&job.instrument, model).await?),
            None => None,
        };
        let turn = self.turn.acquire().await.context("no more trainings")?;
        tracing::info!(instrument = %job.instrument, through = job.through.seq, "fitting a model");
        let config = LearnConfig { instrument: job.instrument.clone(), ..self.config.clone() };
        let order = Order { place: self.place.to_string(), config, through: job.through };
        let made = match fit_apart(&order, rival).await? {
            Ok(made) => made,
            Err(why) => {
                tracing::info!(instrument = %job.instrument, "no model: {why}");
                return Ok(Outcome::Nothing);
            }
        };
        drop(turn);
        // What was fitted is not fitted again because it cannot be stored yet.
        let mut reminder = Reminder::default();
        while let Err(error) = self.publish(&job, &made).await {
            if error.disposition() == Disposition::Stop {
                return Err(error.into());
            }
            reminder.warn(&error);
            tokio::time::sleep(RETRY).await;
        }
        let Made { card, artifacts, trained } = made;
        say(&job.instrument, &card);
        if let Some(Err(error)) = self.shelves.out.as_ref().map(|out| artifacts.write(out)) {
            tracing::warn!(model = card.model, "the newest model is not in the folder: {error:#}");
        }
        if let Some(uploader) = &self.shelves.uploader {
            uploader.offer(&job.instrument, &card, artifacts);
        }
        Ok(Outcome::Trained(Box::new(trained)))
    }

    /// Stores the files of a model in the object store, and makes room for them first.
    async fn publish(&self, job: &Job, made: &Made) -> Result<(), bus::Error> {
        let connection = &self.shelves.connection;
        if let Err(error) = model_retention::prune(connection, &job.instrument, made.card.recipe).await {
            tracing::warn!(%error, "old models stay in the object store");
        }
        made.artifacts.publish(connection, &job.instrument, &made.card).await
    }

    /// Reads the file of the model in use, which must be the one that FORECAST names: the object store takes any file, and
    /// XGBoost checks little of what it reads.
    async fn read(&self, instrument: &Instrument, model: &ModelRef) -> anyhow::Result<Vec<u8>> {
        let recipe: Recipe = self.config.recipe;
        let key = paths::model_key(instrument, recipe, &model.id, paths::MODEL);
        let bytes = bus::objects::get(&self.shelves.connection, &key).await?;
        let missing = || anyhow!("the model in use, {key}, is not in the object store: {REBUILD}");
        let bytes = bytes.ok_or_else(missing).exit_code(Code::Server)?;
        check(&key, &bytes, model).exit_code(Code::Server)?;
        Ok(bytes)
    }
}

impl Workshop for Forge {
    fn train(&self, job: Job) -> BoxFuture<'static, anyhow::Result<Outcome>> {
        self.clone().make(job).boxed()
    }

    fn load(&self, instrument: Instrument, model: ModelRef) -> BoxFuture<'static, anyhow::Result<Forecaster>> {
        let forge = self.clone();
        async move {
            let bytes = forge.read(&instrument, &model).await?;
            load(&bytes, &instrument)
        }
        .boxed()
    }
}

/// Refuses a file that is not the model's.
fn check(key: &str, file: &[u8], model: &ModelRef) -> anyhow::Result<()> {
    let found = FileDigest::of(file).sha256;
    let beginning = |sha256: &str| sha256.chars().take(DIGITS_SHOWN).collect::<String>();
    ensure!(
        found == model.sha256,
        "the model in use, {key}, is not the file that FORECAST names (its SHA-256 begins with {}, not with {}): find out \
         who has replaced it; put the right file back, or {REBUILD}",
        beginning(&found),
        beginning(&model.sha256)
    );
    Ok(())
}

fn say(instrument: &Instrument, card: &ModelCard) {
    let (skill, duration_ms) = (card.holdout.scores.skill, card.duration_ms);
    tracing::info!(%instrument, model = card.model, skill, duration_ms, "{}", card.verdict);
}
