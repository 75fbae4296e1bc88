//! Where the service's models are made: ticks from the archive, models into the object store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use bus::Connection;
use futures::FutureExt;
use futures::future::BoxFuture;
use market::Instrument;
use market::dataset::Recipe;
use service::{Code, WithCode};
use store::archive::Archive;
use store::layout;
use store::model_card::ModelCard;
use tokio::sync::{Semaphore, mpsc, watch};

use super::shelf;
use super::trainings::{Job, Outcome, Workshop, trained};
use crate::artifacts::Artifacts;
use crate::data::read_archive;
use crate::forecaster::Forecaster;
use crate::learn::{LearnConfig, LearnError, Learned, learn_against};
use crate::upload::Uploader;

/// Asks the archiver to write as far as a training needs, and waits for it.
#[derive(Debug, Clone)]
pub struct Reach {
    wanted: mpsc::UnboundedSender<u64>,
    written: watch::Receiver<u64>,
}

/// The archiver's end of [`Reach`].
#[derive(Debug)]
pub struct Reached {
    /// MARKET sequences that a training needs.
    pub wanted: mpsc::UnboundedReceiver<u64>,
    /// The MARKET sequence that the archive's files reach.
    pub written: watch::Sender<u64>,
}

/// Both ends, with the archive reaching as far as `written`.
pub fn reach(written: u64) -> (Reach, Reached) {
    let (wanted, receiver) = mpsc::unbounded_channel();
    let (sender, written) = watch::channel(written);
    (Reach { wanted, written }, Reached { wanted: receiver, written: sender })
}

impl Reach {
    async fn through(&self, seq: u64) -> anyhow::Result<()> {
        self.wanted.send(seq).context("the archiver has ended")?;
        let mut written = self.written.clone();
        written.wait_for(|&written| written >= seq).await.context("the archiver has ended")?;
        Ok(())
    }
}

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
    /// One fit at a time: each uses the threads given.
    turn: Arc<Semaphore>,
}

impl Forge {
    /// A workshop that learns from the archive.
    pub fn new(archive: Archive, reach: Reach, config: LearnConfig, shelves: Shelves) -> Self {
        Self { archive, reach, config, shelves, turn: Arc::new(Semaphore::new(1)) }
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
        let fitted = tokio::task::spawn_blocking(move || {
            let fitted = fit(&archive, &of, &config, rival.as_ref());
            drop(turn);
            fitted
        });
        let learned = match fitted.await? {
            Ok(learned) => learned,
            // Asked again, the same ticks would give the same answer.
            Err(error) if is_of_the_data(&error) => {
                tracing::info!(instrument = %job.instrument, "no model: {error:#}");
                return Ok(Outcome::Nothing);
            }
            Err(error) => return Err(error),
        };
        self.keep(&job, &learned).await?;
        Ok(Outcome::Trained(trained(&job, &learned, self.config.boosting.threads)?))
    }

    /// Stores the files of a model: in the object store, or there is no model; elsewhere if it can be done.
    async fn keep(&self, job: &Job, learned: &Learned) -> anyhow::Result<()> {
        let Shelves { connection, out, uploader } = &self.shelves;
        let (card, instrument) = (&learned.card, &job.instrument);
        let artifacts = Artifacts::new(learned)?;
        if let Some(Err(error)) = out.as_ref().map(|out| artifacts.write(out)) {
            tracing::warn!(model = card.model, "the newest model is not in the folder: {error:#}");
        }
        artifacts.publish(connection, instrument, card).await?;
        let keep: Vec<&str> = job.rival.iter().chain([&card.model]).map(String::as_str).collect();
        if let Err(error) = shelf::prune(connection, instrument, card.recipe, &keep).await {
            tracing::warn!(%error, "old models stay in the object store");
        }
        say(instrument, card);
        if let Some(uploader) = uploader {
            uploader.offer(instrument, card, artifacts);
        }
        Ok(())
    }

    async fn read(&self, instrument: &Instrument, model: &str) -> anyhow::Result<Forecaster> {
        let recipe: Recipe = self.config.recipe;
        let key = layout::model_key(instrument, recipe, model, layout::MODEL);
        let advice = "run `topology rebuild forecast`, and the trainer learns anew";
        let bytes = bus::objects::get(&self.shelves.connection, &key).await?;
        let bytes = bytes.ok_or_else(|| anyhow!("the model in use, {key}, is not in the object store: {advice}"));
        let forecaster = Forecaster::load(&bytes.exit_code(Code::Server)?, self.config.boosting.threads);
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

fn fit(archive: &Archive, job: &Job, config: &LearnConfig, rival: Option<&Forecaster>) -> anyhow::Result<Learned> {
    let started = Instant::now();
    let data = read_archive(archive, &job.instrument, job.through)?;
    let mut learned = learn_against(&data.ticks, data.range, config, rival, |_| ())?;
    learned.card.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(learned)
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
