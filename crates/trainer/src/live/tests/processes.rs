//! Simulated processes that run the step one after the other, over a log in memory, with real models.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use bus::reader::Delivery;
use bus::{Stream, codec, subject};
use futures::FutureExt;
use learn::training::learn_against;
use memory_log::{InputLog, Memory, Owner};
use step::part::Outgoing;
use step::partition::Ended;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::super::model::{ModelRef, TrainedModel};
use super::super::model_trainer::{ModelTrainer, TrainingJob, TrainingOutcome};
use super::*;

/// A model trainer in memory: ticks with their place in MARKET, and the models learned from them.
struct MemoryTrainer {
    ticks: Vec<(Through, Tick)>,
    config: LearnConfig,
    models: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Trainings wait until it has a permit.
    gate: Semaphore,
}

impl MemoryTrainer {
    fn train_once(&self, job: &TrainingJob) -> anyhow::Result<TrainingOutcome> {
        let known = self.ticks.iter().filter(|(at, _)| *at <= job.through).map(|(_, tick)| *tick);
        let mut ticks: Vec<Tick> = known.collect();
        ticks.sort_by_key(Tick::identity);
        let incumbent = job.incumbent.as_ref().map(|model| self.read(model)).transpose()?;
        let config = LearnConfig { instrument: job.instrument.clone(), ..self.config.clone() };
        match learn_against(&ticks, None, &config, incumbent.as_ref(), |_| ()) {
            Ok(learned) => {
                self.models.lock().expect("no panic").insert(learned.card.model.clone(), learned.model.clone());
                let trained = TrainedModel::new(&learned.card, &learned.model, learned.comparison)?;
                Ok(TrainingOutcome::Trained(Box::new(trained)))
            }
            Err(error) if error.is_not_enough_data() => Ok(TrainingOutcome::NoModel),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, model: &ModelRef) -> anyhow::Result<Forecaster> {
        let models = self.models.lock().expect("no panic");
        let file = &models[&model.id];
        assert_eq!(*model, ModelRef::new(&model.id, file));
        Ok(Forecaster::load(file, self.config.boosting.threads)?)
    }
}

struct SharedTrainer(Arc<MemoryTrainer>);

impl ModelTrainer for SharedTrainer {
    fn train(&self, job: TrainingJob) -> BoxFuture<'static, anyhow::Result<TrainingOutcome>> {
        let trainer = Arc::clone(&self.0);
        async move {
            let _permit = trainer.gate.acquire().await?;
            trainer.train_once(&job)
        }
        .boxed()
    }

    fn load(&self, _: Instrument, model: ModelRef) -> BoxFuture<'static, anyhow::Result<Forecaster>> {
        let trainer = Arc::clone(&self.0);
        async move { trainer.read(&model) }.boxed()
    }
}

/// Returns the log of these messages, and the ticks in it, each with its place.
fn log_of(messages: &[(RecordKind, Vec<Entry>)], instrument: &Instrument) -> (InputLog, Vec<(Through, Tick)>) {
    let (coin, quote) = (instrument.coin(), instrument.quote());
    let mut ticks = Vec::new();
    let mut deliveries = Vec::new();
    for ((kind, entries), seq) in messages.iter().zip(1..) {
        for (entry, lines) in entries.iter().zip(1..) {
            if let Entry::Price(tick) = entry {
                ticks.push((Through { seq, lines }, *tick));
            }
        }
        let lines: Vec<Vec<u8>> = entries.iter().map(|entry| entry.line(instrument)).collect();
        let subject = subject::stored(Stream::Market, 0, *kind, coin, quote).into();
        let payload = lines.join(&b'\n').into();
        deliveries.push(Delivery { seq, subject, headers: None, payload, stored_ms: i64::MAX, pending: 0 });
    }
    (InputLog::new(Forecasting::STEP, deliveries), ticks)
}

/// Returns the lines of FORECAST, sorted by kind: messages hold one kind each, and commits decide the order of
/// messages.
fn lines_of(outputs: &[Outgoing]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for message in outputs {
        let of_subject = |kind: &RecordKind| message.subject.contains(&format!(".{kind}."));
        let kind = [RecordKind::Next, RecordKind::Score, RecordKind::Model]
            .into_iter()
            .find(of_subject)
            .expect("a kind of FORECAST");
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).expect("text");
        found.extend(codec::lines(&message.payload).map(|(_, line)| (kind.token(), text(line))));
    }
    found.sort_by_key(|(token, _)| *token);
    found
}

/// When models are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Training {
    /// While messages are applied, at its own speed.
    Beside,
    /// Not before the first message waits for it.
    Awaited,
}

/// Gives a process one message after the other. It crashes after the messages that `crash` names, and loses what is in
/// memory and not committed. A commit comes after every `commit` messages.
pub(super) fn run(
    messages: &[(RecordKind, Vec<Entry>)],
    commit: usize,
    crash: &[usize],
    flags: &[&str],
) -> StoredForecasts {
    run_beside(Training::Beside, messages, commit, crash, flags).0
}

/// The same; returns also how many crashes came while a message waited for a model.
pub(super) fn run_beside(
    training: Training,
    messages: &[(RecordKind, Vec<Entry>)],
    commit: usize,
    crash: &[usize],
    flags: &[&str],
) -> (StoredForecasts, usize) {
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let _inside = runtime.enter();
    let (log, ticks) = log_of(messages, &bitcoin());
    let (forecast_config, config) = config(flags);
    let gate = Semaphore::new(usize::from(training == Training::Beside));
    let trainer = Arc::new(MemoryTrainer { ticks, config, models: Mutex::default(), gate });
    let mut memory = Memory::new(log);
    let start = |memory: &mut Memory| {
        let (trainings, _) = Trainings::new(Arc::new(SharedTrainer(trainer.clone())), service::Shutdown::new());
        let step = Arc::new(Forecasting::new(forecast_config.clone(), trainings));
        let (runtime, trainer) = (runtime.clone(), trainer.clone());
        let wait = move |ready| {
            trainer.gate.add_permits(1);
            runtime.block_on(ready);
        };
        Owner::start(step, Box::new(wait), memory)
    };
    let mut crashes_in_wait = 0;
    let mut crashes = crash.iter().copied().collect::<VecDeque<_>>();
    let mut owner = start(&mut memory);
    loop {
        let place = usize::try_from(owner.given()).expect("a place");
        if crashes.front().is_some_and(|&at| at <= place) {
            crashes.pop_front();
            crashes_in_wait += usize::from(owner.is_waiting());
            owner = start(&mut memory);
            continue;
        }
        if place % commit == 0 {
            owner.store(&mut memory);
        }
        if !owner.take(&mut memory, commit - 1 - place % commit) {
            break;
        }
    }
    assert_eq!(owner.stop(&mut memory), Ended::Drained);
    for (_, state) in memory.stored.states() {
        assert!(state.len() < 16 * 1024, "{} bytes", state.len());
    }
    let position = memory.stored.position().expect("a position");
    let counts = serde_json::from_value(position.counts.clone()).expect("counts");
    (StoredForecasts { lines: lines_of(memory.stored.outputs()), counts }, crashes_in_wait)
}
