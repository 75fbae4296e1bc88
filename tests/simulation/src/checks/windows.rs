//! Every window, computed from the accepted ticks without any code of the steps.

use std::collections::BTreeMap;

use bus::stream::Stream;
use serde_json::Value;

use crate::checks::failure::{Checked, Failure};
use crate::checks::plain::{Tick, is_lossy, judge, read_lines};
use crate::checks::records::StreamContents;
use crate::checks::records::{Lines, Name};
use crate::world::RunResult;

const NAME: &str = "every window equals a plain computation";
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// Kinds of windows: stream, name, size and hop in minutes.
const KINDS: [(Stream, &str, i64, i64); 6] = [
    (Stream::Market, "candle-1m", 1, 1),
    (Stream::Stats, "5m", 5, 5),
    (Stream::Stats, "15m", 15, 15),
    (Stream::Stats, "1h", 60, 60),
    (Stream::Stats, "1d", 1_440, 1_440),
    (Stream::Stats, "1h-30m", 60, 30),
];

pub(crate) fn check(result: &RunResult, recorded: &StreamContents) -> Checked {
    for name in recorded.feed.keys() {
        // A stopped partition leaves windows open.
        let is_stopped = |output: Stream| {
            let mut stops = result.stops.iter();
            stops.any(|stop| (stop.output, stop.partition) == (output, name.0))
        };
        if is_lossy(result, recorded, name.0) || is_stopped(Stream::Market) {
            continue;
        }
        let ticks = judge(name, &read_lines(recorded, name)).ticks;
        let has_stats = !is_stopped(Stream::Stats) && !result.follows_a_cut(Stream::Stats);
        for (stream, kind, size, hop) in KINDS {
            if stream == Stream::Market || has_stats {
                let lines = if stream == Stream::Market { &recorded.market } else { &recorded.stats };
                check_kind(name, kind, &newest(lines, name, kind, "start_ms"), &windows(&ticks, size, hop))?;
            }
        }
        if has_stats {
            check_kind(name, "hour-of-day", &newest(&recorded.stats, name, "hour-of-day", "hour"), &hours(&ticks))?;
        }
    }
    Ok(())
}

/// The latest row of each key.
fn newest<'a>(lines: &'a Lines, name: &Name, kind: &str, key: &str) -> BTreeMap<i64, &'a Value> {
    let found = lines.get(name).and_then(|kinds| kinds.get(kind)).map_or(&[][..], Vec::as_slice);
    let rows = found.iter().filter_map(|line| line.said.as_ref());
    rows.filter_map(|row| Some((row[key].as_i64()?, row))).collect()
}

/// The figure of an amount that is unknown: no amount is negative.
const UNKNOWN: f64 = -1.0;

/// The compared fields of a row: names and values.
type Figures = Vec<(&'static str, f64)>;

fn check_kind(name: &Name, kind: &str, found: &BTreeMap<i64, &Value>, expected: &BTreeMap<i64, Figures>) -> Checked {
    if !found.keys().eq(expected.keys()) {
        let detail = format!("{name:?} {kind}: {:?} instead of {:?}", found.keys(), expected.keys());
        return Err(Failure::new(NAME, detail));
    }
    for (key, row) in found {
        let close = row["close"].as_f64().unwrap_or_default();
        for &(field, figure) in &expected[key] {
            let value = row[field].as_f64().unwrap_or(match field {
                "volume" | "filled" => 0.0,
                "quote_volume" | "vwap" => UNKNOWN,
                _ => close,
            });
            if (value - figure).abs() > 1e-9 * figure.abs() {
                let detail = format!("{name:?} {kind} {key}: {field} is {value} instead of {figure}: {row}");
                return Err(Failure::new(NAME, detail));
            }
        }
    }
    Ok(())
}

fn windows(ticks: &[Tick], size: i64, hop: i64) -> BTreeMap<i64, Figures> {
    let (size_ms, hop_ms) = (size * MINUTE_MS, hop * MINUTE_MS);
    let mut members: BTreeMap<i64, Vec<&Tick>> = BTreeMap::new();
    for tick in ticks {
        let mut start_ms = tick.event_ms.div_euclid(hop_ms) * hop_ms;
        while tick.event_ms < start_ms + size_ms {
            let end_ms = tick.event_ms + tick.grain_ms.unwrap_or(0);
            if tick.grain_ms.is_none_or(|grain_ms| grain_ms <= MINUTE_MS) || end_ms <= start_ms + size_ms {
                members.entry(start_ms).or_default().push(tick);
            }
            start_ms -= hop_ms;
        }
    }
    members.into_iter().map(|(start_ms, ticks)| (start_ms, figures(&ticks))).collect()
}

fn figures(ticks: &[&Tick]) -> Figures {
    let order = |tick: &&&Tick| (tick.event_ms, tick.id, tick.grain_ms);
    let count = ticks.len() as f64;
    let open = ticks.iter().min_by_key(order).map_or(0.0, |tick| tick.open);
    let close = ticks.iter().max_by_key(order).map_or(0.0, |tick| tick.close);
    let volume = ticks.iter().map(|tick| tick.volume).sum::<Option<f64>>().filter(|&volume| volume > 0.0);
    let quote_volume = ticks.iter().map(|tick| tick.quote_volume).sum::<Option<f64>>();
    let vwap = quote_volume.zip(volume).map(|(quote_volume, volume)| quote_volume / volume);
    vec![
        ("open", open),
        ("high", ticks.iter().map(|tick| tick.high).fold(f64::MIN, f64::max)),
        ("low", ticks.iter().map(|tick| tick.low).fold(f64::MAX, f64::min)),
        ("close", close),
        ("average", ticks.iter().map(|tick| tick.close).sum::<f64>() / count),
        ("volume", ticks.iter().filter_map(|tick| tick.volume).sum()),
        ("quote_volume", quote_volume.unwrap_or(UNKNOWN)),
        ("vwap", vwap.unwrap_or(UNKNOWN)),
        ("count", count),
        ("filled", ticks.iter().filter(|tick| tick.filled).count() as f64),
        ("first_seq", ticks.iter().map(|tick| tick.seq).min().unwrap_or(0) as f64),
        ("last_seq", ticks.iter().map(|tick| tick.seq).max().unwrap_or(0) as f64),
    ]
}

/// The hours of the day, each with the closes of all points and of the bars that lie within an hour.
fn hours(ticks: &[Tick]) -> BTreeMap<i64, Figures> {
    let mut closes: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for tick in ticks {
        let within_ms = tick.event_ms.rem_euclid(HOUR_MS) + tick.grain_ms.unwrap_or(0);
        if within_ms <= HOUR_MS {
            closes.entry(tick.event_ms.div_euclid(HOUR_MS).rem_euclid(24)).or_default().push(tick.close);
        }
    }
    let row = |closes: Vec<f64>| {
        vec![
            ("average", closes.iter().sum::<f64>() / closes.len() as f64),
            ("min", closes.iter().copied().fold(f64::MAX, f64::min)),
            ("max", closes.iter().copied().fold(f64::MIN, f64::max)),
            ("count", closes.len() as f64),
        ]
    };
    closes.into_iter().map(|(hour, closes)| (hour, row(closes))).collect()
}
