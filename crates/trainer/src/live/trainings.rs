//! Trainings in progress and loaded models, for the forecasting step.
//!
//! A training is a pure function of the log: repeated, it gives the same model. So the step starts one as soon as it is
//! due, goes on, and waits for the model only where it begins to count. After a crash the step starts the training
//! again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::reminder::Reminder;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use learn::forecaster::Forecaster;
use market::Instrument;
use service::Shutdown;
use tokio::sync::mpsc;

use super::error::{FitProcessDied, is_fatal};
use super::model::{ModelRef, TrainedModel};
use super::model_trainer::{ModelTrainer, TrainingJob, TrainingOutcome};

/// Pause before another attempt.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Longest pause before a fit whose process died is started again: each attempt may cost the machine all that a fit
/// does.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// A result that several tasks can await; `None` when shutdown came first.
type SharedResult<T> = Shared<BoxFuture<'static, Option<Arc<T>>>>;

/// Work in progress or done, one of each kind for an instrument, with the key that says what was asked for.
type Work<K, T> = Mutex<HashMap<Instrument, (K, SharedResult<T>)>>;

/// Trainings in progress and loaded models, one of each for an instrument. Clones share them.
#[derive(Clone)]
pub struct Trainings(Arc<Inner>);

struct Inner {
    trainer: Arc<dyn ModelTrainer>,
    trainings: Work<TrainingJob, TrainingOutcome>,
    models: Work<ModelRef, Forecaster>,
    shutdown: Shutdown,
    fatal: mpsc::UnboundedSender<anyhow::Error>,
}

/// Receives errors that end all trainings: neither time nor another attempt can resolve them.
pub type FatalErrors = mpsc::UnboundedReceiver<anyhow::Error>;

impl Trainings {
    /// Starts with no training in progress. Work goes on until `shutdown`; fatal errors arrive at the second value.
    pub fn new(trainer: Arc<dyn ModelTrainer>, shutdown: Shutdown) -> (Self, FatalErrors) {
        let (fatal, errors) = mpsc::unbounded_channel();
        let (trainings, models) = (Mutex::default(), Mutex::default());
        (Self(Arc::new(Inner { trainer, trainings, models, shutdown, fatal })), errors)
    }

    /// Starts a training, unless it is in progress or done. It replaces an earlier one of its instrument.
    pub fn start(&self, job: &TrainingJob) {
        drop(self.training(job));
    }

    /// Resolves when a training is done. Starts it if need be.
    pub fn done(&self, job: &TrainingJob) -> BoxFuture<'static, ()> {
        done(self.training(job))
    }

    /// Returns the result of a training; `None` while it is in progress.
    pub fn outcome(&self, job: &TrainingJob) -> Option<Arc<TrainingOutcome>> {
        let trainings = lock(&self.0.trainings);
        let (_, training) = trainings.get(&job.instrument).filter(|(of, _)| of == job)?;
        training.peek().cloned().flatten()
    }

    /// Returns a model that is loaded.
    pub fn forecaster(&self, instrument: &Instrument, model: &ModelRef) -> Option<Arc<Forecaster>> {
        let models = lock(&self.0.models);
        let (_, loaded) = models.get(instrument).filter(|(of, _)| of == model)?;
        loaded.peek().cloned().flatten()
    }

    /// Resolves when a model is loaded. Starts loading it if need be.
    pub fn loaded(&self, instrument: &Instrument, model: &ModelRef) -> BoxFuture<'static, ()> {
        let (of, key) = (instrument.clone(), model.clone());
        let load = move |trainer: &dyn ModelTrainer| trainer.load(of.clone(), key.clone());
        done(self.start_once(&self.0.models, instrument, model.clone(), load))
    }

    /// Ends the training of an instrument. A model that was `taken` into use is kept loaded.
    pub fn settle(&self, instrument: &Instrument, taken: Option<&TrainedModel>) {
        lock(&self.0.trainings).remove(instrument);
        if let Some(trained) = taken {
            let loaded = std::future::ready(Some(Arc::clone(&trained.forecaster))).boxed().shared();
            // A shared future can be peeked at only after it was polled.
            drop(loaded.clone().now_or_never());
            lock(&self.0.models).insert(instrument.clone(), (trained.model.clone(), loaded));
        }
    }

    fn training(&self, job: &TrainingJob) -> SharedResult<TrainingOutcome> {
        let of = job.clone();
        self.start_once(&self.0.trainings, &job.instrument, job.clone(), move |trainer| trainer.train(of.clone()))
    }

    /// Starts work that is repeated until it succeeds, once for all tasks that wait for it.
    fn start_once<K: PartialEq, T: Send + Sync + 'static>(
        &self,
        all: &Work<K, T>,
        instrument: &Instrument,
        key: K,
        work: impl Fn(&dyn ModelTrainer) -> BoxFuture<'static, anyhow::Result<T>> + Send + Sync + 'static,
    ) -> SharedResult<T> {
        let mut all = lock(all);
        if let Some((_, started)) = all.get(instrument).filter(|(of, _)| *of == key) {
            return started.clone();
        }
        let (trainer, shutdown, fatal) = (Arc::clone(&self.0.trainer), self.0.shutdown.clone(), self.0.fatal.clone());
        let fatal_panic = fatal.clone();
        let work = tokio::spawn(async move {
            tokio::select! {
                done = retry_until_done(|| work(&*trainer), &fatal) => Some(Arc::new(done)),
                () = shutdown.requested() => None,
            }
        });
        let done = async move {
            match work.await {
                Ok(done) => done,
                Err(panicked) => {
                    drop(fatal_panic.send(panicked.into()));
                    std::future::pending().await
                }
            }
        };
        let started = done.boxed().shared();
        // Polls it to its end, also when no other task awaits it.
        drop(tokio::spawn(started.clone()));
        all.insert(instrument.clone(), (key, started.clone()));
        started
    }
}

/// Resolves with a result; never after shutdown.
fn done<T: Send + Sync + 'static>(started: SharedResult<T>) -> BoxFuture<'static, ()> {
    let done = async move {
        if started.await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    done.boxed()
}

/// Repeats work until it succeeds. After a fatal error, which is sent to `fatal`, it never returns.
async fn retry_until_done<T>(
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
            // The receiver is gone when the service has ended already.
            drop(fatal.send(error));
            return std::future::pending().await;
        }
        reminder.warn(&format!("{error:#}"));
        pause = pause_after(&error, pause);
        tokio::time::sleep(pause).await;
    }
}

/// Returns the pause after an error, given the pause before it.
fn pause_after(error: &anyhow::Error, last: Duration) -> Duration {
    if error.is::<FitProcessDied>() { (last * 2).clamp(RETRY_DELAY, RETRY_DELAY_MAX) } else { RETRY_DELAY }
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
    fn pauses_double_while_the_fit_process_dies() {
        let died = || FitProcessDied(ExitStatus::from_raw(9)).into();
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
