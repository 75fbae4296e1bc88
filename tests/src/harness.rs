//! The steps without a server: operators over an in-memory log, sealed, crashed and handed over at any point.
//!
//! The runtime's own state machine recovers, applies and commits (`memory_log`). A turn says which instance receives
//! how many messages, and what happens to it then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aggregator::Aggregation;
use async_nats::HeaderMap;
use bus::codec::SCHEMA_HEADER;
use bus::reader::Delivery;
use bus::subject::{self, SubjectParts};
use bus::{RecordKind, Stream, codec};
use bytes::Bytes;
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::windowing::EventTimePolicy;
use market::{Instrument, Window};
use memory_log::{InputLog, Memory, Owner};
use serde_json::Value;
use step::Operator;
use step::checkpoint::decode_state;
use step::partition::Ended;
use stream_processor::Processing;

use crate::ticks::tick_line;

/// A message of a log. Its sequence is its index, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMessage {
    /// Stored subject.
    pub subject: String,
    /// The lines.
    pub payload: Bytes,
    /// Time of storing, in milliseconds.
    pub stored_ms: i64,
    /// Whether its header names a known schema version.
    pub is_known_schema: bool,
}

/// A record to be published to FEED.
// Almost every record is a tick, so a box would save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An observation.
    Tick(TickLine<'static>),
    /// A heartbeat, or a flush.
    Heartbeat(HeartbeatLine<'static>),
    /// A gap.
    Gap(GapLine<'static>),
    /// An unparsable line on an instrument's tick subject.
    Garbage(Instrument),
}

impl Record {
    fn subject(&self) -> String {
        let (kind, coin, quote) = match self {
            Self::Tick(tick) => (RecordKind::Tick, &*tick.coin, &*tick.quote),
            Self::Heartbeat(heartbeat) => (RecordKind::Heartbeat, &*heartbeat.coin, &*heartbeat.quote),
            Self::Gap(gap) => (RecordKind::Gap, &*gap.coin, &*gap.quote),
            Self::Garbage(instrument) => (RecordKind::Tick, instrument.coin(), instrument.quote()),
        };
        subject::stored(Stream::Feed, 0, kind, coin, quote)
    }

    fn line(&self) -> Vec<u8> {
        let line = match self {
            Self::Tick(tick) => serde_json::to_vec(tick),
            Self::Heartbeat(heartbeat) => serde_json::to_vec(heartbeat),
            Self::Gap(gap) => serde_json::to_vec(gap),
            Self::Garbage(_) => Ok(b"garbage".to_vec()),
        };
        line.unwrap()
    }
}

/// A quote, received at its event time.
pub fn tick(instrument: &Instrument, event_ms: i64, close: f64) -> TickLine<'static> {
    TickLine { grain_ms: None, close, ..tick_line(instrument, event_ms) }
}

/// A heartbeat, or a flush.
pub fn heartbeat(instrument: &Instrument, event_ms: i64, flush: bool) -> HeartbeatLine<'static> {
    let (coin, quote) = (instrument.coin().to_owned().into(), instrument.quote().to_owned().into());
    HeartbeatLine { coin, quote, event_ms, complete_ms: None, ingest_ms: event_ms, flush }
}

/// A gap.
pub fn gap(instrument: &Instrument, from_ms: i64, to_ms: i64) -> GapLine<'static> {
    let (coin, quote) = (instrument.coin().to_owned().into(), instrument.quote().to_owned().into());
    GapLine { coin, quote, from_ms, to_ms, cause: "test".into() }
}

/// Time at which in-memory logs store their messages: 2100-01-01T00:00:00Z, later than most event times in tests.
pub const STORED_MS: i64 = 4_102_444_800_000;

/// FEED with these records in order. Consecutive records of one instrument and kind share a message unless `cut`
/// returns true for the index of the later one.
pub fn feed(records: &[Record], mut cut: impl FnMut(usize) -> bool) -> Vec<LogMessage> {
    let mut messages: Vec<(String, Vec<u8>)> = Vec::new();
    for (idx, record) in records.iter().enumerate() {
        let subject = record.subject();
        match messages.last_mut().filter(|(last, _)| *last == subject && !cut(idx)) {
            Some((_, payload)) => {
                payload.push(b'\n');
                payload.extend(record.line());
            }
            None => messages.push((subject, record.line())),
        }
    }
    let message = |(subject, payload): (String, Vec<u8>)| LogMessage {
        subject,
        payload: payload.into(),
        stored_ms: STORED_MS,
        is_known_schema: true,
    };
    messages.into_iter().map(message).collect()
}

/// A turn of an instance: the number of messages that it receives, and what happens then.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Index of the instance among those that share the partition.
    pub instance: usize,
    /// Most messages that it receives, including those that a new owner replays.
    pub inputs: usize,
    /// Whether messages arrive one by one, before the next exists. Otherwise all are available.
    pub is_live: bool,
    /// The end of the turn.
    pub end: End,
}

/// The end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The instance freezes after applying its input; another may overtake it.
    Freeze,
    /// The instance continues until all that it applied is stored. If another was faster, it is refused and restarts
    /// from the checkpoint. The states may lag behind the stored results.
    Commit,
    /// The instance continues until the states contain all stored input.
    Settle,
    /// The instance stores everything and stops, as on shutdown.
    Stop,
    /// The instance dies; its successor starts from the checkpoint.
    Crash,
}

/// Time between two messages that arrive one by one: some arrive during a commit.
const PACE: Duration = Duration::from_millis(10);

impl Turn {
    /// Gives an instance the messages of this turn.
    fn take<O: Operator>(self, owner: &mut Owner<O>, memory: &mut Memory) {
        // An instance that freezes or dies knows of more input, and so gathers results for one commit.
        let beyond = usize::from(matches!(self.end, End::Freeze | End::Crash));
        for left in (0..self.inputs).rev() {
            if self.is_live {
                owner.pass(memory, PACE);
            }
            owner.take(memory, if self.is_live { 0 } else { left + beyond });
        }
    }
}

/// The stored data of a step's partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// The output log.
    pub output: Vec<LogMessage>,
    /// The encoded states, by coin and quote.
    pub states: BTreeMap<(String, String), Vec<u8>>,
    /// The counts of the newest position.
    pub counts: Value,
    /// Refused commits.
    pub refused: u64,
    /// Messages that new owners replayed because the stored states lacked them.
    pub replayed: u64,
}

impl Store {
    fn of<O: Operator>(memory: &Memory) -> Self {
        let stored = &memory.stored;
        let output = stored.outputs().iter().map(|message| LogMessage {
            subject: message.subject.clone(),
            payload: message.payload.clone(),
            stored_ms: STORED_MS,
            is_known_schema: true,
        });
        // The number of inputs in a state depends on their packing; its content does not.
        let encoded = |encoded: &Bytes| {
            let (_, _, state) = decode_state::<O::State>(encoded).unwrap();
            postcard::to_allocvec(&state).unwrap()
        };
        let states =
            stored.states().map(|((coin, quote), state)| ((coin.to_owned(), quote.to_owned()), encoded(state)));
        let position = stored.position();
        if let Some(position) = position {
            assert_eq!((position.settled, position.states_applied), (position.position, position.applied));
        }
        let counts = position.map(|position| position.counts.clone());
        let counts = counts.unwrap_or_else(|| serde_json::to_value(O::Counts::default()).unwrap());
        let (refused, replayed) = (stored.refused(), memory.replayed);
        Self { output: output.collect(), states: states.collect(), counts, refused, replayed }
    }
}

/// Runs a step over all of `input`: first the turns, then one instance to the end, which is stopped there and so stores
/// all states.
pub fn run<O: Operator>(operator: O, input: &[LogMessage], turns: &[Turn]) -> Store {
    let operator = Arc::new(operator);
    let mut memory = Memory::new(InputLog::new(O::STEP, input.iter().zip(1..).map(delivery)));
    let start = |memory: &mut Memory| {
        Owner::start(operator.clone(), Box::new(|_| panic!("these steps need nothing but their input")), memory)
    };
    let mut instances: BTreeMap<usize, Owner<O>> = BTreeMap::new();
    for turn in turns {
        let mut owner = instances.remove(&turn.instance).unwrap_or_else(|| start(&mut memory));
        turn.take(&mut owner, &mut memory);
        match turn.end {
            End::Freeze => {}
            End::Commit => owner.store(&mut memory),
            End::Settle => owner.settle(&mut memory),
            End::Stop => {
                owner.stop(&mut memory);
                continue;
            }
            End::Crash => continue,
        }
        if owner.ended().is_none() {
            instances.insert(turn.instance, owner);
        }
    }
    let mut last = start(&mut memory);
    while last.take(&mut memory, usize::MAX) {}
    assert_eq!(last.stop(&mut memory), Ended::Drained);
    Store::of::<O>(&memory)
}

/// A message as a reader delivers it.
fn delivery((message, seq): (&LogMessage, u64)) -> Delivery {
    let mut headers = HeaderMap::new();
    if !message.is_known_schema {
        headers.insert(SCHEMA_HEADER, "of-another-version/99");
    }
    let LogMessage { subject, payload, stored_ms, .. } = message.clone();
    Delivery { seq, subject: subject.into(), headers: Some(headers), payload, stored_ms, pending: 0 }
}

/// The stream-processor and, on its output, the aggregator.
pub fn run_both(settings: EventTimePolicy, feed: &[LogMessage], turns: [&[Turn]; 2]) -> [Store; 2] {
    let market = run(Processing::new(settings), feed, turns[0]);
    let stats = run(Aggregation::new(settings), &market.output, turns[1]);
    [market, stats]
}

/// All record kinds that the steps write.
pub const KINDS: [RecordKind; 11] = [
    RecordKind::Price,
    RecordKind::Heartbeat,
    RecordKind::Gap,
    RecordKind::Late,
    RecordKind::Rejected,
    RecordKind::Candle,
    RecordKind::Stats(Window::FiveMinutes),
    RecordKind::Stats(Window::QuarterHour),
    RecordKind::Stats(Window::Hour),
    RecordKind::Stats(Window::Day),
    RecordKind::Stats(Window::HourEveryHalf),
];

/// The lines of one kind and instrument in a log, in order.
pub fn lines(log: &[LogMessage], kind: RecordKind, instrument: &Instrument) -> Vec<Value> {
    let of_kind = log.iter().filter(|message| {
        let subject = SubjectParts::parse(&message.subject).unwrap();
        (subject.kind, subject.coin, subject.quote) == (kind.token(), instrument.coin(), instrument.quote())
    });
    of_kind
        .flat_map(|message| codec::lines(&message.payload).map(|(_, line)| serde_json::from_slice(line).unwrap()))
        .collect()
}

/// The newest line of each key of a kind: windows by start, hours of the day by hour.
///
/// # Panics
/// A revision is not above the one stored before it.
pub fn newest(log: &[LogMessage], kind: RecordKind, instrument: &Instrument) -> BTreeMap<i64, Value> {
    let mut newest: BTreeMap<i64, Value> = BTreeMap::new();
    for line in lines(log, kind, instrument) {
        let key = line.get("start_ms").or_else(|| line.get("hour")).and_then(Value::as_i64).unwrap();
        let revision = |line: &Value| line.get("revision").and_then(Value::as_u64);
        if let Some(before) = newest.get(&key).and_then(revision) {
            assert!(revision(&line).unwrap() > before, "{kind} {line} after revision {before}");
        }
        newest.insert(key, line);
    }
    newest
}
