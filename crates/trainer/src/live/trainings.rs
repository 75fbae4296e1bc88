//! Trainings under way and models at hand, for the step that forecasts.
//!
//! A training is a pure function of the log: asked for twice it gives the same model. So the step asks as soon as one is
//! due, goes on, and waits for it only where its model counts; after a crash it asks again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use market::forecast::{HoldoutScores, Rival};
use market::trail::Known;
use market::{EventTime, Instrument};
use service::{Code, Shutdown};
use store::archive::Through;
use tokio::sync::mpsc;

use crate::forecaster::{Forecaster, Predicted};
use crate::learn::Learned;

/// How long to wait before something that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A training: whose ticks, up to where, and the model that it must beat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    /// Whose model.
    pub instrument: Instrument,
    /// It learns from nothing later.
    pub through: Through,
    /// The model in use.
    pub rival: Option<String>,
}

/// What a training came to.
pub enum Outcome {
    /// A model.
    Trained(Trained),
    /// No model: there is not enough to learn from.
    Nothing,
}

/// A model and how it did.
pub struct Trained {
    /// Its id.
    pub model: String,
    /// The model, ready to predict.
    pub forecaster: Arc<Forecaster>,
    /// Event time of its first tick.
    pub first: EventTime,
    /// Event time of its last tick.
    pub last: EventTime,
    /// Its ticks.
    pub ticks: u64,
    /// How it did on its holdout.
    pub scores: HoldoutScores,
    /// How the model in use did there.
    pub rival: Option<Rival>,
}

/// What was learned, as the step needs it.
///
/// # Errors
/// When the model cannot be read back from its own bytes.
pub fn trained(job: &Job, learned: &Learned, threads: usize) -> anyhow::Result<Trained> {
    let card = &learned.card;
    let scores = &card.holdout.scores;
    Ok(Trained {
        model: card.model.clone(),
        forecaster: Arc::new(Forecaster::load(&learned.model, threads)?),
        first: EventTime(card.time.first_ms),
        last: EventTime(card.time.last_ms),
        ticks: card.rows.ticks as u64,
        scores: HoldoutScores {
            rows: scores.rows as u64,
            rmse: scores.rmse,
            baseline_rmse: scores.baseline_rmse,
            skill: scores.skill,
        },
        rival: job.rival.clone().zip(learned.rival_rmse).map(|(model, rmse)| Rival { model, rmse }),
    })
}

/// Where ticks come from and models go.
pub trait Workshop: Send + Sync + 'static {
    /// Trains, and stores the model where [`Self::load`] finds it. The same job gives the same model.
    fn train(&self, job: Job) -> BoxFuture<'static, anyhow::Result<Outcome>>;

    /// Reads a model that was stored.
    fn load(&self, instrument: Instrument, model: String) -> BoxFuture<'static, anyhow::Result<Forecaster>>;
}

/// A result that many may wait for.
type Under<T> = Shared<BoxFuture<'static, Arc<T>>>;

/// Trainings under way and models at hand. Clones share them.
#[derive(Clone)]
pub struct Trainings(Arc<Inner>);

struct Inner {
    workshop: Arc<dyn Workshop>,
    jobs: Mutex<HashMap<Job, Under<Outcome>>>,
    models: Mutex<HashMap<(Instrument, String), Under<Forecaster>>>,
    stop: Shutdown,
    fatal: mpsc::UnboundedSender<anyhow::Error>,
}

/// What ends all trainings: an error that neither time nor a retry can mend.
pub type Fatal = mpsc::UnboundedReceiver<anyhow::Error>;

impl Trainings {
    /// Nothing under way. Work goes on until `stop`; what cannot be mended comes out of the second value.
    pub fn new(workshop: Arc<dyn Workshop>, stop: Shutdown) -> (Self, Fatal) {
        let (fatal, errors) = mpsc::unbounded_channel();
        let (jobs, models) = (Mutex::default(), Mutex::default());
        (Self(Arc::new(Inner { workshop, jobs, models, stop, fatal })), errors)
    }

    /// Begins a training, if it is not under way or done.
    pub fn start(&self, job: &Job) {
        drop(self.under_way(job));
    }

    /// Resolves when a training is done, which is begun if need be.
    pub fn done(&self, job: &Job) -> BoxFuture<'static, ()> {
        self.under_way(job).map(drop).boxed()
    }

    /// What a training came to; `None` while it is under way.
    pub fn outcome(&self, job: &Job) -> Option<Arc<Outcome>> {
        lock(&self.0.jobs).get(job)?.peek().cloned()
    }

    /// A model that is at hand.
    pub fn forecaster(&self, instrument: &Instrument, model: &str) -> Option<Arc<Forecaster>> {
        let of_job = |outcome: &Arc<Outcome>| match &**outcome {
            Outcome::Trained(trained) if trained.model == model => Some(Arc::clone(&trained.forecaster)),
            _ => None,
        };
        let loaded = lock(&self.0.models).get(&(instrument.clone(), model.to_owned())).and_then(Shared::peek).cloned();
        loaded.or_else(|| {
            let jobs = lock(&self.0.jobs);
            let mut of_instrument = jobs.iter().filter(|(job, _)| job.instrument == *instrument);
            of_instrument.find_map(|(_, under_way)| under_way.peek().and_then(of_job))
        })
    }

    /// Resolves when a model is at hand.
    pub fn loaded(&self, instrument: &Instrument, model: &str) -> BoxFuture<'static, ()> {
        let workshop = Arc::clone(&self.0.workshop);
        let (instrument, model) = (instrument.clone(), model.to_owned());
        let key = (instrument.clone(), model.clone());
        let load = move || workshop.load(instrument.clone(), model.clone());
        self.begin(&self.0.models, key, "reading a model", load).map(drop).boxed()
    }

    /// A prediction; `None` when the model refuses, which is said in the log.
    pub fn predict(&self, forecaster: &Forecaster, known: &Known) -> Option<Predicted> {
        forecaster.predict(known).inspect_err(|error| tracing::error!(%error, "no forecast")).ok()
    }

    /// A training is settled: of the instrument's models only the one in use is still needed.
    pub fn settled(&self, job: &Job, in_use: Option<&str>) {
        let kept = in_use.and_then(|model| self.forecaster(&job.instrument, model).map(|known| (model, known)));
        lock(&self.0.jobs).retain(|known, _| known.instrument != job.instrument);
        let mut models = lock(&self.0.models);
        models.retain(|(instrument, _), _| *instrument != job.instrument);
        if let Some((model, forecaster)) = kept {
            let at_hand = std::future::ready(forecaster).boxed().shared();
            // Peeking sees only what was polled once.
            drop(at_hand.clone().now_or_never());
            models.insert((job.instrument.clone(), model.to_owned()), at_hand);
        }
    }

    fn under_way(&self, job: &Job) -> Under<Outcome> {
        let workshop = Arc::clone(&self.0.workshop);
        let of = job.clone();
        self.begin(&self.0.jobs, job.clone(), "a training", move || workshop.train(of.clone()))
    }

    /// Does something until it succeeds, once for everybody who waits for it.
    fn begin<K: Eq + Hash, T: Send + Sync + 'static>(
        &self,
        all: &Mutex<HashMap<K, Under<T>>>,
        key: K,
        what: &'static str,
        work: impl Fn() -> BoxFuture<'static, anyhow::Result<T>> + Send + 'static,
    ) -> Under<T> {
        let (stop, fatal) = (self.0.stop.clone(), self.0.fatal.clone());
        let begin = || {
            let shared = async move { Arc::new(until_done(work, what, &stop, &fatal).await) }.boxed().shared();
            // Goes on whoever waits for it.
            drop(tokio::spawn(shared.clone()));
            shared
        };
        lock(all).entry(key).or_insert_with(begin).clone()
    }
}

/// Tries until it works. Whatever waiting cannot mend is reported; then, and after a stop, this never returns.
async fn until_done<T>(
    work: impl Fn() -> BoxFuture<'static, anyhow::Result<T>>,
    what: &str,
    stop: &Shutdown,
    fatal: &mpsc::UnboundedSender<anyhow::Error>,
) -> T {
    let mut has_warned = false;
    loop {
        let error = tokio::select! {
            result = work() => match result {
                Ok(done) => return done,
                Err(error) => error,
            },
            () = stop.requested() => return std::future::pending().await,
        };
        if is_fatal(&error) {
            // Nobody listens any more when the service has ended already.
            drop(fatal.send(error.context(format!("{what} failed"))));
            return std::future::pending().await;
        }
        if !std::mem::replace(&mut has_warned, true) {
            tracing::warn!("{what} failed, trying again: {error:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.requested() => return std::future::pending().await,
        }
    }
}

fn is_fatal(error: &anyhow::Error) -> bool {
    matches!(crate::code_of(error), Some(Code::Server | Code::BadConfig))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
