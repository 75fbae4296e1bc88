//! The same records give the same candles, in any order within the disorder bound, with any packing, commits, crashes
//! and takeovers, and with any number of instances. The candles equal those of a plain computation.

use std::collections::{BTreeMap, HashSet};

use bus::RecordKind;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::windowing::EventTimePolicy;
use market::{Instrument, Window};
use pipeline_tests::harness::{
    End, KINDS, LogMessage, Record, STORED_MS, Store, Turn, feed, gap, heartbeat, lines, newest, run_both, tick,
};
use pipeline_tests::oracle::{self, close_enough};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// Twenty minutes before the end of a day, so that windows of every length close.
const START: i64 = 1_583_020_800_000 + 1_420 * MINUTE;
/// The shipped settings.
const DISORDER: i64 = 5 * SECOND;
const LATENESS: i64 = 10 * MINUTE;

pub(crate) fn instruments() -> [Instrument; 2] {
    [Instrument::new("bitcoin", "usd").unwrap(), Instrument::new("ethereum", "eur").unwrap()]
}

/// The next record of a source.
#[derive(Debug, Clone)]
enum Step {
    /// An observation this far behind the newest one.
    Tick {
        behind_ms: i64,
        close: f64,
        traded: Traded,
        span: Span,
    },
    /// An earlier tick, by its index, sent again with these values.
    Again {
        which: prop::sample::Index,
        close: Option<f64>,
    },
    Heartbeat {
        behind_ms: i64,
        complete_ms: Option<i64>,
    },
    Flush,
    Gap {
        length_ms: i64,
    },
    /// An event time ahead of its ingest time, or an ingest time ahead of the server's.
    Future {
        heartbeat: bool,
        is_ingest_forged: bool,
    },
    Garbage,
}

/// Amounts traded in an observation, and whether it was fetched afterwards.
#[derive(Debug, Clone, Copy)]
struct Traded {
    volume: Option<f64>,
    quote_volume: Option<f64>,
    filled: bool,
}

/// Kind of an observation.
#[derive(Debug, Clone, Copy)]
enum Span {
    Bar(i64),
    Point { complete_ms: Option<i64> },
}

fn step() -> impl Strategy<Value = Step> {
    let close = || (-3.0..6.0_f64).prop_map(|exponent| 10_f64.powf(exponent));
    let complete = || prop::option::of(0..90 * MINUTE);
    let span = prop_oneof![
        3 => prop_oneof![Just(1_000_i64), Just(60_000), Just(3_600_000)].prop_map(Span::Bar),
        2 => complete().prop_map(|complete_ms| Span::Point { complete_ms }),
    ];
    let tick = |behind: std::ops::RangeInclusive<i64>| {
        (behind, close(), traded(), span.clone()).prop_map(|(behind_ms, close, traded, span)| Step::Tick {
            behind_ms,
            close,
            traded,
            span,
        })
    };
    prop_oneof![
        12 => tick(0..=0),
        4 => tick(0..=DISORDER),
        4 => tick(DISORDER..=LATENESS + 2 * MINUTE),
        1 => tick(LATENESS..=30 * LATENESS),
        2 => (any::<prop::sample::Index>(), prop::option::of(close())).prop_map(|(which, close)| Step::Again { which, close }),
        2 => (-MINUTE..=DISORDER, complete())
            .prop_map(|(behind_ms, complete_ms)| Step::Heartbeat { behind_ms, complete_ms }),
        1 => Just(Step::Flush),
        1 => (1..100 * MINUTE).prop_map(|length_ms| Step::Gap { length_ms }),
        1 => any::<[bool; 2]>().prop_map(|[heartbeat, is_ingest_forged]| Step::Future { heartbeat, is_ingest_forged }),
        1 => Just(Step::Garbage),
    ]
}

fn traded() -> impl Strategy<Value = Traded> {
    // Most ticks have both volumes, so that many windows do.
    let volume = || prop::option::weighted(0.8, prop_oneof![9 => 0.0..1e3_f64, 1 => Just(0.0)]);
    (volume(), volume(), prop::bool::weighted(0.2)).prop_map(|(volume, quote_volume, filled)| Traded {
        volume,
        quote_volume,
        filled,
    })
}

/// Advance of event time before a step: mostly seconds, sometimes zero or hours. Often whole seconds, so that ticks lie
/// on window boundaries.
fn pace() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(0),
        6 => 0..90 * SECOND,
        3 => (0_i64..90).prop_map(|seconds| seconds * SECOND),
        1 => 0..20 * MINUTE,
        1 => (0_i64..120).prop_map(|minutes| minutes * MINUTE),
    ]
}

/// The records of two instruments, in order of arrival.
pub(crate) fn records() -> impl Strategy<Value = Vec<Record>> {
    let steps = prop::collection::vec((0_usize..2, pace(), step()), 1..100);
    steps.prop_map(|steps| {
        let mut sources = instruments().map(|instrument| Source { instrument, now_ms: START, ticks: Vec::new() });
        steps.into_iter().map(|(idx, pace_ms, step)| sources[idx].record(pace_ms, step)).collect()
    })
}

struct Source {
    instrument: Instrument,
    now_ms: i64,
    ticks: Vec<Record>,
}

impl Source {
    fn record(&mut self, pace_ms: i64, step: Step) -> Record {
        self.now_ms += pace_ms;
        let Self { instrument, now_ms, ticks } = self;
        match step {
            Step::Tick { behind_ms, close, traded, span } => {
                let mut tick = tick(instrument, *now_ms - behind_ms, close);
                // Of equal event times, the tick that arrives last has the lowest id.
                tick.id = Some(u64::MAX - 2 * ticks.len() as u64);
                (tick.volume, tick.quote_volume, tick.filled) = (traded.volume, traded.quote_volume, traded.filled);
                (tick.grain_ms, tick.complete_ms) = match span {
                    Span::Bar(grain_ms) => (Some(grain_ms), None),
                    Span::Point { complete_ms } => (None, complete_ms),
                };
                (tick.high, tick.low) = (Some(close * 1.5), Some(close / 1.5));
                ticks.push(Record::Tick(tick));
                ticks[ticks.len() - 1].clone()
            }
            Step::Again { which, close } if !ticks.is_empty() => {
                let mut again = ticks[which.index(ticks.len())].clone();
                if let (Record::Tick(tick), Some(close)) = (&mut again, close) {
                    (tick.close, tick.high, tick.low) = (close, None, None);
                }
                again
            }
            Step::Heartbeat { behind_ms, complete_ms } => {
                let heartbeat = heartbeat(instrument, *now_ms - behind_ms, false);
                Record::Heartbeat(HeartbeatLine { complete_ms, ..heartbeat })
            }
            Step::Flush => Record::Heartbeat(heartbeat(instrument, *now_ms, true)),
            Step::Gap { length_ms } => Record::Gap(gap(instrument, *now_ms, *now_ms + length_ms)),
            Step::Future { heartbeat: is_heartbeat, is_ingest_forged } => {
                let (event_ms, ingest_ms) = match is_ingest_forged {
                    true => (STORED_MS + 10 * MINUTE, STORED_MS + 10 * MINUTE),
                    false => (*now_ms + 10 * MINUTE, *now_ms),
                };
                match is_heartbeat {
                    true => Record::Heartbeat(HeartbeatLine { ingest_ms, ..heartbeat(instrument, event_ms, false) }),
                    false => Record::Tick(TickLine { ingest_ms, ..tick(instrument, event_ms, 1.0) }),
                }
            }
            Step::Garbage | Step::Again { .. } => Record::Garbage(instrument.clone()),
        }
    }
}

/// Turns of three instances in any order.
pub(crate) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let end = prop_oneof![
        3 => Just(End::Commit),
        1 => Just(End::Settle),
        1 => Just(End::Stop),
        1 => Just(End::Crash),
        1 => Just(End::Freeze),
    ];
    let turn = (0_usize..3, 0_usize..12, any::<bool>(), end).prop_map(|(instance, inputs, is_live, end)| Turn {
        instance,
        inputs,
        is_live,
        end,
    });
    prop::collection::vec(turn, 0..40)
}

/// Each input in a commit of its own, by one instance.
fn one_by_one(feed: &[LogMessage]) -> [Store; 2] {
    let turn = Turn { instance: 0, inputs: 1, is_live: true, end: End::Commit };
    run_both(EventTimePolicy::default(), feed, [&vec![turn; feed.len()], &vec![turn; 16 * feed.len()]])
}

/// Checks that random turns include takeovers with states that lack inputs, and refused commits; otherwise the
/// properties below would prove little.
#[test]
fn turns_by_chance_apply_again_and_overtake() {
    let mut runner = TestRunner::deterministic();
    let (mut replayed, mut refused) = ([0; 2], [0; 2]);
    for _ in 0..20 {
        let mut draw = |turns: BoxedStrategy<Vec<Turn>>| turns.new_tree(&mut runner).unwrap().current();
        let (market, stats) = (draw(turns().boxed()), draw(turns().boxed()));
        let feed = feed(&records().new_tree(&mut runner).unwrap().current(), |_| true);
        let stores = run_both(EventTimePolicy::default(), &feed, [&market, &stats]);
        for (store, (replayed, refused)) in stores.iter().zip(replayed.iter_mut().zip(&mut refused)) {
            *replayed += store.replayed;
            *refused += store.refused;
        }
    }
    assert!(replayed.iter().all(|&replayed| replayed > 100), "{replayed:?}");
    assert!(refused.iter().all(|&refused| refused > 10), "{refused:?}");
}

type Rows = BTreeMap<(&'static str, String, i64), Value>;

/// The newest row of every window and hour, of every instrument.
fn rows([market, stats]: &[Store; 2]) -> Rows {
    let mut rows = Rows::new();
    for instrument in instruments() {
        for kind in KINDS.into_iter().chain([RecordKind::HourOfDay]) {
            let log = match kind {
                RecordKind::Candle => &market.output,
                RecordKind::Stats(_) | RecordKind::HourOfDay => &stats.output,
                _ => continue,
            };
            let newest = newest(log, kind, &instrument).into_iter();
            rows.extend(newest.map(|(key, row)| ((kind.token(), instrument.to_string(), key), row)));
        }
    }
    rows
}

/// All lines other than candles and profile rows, of every instrument, in order.
fn others([market, _]: &[Store; 2]) -> Vec<Vec<Value>> {
    let kinds = [RecordKind::Price, RecordKind::Heartbeat, RecordKind::Gap, RecordKind::Late, RecordKind::Rejected];
    instruments().iter().flat_map(|instrument| kinds.map(|kind| lines(&market.output, kind, instrument))).collect()
}

/// Without the fields that give a position in FEED.
fn without_place(mut row: Value) -> Value {
    const PLACE: [&str; 4] = ["first_seq", "last_seq", "feed_seq", "line"];
    row.as_object_mut().unwrap().retain(|field, _| !PLACE.contains(&field.as_str()));
    row
}

fn placeless_rows(stores: &[Store; 2]) -> Rows {
    rows(stores).into_iter().map(|(key, row)| (key, without_place(row))).collect()
}

fn placeless_others(stores: &[Store; 2]) -> Vec<Vec<Value>> {
    others(stores).into_iter().map(|lines| lines.into_iter().map(without_place).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any packing of FEED into commits, any crash and any takeover gives the same output bytes.
    #[test]
    fn one_feed_gives_equal_bytes_across_crashes_and_takeovers(
        records in records(), cuts in prop::collection::vec(any::<bool>(), 120), market in turns(), stats in turns(),
    ) {
        let feed = feed(&records, |idx| cuts[idx]);
        let plain = one_by_one(&feed);
        let disturbed = run_both(EventTimePolicy::default(), &feed, [&market, &stats]);
        prop_assert_eq!(rows(&disturbed), rows(&plain));
        prop_assert_eq!(others(&disturbed), others(&plain));
        for (disturbed, plain) in disturbed.iter().zip(&plain) {
            prop_assert_eq!(&disturbed.counts, &plain.counts);
            prop_assert_eq!(&disturbed.states, &plain.states);
        }
    }

    #[test]
    fn the_candles_are_those_of_a_plain_computation(
        records in records(), cuts in prop::collection::vec(any::<bool>(), 120), market in turns(), stats in turns(),
    ) {
        let feed = feed(&records, |idx| cuts[idx]);
        let stores = run_both(EventTimePolicy::default(), &feed, [&market, &stats]);
        let mut duplicates = 0;
        for instrument in instruments() {
            let plain = Plain::of(&instrument, &records);
            plain.check(&instrument, &stores);
            duplicates += plain.duplicates;
        }
        prop_assert_eq!(&stores[0].counts["duplicate"], &Value::from(duplicates));
    }

    #[test]
    fn records_packed_otherwise_give_the_same_candles(
        records in records(), cuts in prop::collection::vec(any::<bool>(), 120), market in turns(), stats in turns(),
    ) {
        let plain = one_by_one(&feed(&records, |_| true));
        let packed = run_both(EventTimePolicy::default(), &feed(&records, |idx| cuts[idx]), [&market, &stats]);
        prop_assert_eq!(placeless_rows(&packed), placeless_rows(&plain));
        prop_assert_eq!(placeless_others(&packed), placeless_others(&plain));
        for (packed, plain) in packed.iter().zip(&plain) {
            prop_assert_eq!(&packed.counts, &plain.counts);
        }
    }

    #[test]
    fn any_order_within_the_disorder_bound_gives_the_same_candles(
        arrivals in prop::collection::vec((0_usize..2, pace(), 0..=DISORDER, 0_u8..10, 1.0..1e5_f64), 1..120),
        cuts in prop::collection::vec(any::<bool>(), 122), market in turns(), stats in turns(),
    ) {
        let (ordered, arriving) = disordered(arrivals);
        let plain = one_by_one(&feed(&ordered, |_| true));
        let disturbed = run_both(EventTimePolicy::default(), &feed(&arriving, |idx| cuts[idx]), [&market, &stats]);
        prop_assert_eq!(placeless_rows(&disturbed), placeless_rows(&plain));
        prop_assert_eq!(&disturbed[0].counts, &plain[0].counts);
        prop_assert_eq!(&disturbed[0].counts["late"], &Value::from(0));
    }
}

/// Ticks and heartbeats in order of event time, and in an order of arrival with delays up to the disorder bound; both
/// end with a flush of each instrument.
fn disordered(arrivals: Vec<(usize, i64, i64, u8, f64)>) -> (Vec<Record>, Vec<Record>) {
    let instruments = instruments();
    let mut now_ms = START;
    let mut ordered = Vec::new();
    for (id, (idx, pace_ms, delay_ms, kind, close)) in arrivals.into_iter().enumerate() {
        now_ms += pace_ms;
        let record = if kind == 0 {
            Record::Heartbeat(heartbeat(&instruments[idx], now_ms, false))
        } else {
            let mut tick = tick(&instruments[idx], now_ms, close);
            tick.id = Some(id as u64);
            Record::Tick(tick)
        };
        ordered.push((now_ms + delay_ms, record));
    }
    let mut arriving = ordered.clone();
    arriving.sort_by_key(|(arrival_ms, _)| *arrival_ms);
    let flushes = instruments.map(|instrument| Record::Heartbeat(heartbeat(&instrument, now_ms, true)));
    let flushed =
        |records: Vec<(i64, Record)>| records.into_iter().map(|(_, record)| record).chain(flushes.clone()).collect();
    (flushed(ordered), flushed(arriving))
}

/// A plain evaluation of one instrument's records.
#[derive(Default)]
struct Plain {
    accepted: Vec<Accepted>,
    /// Event times of late ticks, with their lateness.
    late: Vec<(i64, i64)>,
    duplicates: u64,
    certified: Vec<Certified>,
    /// After each record that moves the watermark or flushes: its index, the watermark, and whether it is a flush.
    moments: Vec<(usize, i64, bool)>,
}

/// A certified span of a source.
struct Certified {
    place: usize,
    from_ms: i64,
    to_ms: i64,
    /// Watermark at its arrival.
    watermark_ms: i64,
}

struct Accepted {
    place: usize,
    event_ms: i64,
    id: Option<u64>,
    grain_ms: Option<i64>,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: Option<f64>,
    quote_volume: Option<f64>,
    filled: bool,
    /// Watermark at its arrival.
    watermark_ms: i64,
}

impl Accepted {
    /// A point counts in windows that contain it, a bar longer than a minute only in windows that contain all of it.
    fn counts_before(&self, end_ms: i64) -> bool {
        self.event_ms + self.grain_ms.filter(|&grain_ms| grain_ms > MINUTE).unwrap_or(1) <= end_ms
    }

    fn counts_for_its_hour(&self) -> bool {
        self.event_ms.rem_euclid(60 * MINUTE) + self.grain_ms.unwrap_or(0) <= 60 * MINUTE
    }
}

/// An issued window.
struct Issued<'a> {
    /// The ticks of the newest issue.
    ticks: Vec<&'a Accepted>,
    revision: u64,
    /// The index of the newest issue.
    at: usize,
}

impl Plain {
    fn certify(&mut self, place: usize, to_ms: i64, complete_ms: Option<i64>, watermark_ms: i64) {
        let certified =
            complete_ms.map(|complete_ms| Certified { place, from_ms: to_ms - complete_ms, to_ms, watermark_ms });
        self.certified.extend(certified);
    }

    /// Covered length of a window: the length of a union.
    fn covered_ms(&self, (start_ms, end_ms): (i64, i64), issued: &Issued<'_>) -> i64 {
        let is_own = |place: usize| issued.ticks.iter().any(|tick| tick.place == place);
        let counts = |part: &&Certified| part.place <= issued.at && (part.watermark_ms < end_ms || is_own(part.place));
        let certified = self.certified.iter().filter(counts).map(|part| (part.from_ms, part.to_ms));
        let bar = |tick: &&Accepted| Some((tick.event_ms, tick.event_ms + tick.grain_ms?));
        let bars = issued.ticks.iter().filter_map(bar);
        oracle::covered_ms(certified.chain(bars), (start_ms, end_ms))
    }

    fn of(instrument: &Instrument, records: &[Record]) -> Self {
        let mut plain = Self::default();
        let mut seen = HashSet::new();
        let mut newest_ms = i64::MIN / 2;
        for (place, record) in records.iter().enumerate() {
            let watermark_ms = newest_ms - DISORDER;
            let mut is_flush = false;
            match record {
                Record::Tick(tick) if tick.coin == instrument.coin() && is_in_time(tick.event_ms, tick.ingest_ms) => {
                    let minute_end = tick.event_ms.div_euclid(MINUTE) * MINUTE + MINUTE;
                    if watermark_ms >= minute_end + LATENESS {
                        plain.late.push((tick.event_ms, watermark_ms - tick.event_ms));
                    } else if !seen.insert((tick.event_ms, tick.id, tick.grain_ms)) {
                        plain.duplicates += 1;
                    } else {
                        newest_ms = newest_ms.max(tick.event_ms);
                        plain.certify(place, tick.event_ms, tick.complete_ms, watermark_ms);
                        let [open, high, low] =
                            [tick.open, tick.high, tick.low].map(|price| price.unwrap_or(tick.close));
                        plain.accepted.push(Accepted {
                            place,
                            event_ms: tick.event_ms,
                            id: tick.id,
                            grain_ms: tick.grain_ms,
                            open,
                            high,
                            low,
                            close: tick.close,
                            volume: tick.volume,
                            quote_volume: tick.quote_volume,
                            filled: tick.filled,
                            watermark_ms,
                        });
                    }
                }
                Record::Heartbeat(heartbeat) if heartbeat.coin == instrument.coin() => {
                    is_flush = heartbeat.flush;
                    if !is_flush && is_in_time(heartbeat.event_ms, heartbeat.ingest_ms) {
                        newest_ms = newest_ms.max(heartbeat.event_ms);
                        plain.certify(place, heartbeat.event_ms, heartbeat.complete_ms, watermark_ms);
                    }
                }
                _ => {}
            }
            plain.moments.push((place, newest_ms - DISORDER, is_flush));
        }
        plain
    }

    /// The index of the first record after `place` that closes a window with this end.
    fn closed_at(&self, place: usize, end_ms: i64) -> Option<usize> {
        let closes = |&&(at, watermark_ms, is_flush): &&(usize, i64, bool)| {
            at >= place && (watermark_ms >= end_ms || is_flush && at > place)
        };
        self.moments.iter().find(closes).map(|(at, ..)| *at)
    }

    /// The issued windows, by start.
    fn windows(&self, window: Window) -> BTreeMap<i64, Issued<'_>> {
        let (size, hop) = (window.size().ms(), window.hop().ms());
        let mut members: BTreeMap<i64, Vec<&Accepted>> = BTreeMap::new();
        for tick in &self.accepted {
            let newest = tick.event_ms.div_euclid(hop) * hop;
            let starts = (0..size / hop).map(|back| newest - back * hop);
            starts.filter(|start| tick.counts_before(start + size)).for_each(|start| {
                members.entry(start).or_default().push(tick);
            });
        }
        let issued = members.into_iter().filter_map(|(start, ticks)| {
            let end = start + size;
            let (late, on_time): (Vec<&Accepted>, _) = ticks.iter().partition(|tick| tick.watermark_ms >= end);
            let mut closes: Vec<usize> = on_time.iter().filter_map(|tick| self.closed_at(tick.place, end)).collect();
            closes.dedup();
            // A window that closed empty has used its first revision without output.
            let closed = if late.is_empty() { closes.len() } else { closes.len().max(1) };
            let at = late.last().map(|tick| tick.place).or(closes.last().copied())?;
            let revision = (closed + late.len()) as u64;
            let ticks = ticks.into_iter().filter(|tick| self.closed_at(tick.place, end).is_some()).collect();
            Some((start, Issued { ticks, revision, at }))
        });
        issued.collect()
    }

    fn check(&self, instrument: &Instrument, [market, stats]: &[Store; 2]) {
        let prices = lines(&market.output, RecordKind::Price, instrument);
        let events = |ticks: &[Value]| ticks.iter().map(|tick| tick["event_ms"].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!(events(&prices), self.accepted.iter().map(|tick| tick.event_ms).collect::<Vec<_>>());
        let late = lines(&market.output, RecordKind::Late, instrument);
        let late = late.iter().map(|late| (late["event_ms"].as_i64().unwrap(), late["late_ms"].as_i64().unwrap()));
        assert_eq!(late.collect::<Vec<_>>(), self.late);
        for window in Window::ALL {
            let (log, kind) = match window {
                Window::Minute => (&market.output, RecordKind::Candle),
                _ => (&stats.output, RecordKind::Stats(window)),
            };
            let (found, expected) = (newest(log, kind, instrument), self.windows(window));
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{window}");
            for (row, (start, issued)) in found.values().zip(&expected) {
                let covered_ms = self.covered_ms((*start, start + window.size().ms()), issued);
                check_candle(row, &issued.ticks, issued.revision);
                assert_eq!(row["coverage"].as_f64(), Some(covered_ms as f64 / window.size().ms() as f64), "{row}");
            }
        }
        self.check_hours(&newest(&stats.output, RecordKind::HourOfDay, instrument));
    }

    /// Each hour's row holds what was known when its newest 1-hour window was issued.
    fn check_hours(&self, found: &BTreeMap<i64, Value>) {
        let hour_of = |ms: i64| ms.div_euclid(60 * MINUTE).rem_euclid(24);
        let mut issued: BTreeMap<i64, usize> = BTreeMap::new();
        for tick in &self.accepted {
            let end = (tick.event_ms.div_euclid(60 * MINUTE) + 1) * 60 * MINUTE;
            if !tick.counts_before(end) {
                continue;
            }
            if let Some(at) = self.closed_at(tick.place, end) {
                let newest = issued.entry(hour_of(tick.event_ms)).or_default();
                *newest = at.max(*newest);
            }
        }
        let known = |hour: i64, at: usize| {
            let of_hour = self.accepted.iter().filter(move |tick| hour_of(tick.event_ms) == hour && tick.place <= at);
            of_hour.filter(|tick| tick.counts_for_its_hour())
        };
        issued.retain(|&hour, &mut at| known(hour, at).next().is_some());
        assert_eq!(found.keys().collect::<Vec<_>>(), issued.keys().collect::<Vec<_>>());
        for (row, (hour, at)) in found.values().zip(issued) {
            let closes: Vec<f64> = known(hour, at).map(|tick| tick.close).collect();
            assert_eq!(row["count"], closes.len() as u64, "{row}");
            assert!(close_enough(row["average"].as_f64().unwrap(), mean(&closes)), "{row}");
            assert_eq!(row["min"].as_f64(), closes.iter().copied().reduce(f64::min), "{row}");
            assert_eq!(row["max"].as_f64(), closes.iter().copied().reduce(f64::max), "{row}");
        }
    }
}

fn is_in_time(event_ms: i64, ingest_ms: i64) -> bool {
    event_ms <= ingest_ms + 2 * MINUTE && event_ms <= STORED_MS + 2 * MINUTE
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn check_amount(row: &Value, name: &str, expected: Option<f64>) {
    match (row.get(name).and_then(Value::as_f64), expected) {
        (Some(found), Some(expected)) => assert!(close_enough(found, expected), "{name}: {row}"),
        (found, expected) => assert_eq!(found, expected, "{name}: {row}"),
    }
}

fn check_candle(row: &Value, ticks: &[&Accepted], revision: u64) {
    let order = |tick: &&&Accepted| (tick.event_ms, tick.id, tick.grain_ms);
    let (first, last) = (ticks.iter().min_by_key(order).unwrap(), ticks.iter().max_by_key(order).unwrap());
    let price = |name: &str| row.get(name).unwrap_or(&row["close"]).as_f64().unwrap();
    let highs = ticks.iter().map(|tick| tick.high).reduce(f64::max).unwrap();
    let lows = ticks.iter().map(|tick| tick.low).reduce(f64::min).unwrap();
    let found = [price("open"), price("high"), price("low"), price("close")];
    assert_eq!(found, [first.open, highs, lows, last.close], "{row}");
    assert_eq!((&row["count"], &row["revision"]), (&ticks.len().into(), &revision.into()), "{row}");
    assert!(close_enough(price("average"), mean(&ticks.iter().map(|tick| tick.close).collect::<Vec<_>>())), "{row}");
    let volumes: Vec<f64> = ticks.iter().filter_map(|tick| tick.volume).collect();
    let volume = (!volumes.is_empty()).then(|| volumes.iter().sum::<f64>());
    check_amount(row, "volume", volume);
    let quote_volume = ticks.iter().map(|tick| tick.quote_volume).sum::<Option<f64>>();
    check_amount(row, "quote_volume", quote_volume);
    let whole = volume.filter(|&volume| volumes.len() == ticks.len() && volume > 0.0);
    check_amount(row, "vwap", whole.and_then(|volume| Some(quote_volume? / volume)));
    let filled = ticks.iter().filter(|tick| tick.filled).count() as u64;
    assert_eq!(row.get("filled").and_then(Value::as_u64), (filled > 0).then_some(filled), "{row}");
    let is_partial = !volumes.is_empty() && volumes.len() < ticks.len();
    assert_eq!(row.get("volume_count").and_then(Value::as_u64), is_partial.then_some(volumes.len() as u64), "{row}");
    let grain_ms = ticks.iter().filter_map(|tick| tick.grain_ms).max();
    assert_eq!(row.get("grain_ms").and_then(Value::as_i64), grain_ms, "{row}");
}
