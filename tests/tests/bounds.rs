//! Bounds of states and output, with every flag at its maximum and every name at its longest.

use bus::RecordKind;
use bus::codec::{LINES_MAX, PAYLOAD_BYTES_MAX};
use market::acceptance::IDENTITIES_MAX;
use market::instrument::TOKEN_BYTES_MAX;
use market::tick::{PriceLine, TickLine};
use market::validate::{HEAD_BYTES_MAX, validate};
use market::windowing::EventTimePolicy;
use market::{EventTime, Instrument, Span};
use pipeline_tests::harness::{LogMessage, Record, feed, heartbeat, run_both, tick};
use step::{INPUT_BYTES_MAX, INPUT_MESSAGES_MAX, Input, Operator, Outputs};
use stream_processor::Processing;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Largest message of the server: max_payload in nats.conf.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// A late date of the calendar, whose numbers take more bytes.
const START: i64 = 250_000_000_000 * 1_000;

/// The largest values of the flags.
fn largest() -> EventTimePolicy {
    EventTimePolicy { disorder: Span(HOUR), lateness: Span(DAY) }
}

fn longest() -> Instrument {
    let name = "x".repeat(TOKEN_BYTES_MAX);
    Instrument::new(&name, &name).unwrap()
}

/// A tick with the longest possible numbers.
fn long_tick(event_ms: i64, id: u64) -> TickLine<'static> {
    let mut tick = tick(&longest(), event_ms, 123_456.789_012_345_67);
    (tick.open, tick.high, tick.low) =
        (Some(123_456.789_012_345_68), Some(123_456.789_012_345_7), Some(1.234_567_890_123_456_7e-12));
    (tick.volume, tick.id, tick.grain_ms) = (Some(1.234_567_890_123_456_7e-20), Some(u64::MAX - id), Some(366 * DAY));
    (tick.quote_volume, tick.filled) = (Some(1.234_567_890_123_456_7e-20), true);
    tick
}

/// Fills every part of a state: one tick in each minute that can still be revised, then as many as are remembered.
fn fill(settings: EventTimePolicy, identities: usize) -> [usize; 2] {
    let span_ms = settings.lateness.ms() + settings.disorder.ms();
    let minutes = (0..span_ms).step_by(MINUTE as usize);
    let mut records: Vec<Record> = Vec::new();
    records.extend(minutes.map(|ms| Record::Tick(long_tick(START + ms, 0))));
    let rest = identities.saturating_sub(records.len()) as u64;
    records.extend((0..rest).map(|id| Record::Tick(long_tick(START + span_ms, id))));
    // No window closes early.
    records.push(Record::Heartbeat(heartbeat(&longest(), START + span_ms, true)));
    let stores = run_both(settings, &feed(&records, |idx| idx % 50 == 0), [&[], &[]]);
    stores.map(|store| store.states.values().map(Vec::len).max().unwrap())
}

#[test]
fn a_state_fits_into_a_message_for_all_flags_and_sources() {
    let sizes = [
        ("default", fill(EventTimePolicy::default(), IDENTITIES_MAX)),
        ("largest flags", fill(largest(), IDENTITIES_MAX)),
    ];
    for (name, [market, stats]) in sizes {
        assert!(market < MESSAGE_BYTES_MAX / 2 && stats < MESSAGE_BYTES_MAX / 2, "{name}: {market} {stats}");
    }
}

/// The most that one more message adds to a draft: (messages, bytes).
fn added<O: Operator>(operator: &O, before: &[LogMessage], message: &[u8], kind: RecordKind) -> (usize, usize) {
    let (instrument, mut state) = (longest(), O::State::default());
    let (mut counts, mut outputs) = (O::Counts::default(), Outputs::default());
    let mut apply = |seq: u64, payload: &[u8], kind, outputs: &mut Outputs| {
        let input = Input {
            seq,
            kind,
            stored_ms: i64::MAX,
            instrument: Some(&instrument),
            is_known_schema: true,
            is_after_loss: false,
            payload,
            lines_done: 0,
        };
        operator.apply(input, &mut state, &mut counts, outputs);
    };
    for message in before {
        apply(u64::MAX - 1, &message.payload, kind, &mut outputs);
    }
    let mut outputs = Outputs::default();
    apply(u64::MAX, message, kind, &mut outputs);
    (outputs.messages_max(), outputs.bytes())
}

fn check_bounds((messages, bytes): (usize, usize), what: &str) {
    assert!(messages <= INPUT_MESSAGES_MAX && bytes <= INPUT_BYTES_MAX, "{what}: {messages} messages, {bytes} bytes");
}

/// As many lines as fit into a message.
fn packed(lines: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut payload = Vec::new();
    for line in lines.into_iter().take(LINES_MAX) {
        if payload.len() + line.len() + 1 > PAYLOAD_BYTES_MAX {
            break;
        }
        payload.extend(line);
        payload.push(b'\n');
    }
    payload.truncate(payload.len().saturating_sub(1));
    payload
}

/// Minimal ticks: the most lines in a message, each in its own windows.
fn short_tick(event_ms: i64) -> TickLine<'static> {
    let mut tick = tick(&longest(), event_ms, 0.1);
    tick.grain_ms = Some(1);
    tick
}

#[test]
fn the_output_of_one_message_is_bounded() {
    let settings = largest();
    let (processing, aggregation) = (Processing::new(settings), aggregator::Aggregation::new(settings));
    let price = |tick: &TickLine<'static>, idx: u64| {
        let validated = validate(tick, &longest(), u64::MAX - idx, i64::MAX).unwrap();
        serde_json::to_vec(&PriceLine::new(longest().coin(), longest().quote(), &validated)).unwrap()
    };
    let line = |tick: &TickLine<'static>| serde_json::to_vec(tick).unwrap();
    // All minutes of the disorder bound are open.
    let waiting: Vec<Record> = (0..60).map(|minute| Record::Tick(long_tick(START + minute * MINUTE, 0))).collect();
    let waiting = feed(&waiting, |_| true);
    for (name, make) in [("long", long_tick as fn(i64, u64) -> TickLine<'static>), ("short", |ms, _| short_tick(ms))] {
        let days: Vec<TickLine<'static>> = (0..LINES_MAX as i64).map(|day| make(START + (day + 1) * DAY, 0)).collect();
        check_bounds(
            added(&processing, &waiting, &packed(days.iter().map(line)), RecordKind::Tick),
            &format!("{name} ticks"),
        );
        let prices = packed(days.iter().zip(0..).map(|(tick, idx)| price(tick, idx)));
        check_bounds(added(&aggregation, &[], &prices, RecordKind::Price), &format!("{name} prices"));
        let late = [days[LINES_MAX - 1].clone()].map(|mut tick| {
            tick.event_ms = EventTime::LATEST.ms();
            tick.ingest_ms = tick.event_ms;
            let payload = line(&tick).into();
            LogMessage { subject: String::new(), payload, stored_ms: i64::MAX, is_known_schema: true }
        });
        check_bounds(
            added(&processing, &late, &packed(days.iter().map(line)), RecordKind::Tick),
            &format!("{name} late ticks"),
        );
    }
    // The head of each refused line is stored with the reason, with every byte escaped as six.
    let refused = packed(std::iter::repeat_n(vec![1; HEAD_BYTES_MAX], LINES_MAX));
    check_bounds(added(&processing, &[], &refused, RecordKind::Tick), "refused lines");
    check_bounds(added(&processing, &[], &vec![b'\n'; 1 << 20], RecordKind::Tick), "blank lines");
    check_bounds(added(&processing, &[], &vec![1; 1 << 20], RecordKind::Tick), "a long line");
}
