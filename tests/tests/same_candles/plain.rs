//! The candles of one instrument's records, by a plain computation over all of them.

use std::collections::{BTreeMap, HashSet};

use bus::RecordKind;
use market::{Instrument, Window};
use pipeline_tests::harness::{Record, STORED_MS, Store, lines, newest};
use pipeline_tests::oracle::{self, close_enough};
use serde_json::Value;

use super::records::{DISORDER, LATENESS, MINUTE};

/// A plain evaluation of one instrument's records.
#[derive(Default)]
pub(super) struct Plain {
    accepted: Vec<Accepted>,
    /// Event times of late ticks, with their lateness.
    late: Vec<(i64, i64)>,
    pub(super) duplicates: u64,
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

    pub(super) fn of(instrument: &Instrument, records: &[Record]) -> Self {
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

    /// Checks the stored rows against the plain ones.
    pub(super) fn check(&self, instrument: &Instrument, [market, stats]: &[Store; 2]) {
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
