//! Processes that run the step one after the other, over a log in memory, with real models.

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

use super::super::trainings::{Job, ModelRef, Workshop, trained};
use super::*;

/// Ticks with their place in MARKET, and the models that were made of them.
struct Shop {
    ticks: Vec<(Through, Tick)>,
    config: LearnConfig,
    models: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Nothing is trained before it opens.
    gate: Semaphore,
}

impl Shop {
    fn make(&self, job: &Job) -> anyhow::Result<Outcome> {
        let known = self.ticks.iter().filter(|(at, _)| *at <= job.through).map(|(_, tick)| *tick);
        let mut ticks: Vec<Tick> = known.collect();
        ticks.sort_by_key(Tick::identity);
        let rival = job.rival.as_ref().map(|model| self.read(model)).transpose()?;
        let config = LearnConfig { instrument: job.instrument.clone(), ..self.config.clone() };
        match learn_against(&ticks, None, &config, rival.as_ref(), |_| ()) {
            Ok(learned) => {
                self.models.lock().expect("no panic").insert(learned.card.model.clone(), learned.model.clone());
                Ok(Outcome::Trained(Box::new(trained(&learned.card, &learned.model, learned.duel)?)))
            }
            Err(error) if error.is_not_enough_data() => Ok(Outcome::Nothing),
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

struct Shared(Arc<Shop>);

impl Workshop for Shared {
    fn train(&self, job: Job) -> BoxFuture<'static, anyhow::Result<Outcome>> {
        let shop = Arc::clone(&self.0);
        async move {
            let _open = shop.gate.acquire().await?;
            shop.make(&job)
        }
        .boxed()
    }

    fn load(&self, _: Instrument, model: ModelRef) -> BoxFuture<'static, anyhow::Result<Forecaster>> {
        let shop = Arc::clone(&self.0);
        async move { shop.read(&model) }.boxed()
    }
}

/// The log of these messages; and the ticks in it, each with its place.
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

/// The lines of FORECAST. Kinds are packed apart: their order among each other is that of commits, and left out here.
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

/// Gives a process one message after the other; after those that `crash` names everything that is in memory is gone, and what was
/// not committed with it. A commit comes after every `commit` messages.
pub(super) fn run(messages: &[(RecordKind, Vec<Entry>)], commit: usize, crash: &[usize], flags: &[&str]) -> Stored {
    run_beside(Training::Beside, messages, commit, crash, flags).0
}

/// The same; says also how many crashes came while a message waited for what it needs.
pub(super) fn run_beside(
    training: Training,
    messages: &[(RecordKind, Vec<Entry>)],
    commit: usize,
    crash: &[usize],
    flags: &[&str],
) -> (Stored, usize) {
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let _inside = runtime.enter();
    let (log, ticks) = log_of(messages, &bitcoin());
    let (rules, config) = rules(flags);
    let gate = Semaphore::new(usize::from(training == Training::Beside));
    let shop = Arc::new(Shop { ticks, config, models: Mutex::default(), gate });
    let mut memory = Memory::new(log);
    let start = |memory: &mut Memory| {
        let (trainings, _) = Trainings::new(Arc::new(Shared(shop.clone())), service::Shutdown::new());
        let step = Arc::new(Forecasting::new(rules.clone(), trainings));
        let (runtime, shop) = (runtime.clone(), shop.clone());
        let wait = move |ready| {
            shop.gate.add_permits(1);
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
    (Stored { lines: lines_of(memory.stored.outputs()), counts }, crashes_in_wait)
}
