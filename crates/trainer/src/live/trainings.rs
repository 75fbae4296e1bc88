//! Trainings under way and models at hand, for the step that forecasts.
//!
//! A training is a pure function of the log: asked for twice it gives the same model. So the step asks as soon as one is
//! due, goes on, and waits for it only where its model counts; after a crash it asks again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::error::Disposition;
use bus::reminder::Reminder;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use learn::booster::BoosterError;
use learn::forecaster::Forecaster;
use learn::training::{Duel, LearnError};
use market::{EventTime, Instrument, Scores};
use serde::{Deserialize, Serialize};
use service::{Code, Shutdown};
use store::archive::Through;
use store::model_card::{FileDigest, ModelCard};
use tokio::sync::mpsc;

use super::fit_process::{Broken, Died};

/// How long to wait before something that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// The longest wait before a fit whose process died is started again: each such try may cost the machine all that a fit does.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Threads for one row: more would cost more than they save.
pub(super) const LIVE_THREADS: usize = 1;

/// A model, and the one file that is it: the object store takes any file under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Its id.
    pub id: String,
    /// SHA-256 of its file, as 64 hexadecimal digits.
    pub sha256: String,
}

impl ModelRef {
    /// A model by its id and the content of its file.
    pub fn new(id: impl Into<String>, file: &[u8]) -> Self {
        Self { id: id.into(), sha256: FileDigest::of(file).sha256 }
    }
}

/// A training: whose ticks, up to where, and the model that it must beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose model.
    pub instrument: Instrument,
    /// It learns from nothing later.
    pub through: Through,
    /// The model in use.
    pub rival: Option<ModelRef>,
}

/// What a training came to.
pub enum Outcome {
    /// A model.
    Trained(Box<Trained>),
    /// No model: there is not enough to learn from.
    Nothing,
}

/// A model and how it did.
pub struct Trained {
    /// Which model.
    pub model: ModelRef,
    /// The model, ready to predict.
    pub forecaster: Arc<Forecaster>,
    /// Event time of its first tick.
    pub first: EventTime,
    /// Event time of its last tick.
    pub last: EventTime,
    /// Its ticks.
    pub ticks: u64,
    /// How it did on its holdout.
    pub scores: Scores,
    /// How both did, this one and the model in use, on rows that neither has learned from.
    pub duel: Option<Duel>,
}

/// What was learned, as the step needs it.
///
/// # Errors
/// When the model cannot be read back from its own bytes.
pub fn trained(card: &ModelCard, model: &[u8], duel: Option<Duel>) -> anyhow::Result<Trained> {
    Ok(Trained {
        model: ModelRef::new(&card.model, model),
        forecaster: Arc::new(Forecaster::load(model, LIVE_THREADS)?),
        first: EventTime(card.time.first_ms),
        last: EventTime(card.time.last_ms),
        ticks: card.rows.ticks as u64,
        scores: card.holdout.scores,
        duel,
    })
}

/// Where ticks come from and models go.
pub trait Workshop: Send + Sync + 'static {
    /// Trains, and stores the model where [`Self::load`] finds it. The same job gives the same model.
    fn train(&self, job: Job) -> BoxFuture<'static, anyhow::Result<Outcome>>;

    /// Reads a model that was stored; nothing but the file that it was stored as.
    fn load(&self, instrument: Instrument, model: ModelRef) -> BoxFuture<'static, anyhow::Result<Forecaster>>;
}

/// A result that many may wait for; none when everything was stopped first.
type Under<T> = Shared<BoxFuture<'static, Option<Arc<T>>>>;

/// Trainings under way and models at hand, one of each for an instrument. Clones share them.
#[derive(Clone)]
pub struct Trainings(Arc<Inner>);

struct Inner {
    workshop: Arc<dyn Workshop>,
    trainings: Mutex<HashMap<Instrument, (Job, Under<Outcome>)>>,
    models: Mutex<HashMap<Instrument, (ModelRef, Under<Forecaster>)>>,
    stop: Shutdown,
    fatal: mpsc::UnboundedSender<anyhow::Error>,
}

/// What ends all trainings: an error that neither time nor a retry can mend.
pub type Fatal = mpsc::UnboundedReceiver<anyhow::Error>;

impl Trainings {
    /// Nothing under way. Work goes on until `stop`; what cannot be mended comes out of the second value.
    pub fn new(workshop: Arc<dyn Workshop>, stop: Shutdown) -> (Self, Fatal) {
        let (fatal, errors) = mpsc::unbounded_channel();
        let (trainings, models) = (Mutex::default(), Mutex::default());
        (Self(Arc::new(Inner { workshop, trainings, models, stop, fatal })), errors)
    }

    /// Begins a training, if it is not under way or done, in place of an earlier one of its instrument.
    pub fn start(&self, job: &Job) {
        drop(self.training(job));
    }

    /// Resolves when a training is done, which is begun if need be.
    pub fn done(&self, job: &Job) -> BoxFuture<'static, ()> {
        done(self.training(job))
    }

    /// What a training came to; `None` while it is under way.
    pub fn outcome(&self, job: &Job) -> Option<Arc<Outcome>> {
        let trainings = lock(&self.0.trainings);
        let (_, under_way) = trainings.get(&job.instrument).filter(|(of, _)| of == job)?;
        under_way.peek().cloned().flatten()
    }

    /// A model that is at hand.
    pub fn forecaster(&self, instrument: &Instrument, model: &ModelRef) -> Option<Arc<Forecaster>> {
        let models = lock(&self.0.models);
        let (_, loaded) = models.get(instrument).filter(|(of, _)| of == model)?;
        loaded.peek().cloned().flatten()
    }

    /// Resolves when a model is at hand, which is read if need be.
    pub fn loaded(&self, instrument: &Instrument, model: &ModelRef) -> BoxFuture<'static, ()> {
        let (of, key) = (instrument.clone(), model.clone());
        let load = move |workshop: &dyn Workshop| workshop.load(of.clone(), key.clone());
        done(self.begin(&self.0.models, instrument, model.clone(), load))
    }

    /// A training is settled, and its model taken into use if it comes with one.
    pub fn settle(&self, instrument: &Instrument, taken: Option<&Trained>) {
        lock(&self.0.trainings).remove(instrument);
        if let Some(trained) = taken {
            let at_hand = std::future::ready(Some(Arc::clone(&trained.forecaster))).boxed().shared();
            // Peeking sees only what was polled once.
            drop(at_hand.clone().now_or_never());
            lock(&self.0.models).insert(instrument.clone(), (trained.model.clone(), at_hand));
        }
    }

    fn training(&self, job: &Job) -> Under<Outcome> {
        let of = job.clone();
        self.begin(&self.0.trainings, &job.instrument, job.clone(), move |workshop| workshop.train(of.clone()))
    }

    /// Does something until it succeeds, once for everybody who waits for it.
    fn begin<K: PartialEq, T: Send + Sync + 'static>(
        &self,
        all: &Mutex<HashMap<Instrument, (K, Under<T>)>>,
        instrument: &Instrument,
        key: K,
        work: impl Fn(&dyn Workshop) -> BoxFuture<'static, anyhow::Result<T>> + Send + Sync + 'static,
    ) -> Under<T> {
        let mut all = lock(all);
        if let Some((_, under_way)) = all.get(instrument).filter(|(of, _)| *of == key) {
            return under_way.clone();
        }
        let (workshop, stop, fatal) = (Arc::clone(&self.0.workshop), self.0.stop.clone(), self.0.fatal.clone());
        let broken = fatal.clone();
        let work = tokio::spawn(async move {
            tokio::select! {
                done = until_done(|| work(&*workshop), &fatal) => Some(Arc::new(done)),
                () = stop.requested() => None,
            }
        });
        let done = async move {
            match work.await {
                Ok(done) => done,
                Err(panicked) => {
                    drop(broken.send(panicked.into()));
                    std::future::pending().await
                }
            }
        };
        let under_way = done.boxed().shared();
        // Goes on whoever waits for it.
        drop(tokio::spawn(under_way.clone()));
        all.insert(instrument.clone(), (key, under_way.clone()));
        under_way
    }
}

/// Resolves with a result; never, when everything was stopped.
fn done<T: Send + Sync + 'static>(under_way: Under<T>) -> BoxFuture<'static, ()> {
    let done = async move {
        if under_way.await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    done.boxed()
}

/// Tries until it works. Whatever waiting cannot mend is reported; then this never returns.
async fn until_done<T>(
    work: impl Fn() -> BoxFuture<'static, anyhow::Result<T>>,
    fatal: &mpsc::UnboundedSender<anyhow::Error>,
) -> T {
    let mut reminder = Reminder::default();
    let mut pause = Duration::ZERO;
    loop {
        let error = match work().await {
            Ok(done) => return done,
            Err(error) => error,
        };
        if is_fatal(&error) {
            // Nobody listens any more when the service has ended already.
            drop(fatal.send(error));
            return std::future::pending().await;
        }
        reminder.warn(&format!("{error:#}"));
        pause = pause_after(&error, pause);
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait after an error before the next try, when it was `last` before this one.
fn pause_after(error: &anyhow::Error, last: Duration) -> Duration {
    if error.is::<Died>() { (last * 2).clamp(RETRY, RETRY_MAX) } else { RETRY }
}

/// Whether neither time nor another try can mend it: a setting, a permission, a damaged model, a broken fit.
pub(super) fn is_fatal(error: &anyhow::Error) -> bool {
    let of_bus = error.downcast_ref::<bus::Error>().is_some_and(|error| error.disposition() == Disposition::Stop);
    let is_broken = error.is::<Broken>() || error.is::<LearnError>() || error.is::<BoosterError>();
    of_bus || is_broken || matches!(crate::code_of(error), Some(Code::Server | Code::BadConfig))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use anyhow::anyhow;

    use super::*;

    #[test]
    fn whatever_dies_again_and_again_is_tried_ever_more_rarely() {
        let died = || Died(ExitStatus::from_raw(9)).into();
        let away = || anyhow!("the bucket is away");
        let mut pause = Duration::ZERO;
        let mut after = |error: anyhow::Error| {
            pause = pause_after(&error, pause);
            pause.as_millis()
        };
        assert_eq!([after(away()), after(died()), after(died())], [500, 1_000, 2_000]);
        let later: Vec<u128> = (0..6).map(|_| after(died())).collect();
        assert_eq!(later, [4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!([after(away()), after(died())], [500, 1_000], "the bucket may be back soon");
    }
}
