//! The treatment of a record by its event time, through both steps: the windows that it changes, the watermark, and the
//! subject that it is stored on.

use std::collections::{BTreeMap, BTreeSet};

use bus::publish::{FeedMessage, publish};
use bus::{RecordKind, Stream, codec};
use market::acceptance::IDENTITIES_MAX;
use market::tick::TickLine;
use market::windowing::EventTimePolicy;
use market::{EventTime, Instrument, Span};
use pipeline_tests::harness::{
    KINDS, LogMessage, Record, STORED_MS, Store, feed, gap, heartbeat, lines, newest, run_both, tick,
};
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::{Value, json};
use step::{Input, Operator};
use stream_processor::Processing;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// 2020-03-01T00:00:00Z.
const DAY_1: i64 = 1_583_020_800_000;
const DAY_2: i64 = DAY_1 + 24 * HOUR;

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").unwrap()
}

fn price(event_ms: i64) -> Record {
    Record::Tick(tick(&bitcoin(), event_ms, 100.0 + (event_ms / SECOND % 97) as f64))
}

fn promise(event_ms: i64) -> Record {
    Record::Heartbeat(heartbeat(&bitcoin(), event_ms, false))
}

fn flush() -> Record {
    Record::Heartbeat(heartbeat(&bitcoin(), DAY_2, true))
}

/// A tick every minute, from and up to.
fn every_minute(from_ms: i64, to_ms: i64) -> Vec<Record> {
    (from_ms..to_ms).step_by(MINUTE as usize).map(price).collect()
}

/// The results of these records, each in a message of its own.
struct Found {
    market: Store,
    stats: Store,
}

/// Kind and start of a window; for an hour of the day its number.
type Key = (&'static str, i64);

impl Found {
    fn of(settings: EventTimePolicy, records: &[Record]) -> Self {
        Self::of_feed(settings, &feed(records, |_| true))
    }

    fn of_feed(settings: EventTimePolicy, feed: &[LogMessage]) -> Self {
        let [market, stats] = run_both(settings, feed, [&[], &[]]);
        Self { market, stats }
    }

    fn lines(&self, kind: RecordKind) -> Vec<Value> {
        lines(&self.market.output, kind, &bitcoin())
    }

    /// The newest row of every window and every hour of the day.
    fn rows(&self) -> BTreeMap<Key, Value> {
        let windows = KINDS.into_iter().filter(|kind| matches!(kind, RecordKind::Candle | RecordKind::Stats(_)));
        let rows = windows.chain([RecordKind::HourOfDay]).flat_map(|kind| {
            let log = if kind == RecordKind::Candle { &self.market.output } else { &self.stats.output };
            newest(log, kind, &bitcoin()).into_iter().map(move |(key, row)| ((kind.token(), key), row))
        });
        rows.collect()
    }

    fn count(&self, name: &str) -> u64 {
        self.market.counts[name].as_u64().unwrap()
    }
}

/// The rows that one more record changes or adds, with their revisions.
fn changes(settings: EventTimePolicy, before: &[Record], more: Record) -> BTreeMap<Key, Option<u64>> {
    let after: Vec<Record> = before.iter().cloned().chain([more]).collect();
    let (before, after) = (Found::of(settings, before).rows(), Found::of(settings, &after).rows());
    let missing: Vec<_> = before.keys().filter(|key| !after.contains_key(*key)).collect();
    assert_eq!(missing, [] as [&Key; 0]);
    let changed = after.into_iter().filter(|(key, row)| before.get(key) != Some(row));
    changed.map(|(key, row)| (key, row["revision"].as_u64())).collect()
}

fn check_changes(settings: EventTimePolicy, before: &[Record], more: Record, expected: &[(Key, Option<u64>)]) {
    let expected: BTreeMap<Key, Option<u64>> = expected.iter().copied().collect();
    assert_eq!(changes(settings, before, more), expected);
}

/// The evening of a day and the start of the next, with the watermark at 00:05.
fn past_midnight() -> Vec<Record> {
    let mut records = every_minute(DAY_2 - 3 * HOUR, DAY_2 + 5 * MINUTE);
    records.push(promise(DAY_2 + 5 * MINUTE + 5 * SECOND));
    records
}

/// A tick between two of [`past_midnight`], late for all windows that ended at midnight.
const LATE: i64 = DAY_2 - 30 * SECOND;

#[test]
fn a_late_tick_revises_exactly_the_closed_windows_it_is_in() {
    let expected = [
        (("candle-1m", DAY_2 - MINUTE), Some(2)),
        (("5m", DAY_2 - 5 * MINUTE), Some(2)),
        (("15m", DAY_2 - 15 * MINUTE), Some(2)),
        (("1h", DAY_2 - HOUR), Some(2)),
        (("1d", DAY_1), Some(2)),
        (("1h-30m", DAY_2 - HOUR), Some(2)),
        (("hour-of-day", 23), None),
    ];
    check_changes(EventTimePolicy::default(), &past_midnight(), price(LATE), &expected);
}

#[test]
fn when_all_windows_of_a_late_tick_have_closed_all_are_revised() {
    let settings = EventTimePolicy { lateness: Span(2 * HOUR), ..EventTimePolicy::default() };
    let mut records = past_midnight();
    records.push(promise(DAY_2 + HOUR));
    let expected = [
        (("candle-1m", DAY_2 - MINUTE), Some(2)),
        (("5m", DAY_2 - 5 * MINUTE), Some(2)),
        (("15m", DAY_2 - 15 * MINUTE), Some(2)),
        (("1h", DAY_2 - HOUR), Some(2)),
        (("1d", DAY_1), Some(2)),
        (("1h-30m", DAY_2 - HOUR), Some(2)),
        (("1h-30m", DAY_2 - HOUR / 2), Some(2)),
        (("hour-of-day", 23), None),
    ];
    check_changes(settings, &records, price(LATE), &expected);
}

#[test]
fn a_late_tick_counts_in_open_windows_without_a_revision() {
    let mut records = every_minute(DAY_1 + 10 * HOUR, DAY_1 + 10 * HOUR + 9 * MINUTE);
    records.push(promise(DAY_1 + 10 * HOUR + 9 * MINUTE));
    let late = DAY_1 + 10 * HOUR + 7 * MINUTE + 30 * SECOND;
    let minute = DAY_1 + 10 * HOUR + 7 * MINUTE;
    check_changes(EventTimePolicy::default(), &records, price(late), &[(("candle-1m", minute), Some(2))]);
    records.extend([price(late), promise(DAY_2 + HOUR)]);
    let rows = Found::of(EventTimePolicy::default(), &records).rows();
    let row = |key: Key| (rows[&key]["revision"].as_u64().unwrap(), rows[&key]["count"].as_u64().unwrap());
    let hour = DAY_1 + 10 * HOUR;
    assert_eq!(row(("candle-1m", minute)), (2, 2));
    assert_eq!([row(("5m", hour)), row(("5m", hour + 5 * MINUTE))], [(1, 5), (1, 5)]);
    let longer = [("15m", hour), ("1h", hour), ("1d", DAY_1), ("1h-30m", hour), ("1h-30m", hour - HOUR / 2)];
    assert_eq!(longer.map(row), [(1, 10); 5]);
    assert_eq!(rows[&("hour-of-day", 10)]["count"], 10);
}

#[test]
fn the_allowed_lateness_ends_with_the_millisecond() {
    let settings = EventTimePolicy::default();
    let mut records = past_midnight();
    // The minute before midnight can be revised until the watermark reaches 00:10:00.000.
    let end = DAY_2 + 10 * MINUTE + 5 * SECOND;
    records.push(promise(end - 1));
    let changed = changes(settings, &records, price(LATE));
    assert!(changed.len() == 7 && changed.contains_key(&("candle-1m", DAY_2 - MINUTE)), "{changed:?}");

    records.push(promise(end));
    check_changes(settings, &records, price(LATE), &[]);
    records.push(price(LATE));
    let found = Found::of(settings, &records);
    assert_eq!(found.count("late"), 1);
    let [late] = found.lines(RecordKind::Late).try_into().unwrap();
    let seq = records.len();
    let expected = json!({"coin": "bitcoin", "quote": "usd", "event_ms": LATE,
        "close": late["close"], "feed_seq": seq, "line": 0, "late_ms": 10 * MINUTE + 30 * SECOND});
    assert_eq!(late, expected);
    assert!(found.lines(RecordKind::Price).iter().all(|price| price["feed_seq"] != seq));
    // The next minute can still be revised.
    assert!(!changes(settings, &records, price(DAY_2 + 30 * SECOND)).is_empty());
}

#[test]
fn the_first_tick_of_a_closed_empty_window_makes_revision_2() {
    let records = [price(DAY_1), price(DAY_1 + 6 * MINUTE)];
    let late = price(DAY_1 + 5 * MINUTE - 1);
    let expected = [(("candle-1m", DAY_1 + 4 * MINUTE), Some(2)), (("5m", DAY_1), Some(2))];
    check_changes(EventTimePolicy::default(), &records, late, &expected);
}

#[test]
fn of_two_revisions_in_one_commit_only_the_newer_is_stored() {
    let mut records = past_midnight();
    records.extend([price(LATE), price(LATE + 1)]);
    let found = Found::of(EventTimePolicy::default(), &records);
    for kind in KINDS.into_iter().filter(|kind| matches!(kind, RecordKind::Candle | RecordKind::Stats(_))) {
        let log = if kind == RecordKind::Candle { &found.market.output } else { &found.stats.output };
        let starts: Vec<i64> =
            lines(log, kind, &bitcoin()).iter().map(|row| row["start_ms"].as_i64().unwrap()).collect();
        assert_eq!(starts.len(), starts.iter().collect::<BTreeSet<_>>().len(), "{kind}");
    }
    let rows = found.rows();
    assert_eq!((&rows[&("1d", DAY_1)]["revision"], &rows[&("1d", DAY_1)]["count"]), (&json!(3), &json!(182)));
}

#[test]
fn windows_of_every_length_close_with_the_millisecond() {
    let records = every_minute(DAY_2 - HOUR, DAY_2);
    let settings = EventTimePolicy::default();
    let early: Vec<Record> = records.iter().cloned().chain([promise(DAY_2 + 5 * SECOND - 1)]).collect();
    let ends_at_midnight = [
        (("candle-1m", DAY_2 - MINUTE), Some(1)),
        (("5m", DAY_2 - 5 * MINUTE), Some(1)),
        (("15m", DAY_2 - 15 * MINUTE), Some(1)),
        (("1h", DAY_2 - HOUR), Some(1)),
        (("1d", DAY_1), Some(1)),
        (("1h-30m", DAY_2 - HOUR), Some(1)),
        (("hour-of-day", 23), None),
    ];
    check_changes(settings, &early, promise(DAY_2 + 5 * SECOND), &ends_at_midnight);
    // A tick at midnight belongs only to the new day.
    check_changes(settings, &early, price(DAY_2 + 5 * SECOND), &ends_at_midnight);
    let found = Found::of(settings, &[price(DAY_2 - 1), price(DAY_2), flush()]).rows();
    let days = [&found[&("1d", DAY_1)]["count"], &found[&("1d", DAY_2)]["count"]];
    assert_eq!(days, [&json!(1), &json!(1)]);
}

#[test]
fn a_flush_closes_windows_once_and_moves_no_watermark() {
    let settings = EventTimePolicy::default();
    let hour = DAY_1 + HOUR;
    let records = [price(DAY_1), price(hour + 10 * SECOND)];
    let open = [
        ("candle-1m", hour),
        ("5m", hour),
        ("15m", hour),
        ("1h", hour),
        ("1d", DAY_1),
        ("1h-30m", hour),
        ("1h-30m", hour - HOUR / 2),
    ];
    let mut expected = open.map(|key| (key, Some(1))).to_vec();
    expected.push((("hour-of-day", 1), None));
    check_changes(settings, &records, flush(), &expected);
    let mut records = records.to_vec();
    records.push(flush());
    check_changes(settings, &records, flush(), &[]);
    // If the flush had moved the watermark, this tick would be late: no row changes before the next close.
    check_changes(settings, &records, price(hour + 1), &[]);
    records.push(price(hour + 1));
    let mut expected = open.map(|key| (key, Some(2))).to_vec();
    expected.push((("hour-of-day", 1), None));
    check_changes(settings, &records, flush(), &expected);
}

#[test]
fn a_day_in_two_flushed_parts_is_the_day() {
    let settings = EventTimePolicy::default();
    let (morning, evening) = (every_minute(DAY_1, DAY_1 + 725 * MINUTE), every_minute(DAY_1 + 725 * MINUTE, DAY_2));
    let whole: Vec<Record> = morning.iter().chain(&evening).cloned().chain([flush()]).collect();
    let parts: Vec<Record> = [morning, vec![flush()], evening, vec![flush()]].concat();
    let [whole, parts] = [whole, parts].map(|records| Found::of(settings, &records));
    assert_eq!((parts.count("late"), parts.count("duplicate")), (0, 0));
    let plain = |found: &Found| -> BTreeMap<Key, Value> {
        let strip = |(key, mut row): (Key, Value)| {
            row.as_object_mut()
                .unwrap()
                .retain(|field, _| !["revision", "first_seq", "last_seq"].contains(&field.as_str()));
            (key, row)
        };
        found.rows().into_iter().map(strip).collect()
    };
    assert_eq!(plain(&parts), plain(&whole));
}

#[test]
fn gaps_pass_through_and_move_nothing() {
    let records = past_midnight();
    for (from, to) in [(DAY_1 - 9, DAY_1 - 8), (DAY_1, DAY_2), (DAY_2 + 100 * HOUR, DAY_2 + 200 * HOUR)] {
        let gap = gap(&bitcoin(), from, to);
        check_changes(EventTimePolicy::default(), &records, Record::Gap(gap.clone()), &[]);
        let with_gap: Vec<Record> = records.iter().cloned().chain([Record::Gap(gap.clone()), price(LATE)]).collect();
        let found = Found::of(EventTimePolicy::default(), &with_gap);
        assert_eq!(found.lines(RecordKind::Gap), [serde_json::to_value(&gap).unwrap()]);
        assert_eq!((found.count("late"), found.count("accepted")), (0, 186), "the watermark has not moved");
    }
}

#[test]
fn input_that_was_lost_is_a_gap_before_the_first_newer_record() {
    let operator = Processing::new(EventTimePolicy::default());
    let (mut state, mut counts, mut outputs) = Default::default();
    let old = [price(DAY_1), price(DAY_1 + MINUTE)];
    let new = [price(DAY_1), price(DAY_1 + 5 * MINUTE), price(DAY_1 + 6 * MINUTE)];
    for (seq, records, is_after_loss) in [(1, &old[..], false), (9, &new[..], true)] {
        let payload = &feed(records, |_| false)[0].payload;
        let instrument = bitcoin();
        let input = Input {
            seq,
            kind: RecordKind::Tick,
            stored_ms: STORED_MS,
            instrument: Some(&instrument),
            is_known_schema: true,
            is_after_loss,
            payload,
            lines_done: 0,
        };
        operator.apply(input, &mut state, &mut counts, &mut outputs);
    }
    let messages = outputs.into_messages(Stream::Market, 0, |_| ("bitcoin", "usd"));
    let gaps: Vec<Value> = messages
        .iter()
        .filter(|message| message.subject.contains(".gap."))
        .map(|message| serde_json::from_slice(&message.payload).unwrap())
        .collect();
    let (from_ms, to_ms) = (DAY_1 + MINUTE, DAY_1 + 5 * MINUTE);
    let expected =
        json!({"coin": "bitcoin", "quote": "usd", "from_ms": from_ms, "to_ms": to_ms, "cause": "input-lost"});
    assert_eq!(gaps, [expected]);
}

/// Destination of a record, and its effect on the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    /// On `price`, and the watermark advances.
    Counts,
    /// On `price`, out of order or late: the watermark does not move.
    CountsBehind,
    /// Only counted.
    Duplicate,
    /// On `late`.
    Late,
    /// On `rejected`, with a reason.
    Rejected(&'static str),
}

/// Adds a message to the ticks around midnight and one in the open minute 00:05; that minute closes when the watermark
/// advances.
fn check_destination(line: &str, is_known_schema: bool, expected: Destination) {
    check_destination_of(line, is_known_schema, STORED_MS, expected);
}

/// The same for a message that was stored at this time.
fn check_destination_of(line: &str, is_known_schema: bool, stored_ms: i64, expected: Destination) {
    let mut records = past_midnight();
    records.push(price(DAY_2 + 5 * MINUTE));
    let mut messages = feed(&records, |_| true);
    let subject = messages[0].subject.clone();
    let before = Found::of_feed(EventTimePolicy::default(), &messages);
    messages.push(LogMessage { subject, payload: line.to_owned().into(), stored_ms, is_known_schema });
    let after = Found::of_feed(EventTimePolicy::default(), &messages);
    let more = |kind: RecordKind| after.lines(kind).len() - before.lines(kind).len();
    let counted = |name: &str| after.count(name) - before.count(name);
    let found = match (more(RecordKind::Price), more(RecordKind::Late), more(RecordKind::Rejected)) {
        (1, 0, 0) if after.rows().contains_key(&("candle-1m", DAY_2 + 5 * MINUTE)) => Destination::Counts,
        (1, 0, 0) => Destination::CountsBehind,
        (0, 1, 0) => Destination::Late,
        (0, 0, 1) => {
            let reason = after.lines(RecordKind::Rejected)[0]["reason"].as_str().unwrap().to_owned();
            assert_eq!(after.market.counts["rejected"], json!({ reason.as_str(): 1 }));
            match expected {
                Destination::Rejected(word) if word == reason => expected,
                _ => panic!("rejected as {reason}: {line}"),
            }
        }
        _ => Destination::Duplicate,
    };
    assert_eq!(found, expected, "{line}");
    let counts = [counted("accepted"), counted("late"), counted("duplicate")];
    let expected_counts = match found {
        Destination::Counts | Destination::CountsBehind => [1, 0, 0],
        Destination::Late => [0, 1, 0],
        Destination::Duplicate => [0, 0, 1],
        Destination::Rejected(_) => [0, 0, 0],
    };
    assert_eq!(counts, expected_counts, "{line}");
    if matches!(found, Destination::Late | Destination::Duplicate | Destination::Rejected(_)) {
        assert_eq!(after.rows(), before.rows(), "{line}");
    }
}

#[test]
fn every_kind_of_tick_ends_where_the_table_says() {
    let open = DAY_2 + 5 * MINUTE;
    // The watermark of this tick closes the minute 00:05.
    let now = open + MINUTE + 5 * SECOND;
    let base = tick(&bitcoin(), now, 100.0);
    let check = |change: &dyn Fn(&mut TickLine<'static>), expected: Destination| {
        let mut line = base.clone();
        change(&mut line);
        check_destination(&serde_json::to_string(&line).unwrap(), true, expected);
    };
    check(&|_| (), Destination::Counts);
    check(&|tick| tick.ingest_ms = now - 2 * MINUTE, Destination::Counts);
    check(&|tick| tick.ingest_ms = i64::MAX, Destination::Counts);
    check(&|tick| tick.event_ms = LATE, Destination::CountsBehind);
    check(&|tick| tick.event_ms = open + 1, Destination::CountsBehind);
    check(&|tick| tick.event_ms = DAY_2 - 10 * MINUTE, Destination::Late);
    check(&|tick| tick.event_ms = EventTime::EARLIEST.ms(), Destination::Late);
    check(&|tick| tick.event_ms = DAY_2, Destination::Duplicate);
    check(&|tick| (tick.event_ms, tick.close) = (DAY_2, 77.0), Destination::Duplicate);
    check(&|tick| (tick.event_ms, tick.id) = (DAY_2, Some(1)), Destination::CountsBehind);
    check(&|tick| (tick.event_ms, tick.grain_ms) = (DAY_2, Some(1)), Destination::CountsBehind);
    check(&|tick| tick.event_ms = EventTime::EARLIEST.ms() - 1, Destination::Rejected("out-of-range"));
    check(&|tick| tick.event_ms = 0, Destination::Rejected("out-of-range"));
    check(&|tick| tick.event_ms = i64::MIN, Destination::Rejected("out-of-range"));
    check(&|tick| (tick.event_ms, tick.ingest_ms) = (i64::MAX, i64::MAX), Destination::Rejected("out-of-range"));
    check(&|tick| tick.ingest_ms = now - 2 * MINUTE - 1, Destination::Rejected("future"));
    check(&|tick| tick.ingest_ms = i64::MIN, Destination::Rejected("future"));
    check(&|tick| (tick.event_ms, tick.ingest_ms) = (STORED_MS + 2 * MINUTE, i64::MAX), Destination::Counts);
    check(
        &|tick| (tick.event_ms, tick.ingest_ms) = (STORED_MS + 2 * MINUTE + 1, i64::MAX),
        Destination::Rejected("future"),
    );
    check(&|tick| tick.coin = "ethereum".into(), Destination::Rejected("wrong-instrument"));
    check(&|tick| tick.close = 0.0, Destination::Rejected("zero-price"));
    check(&|tick| tick.close = -1.0, Destination::Rejected("negative-price"));
    check(&|tick| tick.high = Some(99.0), Destination::Rejected("high-low-order"));
    check(&|tick| tick.close = 1e16, Destination::Rejected("out-of-range"));
    check(&|tick| tick.grain_ms = Some(0), Destination::Rejected("out-of-range"));
    let line = serde_json::to_string(&base).unwrap();
    check_destination(&line.replace("100.0", "1e999"), true, Destination::Rejected("non-finite"));
    check_destination(&line.replace("100.0", "NaN"), true, Destination::Rejected("unparsable"));
    check_destination(&line.replace("event_ms", "event"), true, Destination::Rejected("unparsable"));
    check_destination("garbage", true, Destination::Rejected("unparsable"));
    check_destination(&line, false, Destination::Rejected("unknown-version"));
    check_destination(&vec![line.as_str(); 501].join("\n"), true, Destination::Rejected("too-long"));
    check_destination(&format!("{line}{}", " ".repeat(1 << 20)), true, Destination::Rejected("too-long"));
    check_destination(&line.replace("\"grain_ms\"", "\"unknown_field\":[1,2],\"grain_ms\""), true, Destination::Counts);
}

#[test]
fn a_heartbeat_or_a_tick_from_the_future_moves_nothing() {
    let records = past_midnight();
    let mut ahead = heartbeat(&bitcoin(), DAY_2 + HOUR, false);
    ahead.ingest_ms = DAY_2 + HOUR - 2 * MINUTE - 1;
    check_changes(EventTimePolicy::default(), &records, Record::Heartbeat(ahead.clone()), &[]);
    ahead.ingest_ms += 1;
    assert!(!changes(EventTimePolicy::default(), &records, Record::Heartbeat(ahead)).is_empty());
    let mut early = tick(&bitcoin(), DAY_2 + HOUR, 5.0);
    early.ingest_ms = DAY_2 + HOUR - 2 * MINUTE - 1;
    check_changes(EventTimePolicy::default(), &records, Record::Tick(early), &[]);
    // A sender can choose the ingest time, but not the server's time of storing.
    let year_9999 = EventTime::LATEST.ms();
    check_changes(EventTimePolicy::default(), &records, promise(year_9999), &[]);
    check_changes(EventTimePolicy::default(), &records, price(year_9999), &[]);
}

/// A tick that was fetched afterwards is judged as any other; only an accepted one counts as filled.
#[test]
fn filled_ticks_are_judged_like_others_and_counted() {
    let filled =
        |event_ms| Record::Tick(TickLine { quote_volume: Some(5.0), filled: true, ..tick(&bitcoin(), event_ms, 5.0) });
    let mut records = past_midnight();
    // Accepted, the same again, and beyond the allowed lateness.
    records.extend([filled(LATE), filled(LATE), filled(DAY_2 - 2 * HOUR + SECOND)]);
    let found = Found::of(EventTimePolicy::default(), &records);
    assert_eq!(["filled", "duplicate", "late"].map(|name| found.count(name)), [1, 1, 1]);
    let late = &found.lines(RecordKind::Late)[0];
    assert_eq!((&late["quote_volume"], &late["filled"]), (&json!(5.0), &json!(true)), "{late}");
    let rows = found.rows();
    let minute = &rows[&("candle-1m", DAY_2 - MINUTE)];
    assert_eq!((&minute["filled"], &minute["count"]), (&json!(1), &json!(2)), "{minute}");
    assert!(minute.get("quote_volume").is_none(), "the other tick has none: {minute}");
}

#[test]
fn the_ends_of_the_calendar_have_windows_too() {
    let (first, last) = (EventTime::EARLIEST.ms(), EventTime::LATEST.ms());
    let records = [price(first), price(first + MINUTE), price(last), promise(last), flush(), price(last - MINUTE)];
    let at_the_end = |message: LogMessage| LogMessage { stored_ms: last, ..message };
    let messages: Vec<LogMessage> = feed(&records, |_| true).into_iter().map(at_the_end).collect();
    let found = Found::of_feed(EventTimePolicy::default(), &messages);
    assert_eq!(found.count("accepted"), 4);
    let rows = found.rows();
    assert_eq!(rows[&("1h-30m", first - HOUR / 2)]["count"], 2);
    assert_eq!(rows[&("1d", last + 1 - 24 * HOUR)]["end_ms"], last + 1);
    assert_eq!(rows[&("candle-1m", last + 1 - 2 * MINUTE)]["revision"], 2);
}

/// More ticks than an instrument remembers: a repeated forgotten tick is late, and never counted twice.
#[test]
fn forgotten_ticks_are_late_when_repeated() {
    let many = 2 * IDENTITIES_MAX as i64;
    let numbered = |id: i64| {
        let mut tick = tick(&bitcoin(), DAY_1 + id / 100, 100.0);
        // Non-consecutive ids, since consecutive ones are remembered as one run.
        tick.id = Some(2 * id as u64);
        Record::Tick(tick)
    };
    let twice: Vec<Record> = (0..many).chain(0..many).map(numbered).chain([flush()]).collect();
    let messages = feed(&twice, |idx| idx % 500 == 0);
    let found = Found::of_feed(EventTimePolicy::default(), &messages);
    assert_eq!(found.count("accepted") as i64, many);
    assert_eq!((found.count("late") + found.count("duplicate")) as i64, many);
    let late = found.lines(RecordKind::Late);
    assert!(late.len() >= IDENTITIES_MAX && late.iter().all(|late| late["late_ms"].as_i64() > Some(0)));
    let day = &found.rows()[&("1d", DAY_1)];
    assert_eq!(day["count"], many);
}

/// The revision and the count of a table's newest rows, by start.
fn revisions(csv: &str) -> BTreeMap<String, (u32, u32)> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let row = |record: csv::StringRecord| {
        let number = |idx: usize| record[idx].parse().unwrap();
        (record[3].to_owned(), (number(15), number(12)))
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_show_the_revisions_of_late_ticks() {
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let producer = pipeline.server.connect("producer").await;
    let send = async |number: usize, record: &Record| {
        let (kind, payload) = match record {
            Record::Tick(tick) => (RecordKind::Tick, codec::single(tick)),
            Record::Heartbeat(heartbeat) => (RecordKind::Heartbeat, codec::single(heartbeat)),
            _ => unreachable!("nothing else is sent here"),
        };
        let message = FeedMessage { kind, instrument: bitcoin(), payload, id: format!("test/{number}") };
        publish(&producer, &message).await.unwrap();
    };
    let mut records = past_midnight();
    records.extend([price(LATE), promise(DAY_2 + 10 * MINUTE + 5 * SECOND), price(LATE + 1)]);
    for (number, record) in records.iter().enumerate() {
        send(number, record).await;
    }
    pipeline.wait();
    let counts = ["accepted", "late", "duplicate"].map(|name| pipeline.count(name));
    assert_eq!(counts, [186, 1, 0]);
    let tables = pipeline.tables();
    let row = |table: &str, start_ms: i64| revisions(&tables[table])[&EventTime(start_ms).to_rfc3339()];
    assert_eq!(row("candles-1m", DAY_2 - MINUTE), (2, 2));
    assert_eq!(row("candles-1m", DAY_2 - 2 * MINUTE), (1, 1));
    assert_eq!(row("hourly", DAY_2 - HOUR), (2, 61));
    assert_eq!(row("daily", DAY_1), (2, 181));
    assert_eq!(row("moving-average", DAY_2 - HOUR), (2, 61));
    assert!(tables["hour-of-day"].lines().any(|line| line.starts_with("bitcoin,usd,23,") && line.ends_with(",61")));
}
