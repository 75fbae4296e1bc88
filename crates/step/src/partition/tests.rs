//! Unit tests of the state machine: events in, effects out.

mod commits;
mod ends;
mod recovery;

use std::sync::atomic::{AtomicBool, Ordering};

use bus::protocol::{LogId, Position, StepConfig};
use bus::query::StoredMessage;
use bus::reader::Delivery;
use bus::stream::{MARKET_STEP, Step};
use bus::{RecordKind, codec, subject};
use futures::FutureExt;
use market::windowing::EventTimePolicy;
use market::{Candle, Instrument};
use serde_json::Value;

use super::*;
use crate::checkpoint::{Checkpoint, assemble};
use crate::commit::CommitAnswer;
use crate::operator::{Applied, CounterValue, Input};
use crate::outputs::Outputs;
use crate::part::{Outgoing, Part, Role, StoredPosition};
use crate::transaction::MESSAGES_MAX;

const PARTITION: u32 = 3;

/// Counts lines. A line gives a price with the count so far; `silent` gives none, `twice` a price, a gap and a price,
/// and `model` waits until the model is available.
#[derive(Default)]
struct Counting {
    has_model: AtomicBool,
}

impl Operator for Counting {
    const STEP: Step = MARKET_STEP;
    type State = u64;
    type Counts = u64;

    fn event_time(&self) -> EventTimePolicy {
        EventTimePolicy::default()
    }

    fn shape(&self) -> String {
        "counting".to_owned()
    }

    fn apply(&self, input: Input<'_>, state: &mut u64, counts: &mut u64, outputs: &mut Outputs) -> Applied {
        for (line, raw) in codec::lines(input.payload).skip(input.lines_done as usize) {
            if raw == b"model" && !self.has_model.load(Ordering::Relaxed) {
                return Applied::UpTo { lines_done: line, ready: std::future::pending().boxed() };
            }
            *state += 1;
            *counts += 1;
            if input.is_after_loss && line == 0 {
                outputs.append(RecordKind::Gap, &"lost");
            }
            if raw != b"silent" {
                outputs.append(RecordKind::Price, state);
            }
            if raw == b"twice" {
                outputs.append(RecordKind::Gap, state);
                outputs.append(RecordKind::Price, state);
            }
        }
        Applied::All
    }

    fn provisional(&self, _: &Instrument, _: &u64) -> Vec<Candle> {
        Vec::new()
    }

    fn watermark(&self, _: &u64) -> EventTime {
        EventTime::MIN
    }

    fn counter_values(_: &u64) -> Vec<CounterValue> {
        Vec::new()
    }
}

/// A partition and its latest effects.
struct Rig {
    operator: Arc<Counting>,
    partition: Partition<Counting>,
    now: Time,
    effects: Vec<Effect>,
}

fn log() -> LogId {
    LogId::new("monday")
}

fn setup(accept_loss: bool) -> Setup {
    let config = StepConfig::new(EventTimePolicy::default(), "counting");
    Setup { partition: PARTITION, partitions: 16, log: log(), config, accept_loss }
}

fn input_info(begins: u64, last_seq: u64) -> InputInfo {
    InputInfo {
        log: log(),
        begins,
        first_seq: begins,
        last_seq,
        is_trimmed: false,
        deletes: false,
        retention: Duration::ZERO,
    }
}

impl Rig {
    /// A partition that recovers from stored parts and is not attached yet.
    fn recovering(parts: &[Arc<Part>], accept_loss: bool) -> Self {
        let operator = Arc::new(Counting::default());
        let now = Duration::from_secs(100);
        let schedule = CommitSchedule::new(MARKET_STEP, 16);
        let (partition, effects) = Partition::new(operator.clone(), setup(accept_loss), schedule, now);
        assert!(matches!(effects[..], [Effect::Recover]));
        let mut rig = Self { operator, partition, now, effects };
        rig.on(Event::Recovered(checkpoint(parts)));
        rig
    }

    /// An owning partition at the beginning of an input that ends at a sequence.
    fn owning(last_seq: u64) -> Self {
        let mut rig = Self::recovering(&[], false);
        rig.attach(input_info(1, last_seq), last_seq);
        rig
    }

    fn on(&mut self, event: Event<u64, u64>) {
        self.now += Duration::from_millis(1);
        self.effects = self.partition.on(event, self.now);
    }

    fn attach(&mut self, input: InputInfo, pending: u64) {
        self.on(Event::Attached { input, pending });
    }

    /// A message of a coin with no message after it.
    fn input(&mut self, seq: u64, coin: &str, lines: &str) {
        self.message(seq, coin, lines, false, 0);
    }

    fn message(&mut self, seq: u64, coin: &str, lines: &str, more: bool, pending: u64) {
        let subject = subject::stored(bus::Stream::Feed, PARTITION, RecordKind::Tick, coin, "usd").into();
        let payload = lines.to_owned().into();
        let delivery = Delivery { seq, subject, headers: None, payload, stored_ms: 0, pending };
        self.on(Event::Input(delivery));
        if !more {
            let effects = std::mem::take(&mut self.effects);
            self.effects = effects.into_iter().chain(self.partition.on(Event::Idle, self.now)).collect();
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.on(Event::Tick);
    }

    fn answer(&mut self, batch: &str, result: Result<u64, Error>) {
        self.on(Event::Answered(CommitAnswer { batch: batch.to_owned(), result }));
    }

    fn position_is(&mut self, seq: u64, batch: &str) {
        self.on(Event::PositionRead(Some(StoredPosition { seq, batch: Some(batch.to_owned()) })));
    }

    /// The part that it just asked to store.
    fn committing(&self) -> Arc<Part> {
        let part = self.effects.iter().find_map(|effect| match effect {
            Effect::Commit { part, .. } => Some(part.clone()),
            _ => None,
        });
        part.unwrap_or_else(|| panic!("a commit: {:?}", self.effects))
    }

    fn is_quiet(&self) -> bool {
        self.effects.is_empty()
    }

    fn ended(&self) -> Option<Ended> {
        self.effects.iter().find_map(|effect| if let Effect::End(ended) = effect { Some(*ended) } else { None })
    }

    fn error(&self) -> String {
        let error =
            self.effects.iter().find_map(|effect| if let Effect::Fail(error) = effect { Some(error) } else { None });
        error.unwrap_or_else(|| panic!("an error: {:?}", self.effects)).to_string()
    }
}

fn unanswered() -> Error {
    Error::Unanswered { what: "a commit".to_owned() }
}

fn refused() -> Error {
    Error::refusal("a commit".to_owned(), 400, 10071, "wrong last sequence: 8".to_owned())
}

fn full() -> Error {
    Error::refusal("a commit".to_owned(), 503, 10077, "maximum bytes exceeded".to_owned())
}

/// The results of a part: kind and lines.
fn results(part: &Part) -> Vec<(String, String)> {
    let result = |message: &Outgoing| {
        let kind = message.subject.split('.').nth(2)?.to_owned();
        let lines = String::from_utf8(message.payload.to_vec()).expect("text").replace('\n', " ");
        matches!(message.role, Role::Output(_)).then_some((kind, lines))
    };
    part.messages.iter().filter_map(result).collect()
}

fn states(part: &Part) -> usize {
    part.messages.iter().filter(|message| message.role == Role::State).count()
}

/// The checkpoint that a new owner reads when these parts are stored in order.
fn checkpoint(parts: &[Arc<Part>]) -> Checkpoint<u64, u64> {
    let Some(last) = parts.last() else { return Checkpoint { fence: 0, position: None, states: Vec::new() } };
    let mut stored: Vec<StoredMessage> = Vec::new();
    let states = parts.iter().flat_map(|part| part.messages.iter().filter(|message| message.role == Role::State));
    let position = Outgoing {
        subject: subject::position(bus::Stream::Market, PARTITION),
        payload: serde_json::to_vec(&last.position).expect("plain data").into(),
        role: Role::State,
    };
    for (seq, message) in (1..).zip(states.chain([&position])) {
        stored.retain(|older| older.subject != message.subject);
        let Outgoing { subject, payload, .. } = message.clone();
        stored.push(StoredMessage { seq, subject, payload, headers: Default::default(), server_ms: 0 });
    }
    assemble(MARKET_STEP, PARTITION, &stored).expect("readable").expect("whole")
}
