//! Consecutive owners of a partition, with a step whose results are easy to predict.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bus::RecordKind;
use bus::reader::Delivery;
use bus::stream::{MARKET_STEP, Step};
use futures::FutureExt;
use futures::future::BoxFuture;
use market::windowing::EventTimePolicy;
use market::{Candle, EventTime, Instrument};
use memory_log::{InputLog, Memory, Owner};
use step::checkpoint::decode_state;
use step::partition::Ended;
use step::{Applied, CounterValue, Input, Operator, Outputs};

/// Adds up numbers and emits each sum. A line such as `?7` waits once per process.
#[derive(Default)]
struct Adding {
    told: Arc<Mutex<HashSet<String>>>,
    /// Applied lines, including replayed ones.
    lines: Mutex<Vec<String>>,
}

impl Adding {
    fn applied(&self) -> String {
        self.lines.lock().expect("no panic").join(" ")
    }
}

impl Operator for Adding {
    const STEP: Step = MARKET_STEP;
    type State = u64;
    type Counts = u64;

    fn event_time(&self) -> EventTimePolicy {
        EventTimePolicy::default()
    }

    fn shape(&self) -> String {
        "sums".to_owned()
    }

    fn apply(&self, input: Input<'_>, sum: &mut u64, counts: &mut u64, outputs: &mut Outputs) -> Applied {
        let text = std::str::from_utf8(input.payload).expect("text");
        for (line, nth) in text.lines().zip(0..).skip(input.lines_done as usize) {
            if line.starts_with('?') && !self.told.lock().expect("no panic").contains(line) {
                let (told, line) = (self.told.clone(), line.to_owned());
                let ready = async move {
                    told.lock().expect("no panic").insert(line);
                };
                return Applied::UpTo { lines_done: nth, ready: ready.boxed() };
            }
            self.lines.lock().expect("no panic").push(line.to_owned());
            *sum += line.trim_start_matches('?').parse::<u64>().expect("a number");
            *counts += 1;
            outputs.append(RecordKind::Price, sum);
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

fn memory(payloads: &[&'static str]) -> Memory {
    let delivery = |(payload, seq): (&&'static str, u64)| Delivery {
        seq,
        subject: "feed.0.tick.bitcoin.usd".into(),
        headers: None,
        payload: payload.as_bytes().into(),
        stored_ms: 0,
        pending: 0,
    };
    Memory::new(InputLog::new(MARKET_STEP, payloads.iter().zip(1..).map(delivery)))
}

fn start(memory: &mut Memory) -> (Owner<Adding>, Arc<Adding>) {
    let operator = Arc::new(Adding::default());
    let wait = |ready: BoxFuture<'static, ()>| ready.now_or_never().expect("nothing takes time here");
    (Owner::start(operator.clone(), Box::new(wait), memory), operator)
}

/// The stored sums, with the line count of the position and the sum of the state.
fn stored(memory: &Memory) -> (Vec<u64>, Option<u64>, Option<u64>) {
    let sums = memory.stored.outputs().iter().flat_map(|message| {
        let text = std::str::from_utf8(&message.payload).expect("text");
        text.lines().map(|line| line.parse().expect("a number")).collect::<Vec<u64>>()
    });
    let count = memory.stored.position().and_then(|position| position.counts.as_u64());
    let state = memory.stored.states().next().map(|(_, state)| decode_state(state).expect("a state").2);
    (sums.collect(), count, state)
}

/// The stored `settled` and `position`.
fn settled(memory: &Memory) -> (u64, u64) {
    let position = memory.stored.position().expect("a position");
    (position.settled, position.position)
}

fn finish(memory: &mut Memory) {
    let (mut last, _) = start(memory);
    while last.take(memory, usize::MAX) {}
    assert_eq!(last.stop(memory), Ended::Drained);
}

#[test]
fn a_new_owner_replays_missing_input_without_results() {
    let mut memory = memory(&["1", "2", "3", "4"]);
    let (mut first, _) = start(&mut memory);
    (0..3).for_each(|_| assert!(first.take(&mut memory, 0)));
    first.store(&mut memory);
    assert_eq!((settled(&memory), stored(&memory)), ((0, 3), (vec![1, 3, 6], Some(3), None)));
    drop(first);

    let (mut second, operator) = start(&mut memory);
    second.settle(&mut memory);
    assert_eq!((settled(&memory), stored(&memory)), ((3, 3), (vec![1, 3, 6], Some(3), Some(6))));
    assert_eq!((memory.replayed, &*operator.applied()), (3, "1 2 3"));
    drop(second);

    let (mut third, operator) = start(&mut memory);
    while third.take(&mut memory, usize::MAX) {}
    assert_eq!(third.stop(&mut memory), Ended::Drained);
    assert_eq!(operator.applied(), "4");
    assert_eq!((settled(&memory), stored(&memory)), ((4, 4), (vec![1, 3, 6, 10], Some(4), Some(10))));
}

#[test]
fn an_overtaken_owner_is_refused_and_ends() {
    let mut memory = memory(&["1", "2", "3"]);
    let (mut frozen, _) = start(&mut memory);
    (0..2).for_each(|_| assert!(frozen.take(&mut memory, 1)));
    assert!(memory.stored.outputs().is_empty(), "it gathers results while more input has arrived");
    let (mut other, _) = start(&mut memory);
    assert!(other.take(&mut memory, 0));
    other.store(&mut memory);
    frozen.store(&mut memory);
    assert_eq!((frozen.ended(), memory.stored.refused()), (Some(Ended::Fenced), 1));
    assert_eq!(stored(&memory).0, [1]);
    finish(&mut memory);
    assert_eq!(stored(&memory), (vec![1, 3, 6], Some(3), Some(6)));
}

#[test]
fn a_commit_without_a_received_answer_counts() {
    let mut memory = memory(&["1", "2", "3"]);
    let (mut first, _) = start(&mut memory);
    assert!(first.take(&mut memory, 0));
    assert_eq!(stored(&memory).0, [1], "stored, but not confirmed yet");
    // Applied while the commit is in flight, and lost.
    assert!(first.take(&mut memory, 0));
    assert_eq!(stored(&memory).0, [1]);
    drop(first);
    finish(&mut memory);
    assert_eq!(stored(&memory), (vec![1, 3, 6], Some(3), Some(6)));
}

#[test]
fn half_a_message_is_applied_again_from_its_start() {
    let mut memory = memory(&["1", "2\n?5\n3", "4"]);
    let (mut first, operator) = start(&mut memory);
    (0..2).for_each(|_| assert!(first.take(&mut memory, 1)));
    assert_eq!(operator.applied(), "1 2", "the rest waits");
    drop(first);
    assert_eq!(stored(&memory), (vec![], None, None), "half a message has no position");

    let (mut second, operator) = start(&mut memory);
    while second.take(&mut memory, usize::MAX) {}
    assert_eq!(second.stop(&mut memory), Ended::Drained);
    assert_eq!(operator.applied(), "1 2 ?5 3 4");
    assert_eq!(stored(&memory), (vec![1, 3, 8, 11, 15], Some(5), Some(15)));
}

#[test]
fn a_replayed_message_waits_again() {
    let mut memory = memory(&["1\n?5", "?6"]);
    let (mut first, _) = start(&mut memory);
    assert!(first.take(&mut memory, 0));
    first.store(&mut memory);
    assert!(first.take(&mut memory, 0));
    drop(first);
    let (sums, ..) = stored(&memory);
    assert_eq!(sums, [1, 6]);
    finish(&mut memory);
    assert_eq!(stored(&memory), (vec![1, 6, 12], Some(3), Some(12)));
}
