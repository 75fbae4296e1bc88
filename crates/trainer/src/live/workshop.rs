//! Where the service's models are made: ticks from the archive, models into the object store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use bus::Connection;
use bus::connect::Reminder;
use bus::error::Disposition;
use futures::FutureExt;
use futures::future::BoxFuture;
use market::Instrument;
use market::dataset::Recipe;
use service::{Code, WithCode};
use store::archive::Archive;
use store::layout;
use store::model_card::ModelCard;
use tokio::sync::Semaphore;

use super::shelf;
use super::trainings::{Job, LIVE_THREADS, Outcome, RETRY, Trained, Workshop, trained};
use crate::archiving::Reach;
use crate::artifacts::Artifacts;
use crate::data::read_archive;
use crate::forecaster::Forecaster;
use crate::learn::{LearnConfig, LearnError, learn_against};
use crate::upload::Uploader;

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
    archive: Archive,
    reach: Reach,
    /// How models are learned; the instrument is each in its turn.
    config: LearnConfig,
    shelves: Shelves,
    /// One fit at a time in a process: each uses the threads given.
    turn: Arc<Semaphore>,
}

/// What a fit leaves behind.
struct Made {
    card: ModelCard,
    artifacts: Artifacts,
    trained: Trained,
}

impl Forge {
    /// A workshop that learns from the archive, when it is its `turn`.
    pub(crate) fn new(
        archive: Archive,
        reach: Reach,
        config: LearnConfig,
        shelves: Shelves,
        turn: Arc<Semaphore>,
    ) -> Self {
        Self { archive, reach, config, shelves, turn }
    }

    async fn make(self, job: Job) -> anyhow::Result<Outcome> {
        self.reach.through(job.through.seq).await?;
        let rival = match &job.rival {
            Some(model) => Some(self.read(&job.instrument, model).await?),
            None => None,
        };
        let turn = Arc::clone(&self.turn).acquire_owned().await.context("no more trainings")?;
        tracing::info!(instrument = %job.instrument, through = job.through.seq, "fitting a model");
        let (archive, of) = (self.archive.clone(), job.clone());
        let config = LearnConfig { instrument: job.instrument.clone(), ..self.config.clone() };
        let made = tokio::task::spawn_blocking(move || {
            let made = fit(&archive, &of, &config, rival.as_ref());
            drop(turn);
            made
        });
        let made = match made.await? {
            Ok(made) => made,
            // Asked again, the same ticks would give the same answer.
            Err(error) if is_of_the_data(&error) => {
                tracing::info!(instrument = %job.instrument, "no model: {error:#}");
                return Ok(Outcome::Nothing);
            }
            Err(error) => return Err(error),
        };
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
        if let Err(error) = shelf::prune(connection, &job.instrument, made.card.recipe).await {
            tracing::warn!(%error, "old models stay in the object store");
        }
        made.artifacts.publish(connection, &job.instrument, &made.card).await
    }

    async fn read(&self, instrument: &Instrument, model: &str) -> anyhow::Result<Forecaster> {
        let recipe: Recipe = self.config.recipe;
        let key = layout::model_key(instrument, recipe, model, layout::MODEL);
        let advice = "run `topology rebuild forecast`, and the trainer learns anew";
        let bytes = bus::objects::get(&self.shelves.connection, &key).await?;
        let bytes = bytes.ok_or_else(|| anyhow!("the model in use, {key}, is not in the object store: {advice}"));
        let forecaster = Forecaster::load(&bytes.exit_code(Code::Server)?, LIVE_THREADS);
        let forecaster = forecaster.with_context(|| format!("the model in use, {key}, cannot be used: {advice}"));
        forecaster.exit_code(Code::Server)
    }
}

impl Workshop for Forge {
    fn train(&self, job: Job) -> BoxFuture<'static, anyhow::Result<Outcome>> {
        self.clone().make(job).boxed()
    }

    fn load(&self, instrument: Instrument, model: String) -> BoxFuture<'static, anyhow::Result<Forecaster>> {
        let forge = self.clone();
        async move { forge.read(&instrument, &model).await }.boxed()
    }
}

fn fit(archive: &Archive, job: &Job, config: &LearnConfig, rival: Option<&Forecaster>) -> anyhow::Result<Made> {
    let started = Instant::now();
    let data = read_archive(archive, &job.instrument, job.through)?;
    let learned = learn_against(&data.ticks, data.range, config, rival, |_| ())?.timed(started.elapsed());
    let (artifacts, trained) = (Artifacts::new(&learned)?, trained(&learned)?);
    Ok(Made { card: learned.card, artifacts, trained })
}

/// Whether only other data, or other flags, would give a model.
fn is_of_the_data(error: &anyhow::Error) -> bool {
    let of_learning = error.downcast_ref::<LearnError>();
    crate::code_of(error) == Some(Code::NotEnoughData)
        || of_learning.is_some_and(|error| !matches!(error, LearnError::Booster(_)))
}

fn say(instrument: &Instrument, card: &ModelCard) {
    let (skill, duration_ms) = (card.holdout.scores.skill, card.duration_ms);
    tracing::info!(%instrument, model = card.model, skill, duration_ms, "{}", card.verdict);
}
