//! The steps without a server: operators over a log in memory, sealed, crashed and handed over wherever a test wants.
//!
//! What is stored here is what a commit stores: outputs, states and position together, only if the position is still
//! where the instance found it.

use std::collections::{BTreeMap, BTreeSet};

use aggregator::Aggregation;
use bus::subject::{self, Stored as StoredSubject};
use bus::{Kind, Stream, codec};
use bytes::Bytes;
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::windowing::Settings;
use market::{Instrument, Window};
use serde_json::Value;
use step::Outputs;
use step::{Applied, Input, Operator};
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
            Self::Tick(tick) => (Kind::Tick, &*tick.coin, &*tick.quote),
            Self::Heartbeat(heartbeat) => (Kind::Heartbeat, &*heartbeat.coin, &*heartbeat.quote),
            Self::Gap(gap) => (Kind::Gap, &*gap.coin, &*gap.quote),
            Self::Garbage(instrument) => (Kind::Tick, instrument.coin(), instrument.quote()),
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

/// What an instance does, once it is its turn: how many inputs it applies, and what comes then.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Which of the instances that share the partition.
    pub instance: usize,
    /// How many messages it applies, if there are so many.
    pub inputs: usize,
    /// What it does then.
    pub end: End,
}

/// How a turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is frozen with what it has applied; another one may overtake it.
    Freeze,
    /// It commits; when another one was faster it is refused and begins again from the checkpoint.
    Commit,
    /// It dies; whoever starts in its place begins from the checkpoint.
    Crash,
}

/// What a partition of a step has stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    /// The output log.
    pub output: Vec<Message>,
    /// The encoded states, by coin and quote.
    pub states: BTreeMap<(String, String), Vec<u8>>,
    /// The counts of the newest position.
    pub counts: Value,
    /// Inputs that are done.
    position: usize,
    /// Commits so far: what an instance expects and a commit changes.
    fence: u64,
    /// Commits that were refused.
    pub refused: u64,
}

/// Runs a step over all of `input`: first the turns, then one instance to the end in a single commit.
pub fn run<O: Operator>(operator: &O, input: &[Message], turns: &[Turn]) -> Store {
    let mut store = Store::default();
    let mut instances: BTreeMap<usize, Instance<O>> = BTreeMap::new();
    for turn in turns {
        let mut instance = instances.remove(&turn.instance).unwrap_or_else(|| Instance::recover(&store));
        instance.apply(operator, input, turn.inputs);
        match turn.end {
            End::Freeze => drop(instances.insert(turn.instance, instance)),
            End::Commit => {
                if let Some(instance) = instance.commit(&mut store) {
                    instances.insert(turn.instance, instance);
                }
            }
            End::Crash => {}
        }
    }
    let mut last = Instance::<O>::recover(&store);
    last.apply(operator, input, input.len());
    assert!(last.commit(&mut store).is_some());
    store
}

/// The stream-processor and, on its output, the aggregator.
pub fn run_both(settings: Settings, feed: &[Message], turns: [&[Turn]; 2]) -> [Store; 2] {
    let market = run(&Processing::new(settings), feed, turns[0]);
    let stats = run(&Aggregation::new(settings), &market.output, turns[1]);
    [market, stats]
}

/// A process that owns the partition, or believes so.
struct Instance<O: Operator> {
    fence: u64,
    position: usize,
    members: Vec<Member<O::State>>,
    changed: BTreeSet<usize>,
    counts: O::Counts,
    outputs: Outputs,
}

struct Member<S> {
    coin: String,
    quote: String,
    instrument: Option<Instrument>,
    state: S,
}

impl<O: Operator> Instance<O> {
    fn recover(store: &Store) -> Self {
        let member = |((coin, quote), state): (&(String, String), &Vec<u8>)| Member {
            coin: coin.clone(),
            quote: quote.clone(),
            instrument: Instrument::new(coin, quote).ok(),
            state: postcard::from_bytes(state).unwrap(),
        };
        Self {
            fence: store.fence,
            position: store.position,
            members: store.states.iter().map(member).collect(),
            changed: BTreeSet::new(),
            counts: serde_json::from_value(store.counts.clone()).unwrap_or_default(),
            outputs: Outputs::default(),
        }
    }

    fn apply(&mut self, operator: &O, input: &[Message], most: usize) {
        let end = input.len().min(self.position + most);
        for message in &input[self.position..end] {
            self.position += 1;
            let subject = StoredSubject::parse(&message.subject).unwrap();
            let Some(&kind) = O::STEP.kinds.iter().find(|kind| kind.token() == subject.kind) else { continue };
            let idx = self.member(subject.coin, subject.quote);
            self.changed.insert(idx);
            self.outputs.select(idx);
            let member = &mut self.members[idx];
            let input = Input {
                seq: self.position as u64,
                kind,
                stored_ms: message.stored_ms,
                instrument: member.instrument.as_ref(),
                is_known_schema: message.is_known_schema,
                is_after_loss: false,
                payload: &message.payload,
                lines_done: 0,
            };
            let applied = operator.apply(input, &mut member.state, &mut self.counts, &mut self.outputs);
            assert!(matches!(applied, Applied::All), "these steps need nothing but their input");
        }
    }

    fn member(&mut self, coin: &str, quote: &str) -> usize {
        let known = self.members.iter().position(|member| (&*member.coin, &*member.quote) == (coin, quote));
        known.unwrap_or_else(|| {
            let instrument = Instrument::new(coin, quote).ok();
            let (coin, quote) = (coin.to_owned(), quote.to_owned());
            self.members.push(Member { coin, quote, instrument, state: O::State::default() });
            self.members.len() - 1
        })
    }

    /// Stores what was applied since the last commit, all of it; or nothing when somebody else has committed.
    fn commit(mut self, store: &mut Store) -> Option<Self> {
        if self.fence != store.fence {
            store.refused += 1;
            return None;
        }
        let members = &self.members;
        let name_of = |idx: usize| (members[idx].coin.as_str(), members[idx].quote.as_str());
        let outgoing = std::mem::take(&mut self.outputs).into_messages(O::STEP.output, 0, name_of);
        store.output.extend(outgoing.into_iter().map(|message| Message {
            subject: message.subject,
            payload: message.payload,
            stored_ms: STORED_MS,
            is_known_schema: true,
        }));
        for idx in std::mem::take(&mut self.changed) {
            let Member { coin, quote, state, .. } = &self.members[idx];
            store.states.insert((coin.clone(), quote.clone()), postcard::to_allocvec(state).unwrap());
        }
        store.counts = serde_json::to_value(&self.counts).unwrap();
        store.position = self.position;
        store.fence += 1;
        self.fence = store.fence;
        Some(self)
    }
}

/// All kinds that the steps write.
pub const KINDS: [Kind; 11] = [
    Kind::Price,
    Kind::Heartbeat,
    Kind::Gap,
    Kind::Late,
    Kind::Rejected,
    Kind::Candle,
    Kind::Stats(Window::FiveMinutes),
    Kind::Stats(Window::QuarterHour),
    Kind::Stats(Window::Hour),
    Kind::Stats(Window::Day),
    Kind::Stats(Window::HourEveryHalf),
];

/// The lines of a kind for an instrument in a log, in order.
pub fn lines(log: &[Message], kind: Kind, instrument: &Instrument) -> Vec<Value> {
    let of_kind = log.iter().filter(|message| {
        let subject = StoredSubject::parse(&message.subject).unwrap();
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
pub fn newest(log: &[Message], kind: Kind, instrument: &Instrument) -> BTreeMap<i64, Value> {
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
