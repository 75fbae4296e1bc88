//! The steps without a server: operators over a log in memory, sealed, crashed and handed over wherever a test wants.
//!
//! The runtime's own state machine recovers, applies and commits (`memory_log`). Turns say which instance has how many messages,
//! and what becomes of it then.

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

/// A message of a log. Its sequence is its place, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Stored subject.
    pub subject: String,
    /// Lines.
    pub payload: Bytes,
    /// When it was stored.
    pub stored_ms: i64,
    /// Whether its header names a version that is known.
    pub is_known_schema: bool,
}

/// A record on its way into FEED.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An observation.
    Tick(TickLine<'static>),
    /// A promise, or a flush.
    Heartbeat(HeartbeatLine<'static>),
    /// A hole.
    Gap(GapLine<'static>),
    /// A line on the subject of an instrument's ticks that is none.
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

/// A quote, received when it was observed.
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

/// When a log in memory stores its messages: 2100-01-01T00:00:00Z, later than most that tests observe.
pub const STORED_MS: i64 = 4_102_444_800_000;

/// FEED with these records in order. Neighbours of one instrument and kind share a message unless `cut` says that a new
/// one begins before the record of that place.
pub fn feed(records: &[Record], mut cut: impl FnMut(usize) -> bool) -> Vec<Message> {
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
    let message = |(subject, payload): (String, Vec<u8>)| Message {
        subject,
        payload: payload.into(),
        stored_ms: STORED_MS,
        is_known_schema: true,
    };
    messages.into_iter().map(message).collect()
}

/// What an instance does, once it is its turn: how many messages it is given, and what comes then.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Which of the instances that share the partition.
    pub instance: usize,
    /// How many messages it is given, if there are so many; those count that a new owner has to apply again.
    pub inputs: usize,
    /// Whether they come one by one, each before anything is known of the next. Otherwise all of them are there.
    pub is_live: bool,
    /// What it does then.
    pub end: End,
}

/// How a turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is frozen with what it has applied; another one may overtake it.
    Freeze,
    /// It goes on until all that it has applied is stored; when another one was faster it is refused and begins again from the
    /// checkpoint. The states may lack what is stored.
    Commit,
    /// It goes on until the states contain all that is stored.
    Settle,
    /// It stores everything and ends, as when it is told to.
    Stop,
    /// It dies; whoever starts in its place begins from the checkpoint.
    Crash,
}

/// Time between two messages that come one by one: some come while a commit is under way.
const PACE: Duration = Duration::from_millis(10);

impl Turn {
    /// Gives an instance the messages of this turn.
    fn take<O: Operator>(self, owner: &mut Owner<O>, memory: &mut Memory) {
        // Who is frozen or dies knows that more is there, and gathers results for one commit.
        let beyond = usize::from(matches!(self.end, End::Freeze | End::Crash));
        for left in (0..self.inputs).rev() {
            if self.is_live {
                owner.pass(memory, PACE);
            }
            owner.take(memory, if self.is_live { 0 } else { left + beyond });
        }
    }
}

/// What a partition of a step has stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// The output log.
    pub output: Vec<Message>,
    /// The encoded states, by coin and quote.
    pub states: BTreeMap<(String, String), Vec<u8>>,
    /// The counts of the newest position.
    pub counts: Value,
    /// Commits that were refused.
    pub refused: u64,
    /// Messages that new owners applied again, because the stored states lacked them.
    pub replayed: u64,
}

impl Store {
    fn of<O: Operator>(memory: &Memory) -> Self {
        let stored = &memory.stored;
        let output = stored.outputs().iter().map(|message| Message {
            subject: message.subject.clone(),
            payload: message.payload.clone(),
            stored_ms: STORED_MS,
            is_known_schema: true,
        });
        // How many inputs a state contains depends on how they were packed; what it says does not.
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

/// Runs a step over all of `input`: first the turns, then one instance to the end, which is told to stop there and so stores all
/// states.
pub fn run<O: Operator>(operator: O, input: &[Message], turns: &[Turn]) -> Store {
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

/// A message as a reader hands it on.
fn delivery((message, seq): (&Message, u64)) -> Delivery {
    let mut headers = HeaderMap::new();
    if !message.is_known_schema {
        headers.insert(SCHEMA_HEADER, "of-another-version/99");
    }
    let Message { subject, payload, stored_ms, .. } = message.clone();
    Delivery { seq, subject: subject.into(), headers: Some(headers), payload, stored_ms, pending: 0 }
}

/// The stream-processor and, on its output, the aggregator.
pub fn run_both(settings: EventTimePolicy, feed: &[Message], turns: [&[Turn]; 2]) -> [Store; 2] {
    let market = run(Processing::new(settings), feed, turns[0]);
    let stats = run(Aggregation::new(settings), &market.output, turns[1]);
    [market, stats]
}

/// All kinds that the steps write.
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

/// The lines of a kind for an instrument in a log, in order.
pub fn lines(log: &[Message], kind: RecordKind, instrument: &Instrument) -> Vec<Value> {
    let of_kind = log.iter().filter(|message| {
        let subject = SubjectParts::parse(&message.subject).unwrap();
        (subject.kind, subject.coin, subject.quote) == (kind.token(), instrument.coin(), instrument.quote())
    });
    of_kind
        .flat_map(|message| codec::lines(&message.payload).map(|(_, line)| serde_json::from_slice(line).unwrap()))
        .collect()
}

/// The newest line of each key of a kind: each window's by its start, each hour's by the hour.
///
/// # Panics
/// When a revision is not above the one stored before it.
pub fn newest(log: &[Message], kind: RecordKind, instrument: &Instrument) -> BTreeMap<i64, Value> {
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
