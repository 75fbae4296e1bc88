//! Every record of FEED exactly once in MARKET, in order, compared with a simple computation; no position ahead of its
//! results.

use std::collections::BTreeSet;

use bus::Error;
use bus::stream::Stream;
use serde_json::Value;

use crate::checks::failure::{Checked, Failure};
use crate::checks::records::StreamContents;
use crate::checks::records::{Line, Name};
use crate::world::{RunResult, Stop};

const DISORDER_MS: i64 = 5_000;
const LATENESS_MS: i64 = 600_000;
const MINUTE_MS: i64 = 60_000;
const ONCE: &str = "every record exactly once, in order";
const AHEAD: &str = "no position ahead of its results";

/// An accepted tick.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    pub(crate) seq: u64,
    pub(crate) event_ms: i64,
    pub(crate) id: Option<u64>,
    pub(crate) grain_ms: Option<i64>,
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume: Option<f64>,
    pub(crate) quote_volume: Option<f64>,
    pub(crate) filled: bool,
}

/// The expected records of an instrument.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) ticks: Vec<Tick>,
    /// By message and line.
    late: Vec<(u64, u32)>,
    rejected: Vec<(u64, u32)>,
    /// By event time and message.
    heartbeats: Vec<(i64, u64)>,
    gaps: Vec<(i64, u64)>,
}

/// Computes the expected records from lines of FEED, in order.
pub(crate) fn judge(name: &Name, lines: &[(&str, &Line)]) -> Judged {
    let mut judged = Judged::default();
    let (mut newest_ms, mut seen) = (i64::MIN / 2, BTreeSet::new());
    let (_, coin, quote) = name;
    let is_odd = coin.bytes().any(|byte| !byte.is_ascii_lowercase());
    let mut refused = BTreeSet::new();
    for &(kind, line) in lines {
        let place = (line.seq, line.number);
        if is_odd {
            // The whole message is refused once.
            if refused.insert(line.seq) {
                judged.rejected.push((line.seq, 0));
            }
            continue;
        }
        let is_ours = |said: &&Value| said["coin"] == *coin.as_str() && said["quote"] == *quote.as_str();
        let Some(said) = line.said.as_ref().filter(is_ours) else {
            judged.rejected.push(place);
            continue;
        };
        match kind {
            "gap" => judged.gaps.push((said["from_ms"].as_i64().unwrap_or_default(), line.seq)),
            "heartbeat" => {
                let event_ms = said["event_ms"].as_i64().unwrap_or_default();
                if said["flush"] != true {
                    newest_ms = newest_ms.max(event_ms);
                }
                judged.heartbeats.push((event_ms, line.seq));
            }
            _ => {
                let tick = tick(line.seq, said);
                let minute_end_ms = (tick.event_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
                if newest_ms - DISORDER_MS >= minute_end_ms + LATENESS_MS {
                    judged.late.push(place);
                } else if seen.insert((tick.event_ms, tick.grain_ms, tick.id)) {
                    newest_ms = newest_ms.max(tick.event_ms);
                    judged.ticks.push(tick);
                }
            }
        }
    }
    judged
}

/// A tick as FEED and MARKET write it; `seq` is its message of FEED.
pub(crate) fn tick(seq: u64, said: &Value) -> Tick {
    let close = said["close"].as_f64().unwrap_or_default();
    let price = |name: &str| said[name].as_f64().unwrap_or(close);
    Tick {
        seq,
        event_ms: said["event_ms"].as_i64().unwrap_or_default(),
        id: said["id"].as_u64(),
        grain_ms: said["grain_ms"].as_i64(),
        open: price("open"),
        high: price("high"),
        low: price("low"),
        close,
        volume: said["volume"].as_f64(),
        quote_volume: said["quote_volume"].as_f64(),
        filled: said["filled"] == true,
    }
}

/// The lines of an instrument that its partition has read, of all kinds, in order.
pub(crate) fn read_lines<'a>(recorded: &'a StreamContents, name: &Name) -> Vec<(&'a str, &'a Line)> {
    let position = recorded.last(Stream::Market, name.0).map_or(0, |(_, position)| position.position);
    let of_kinds = recorded.feed.get(name).into_iter().flatten();
    let mut lines: Vec<_> = of_kinds
        .flat_map(|(kind, lines)| lines.iter().map(|line| (kind.as_str(), line)))
        .filter(|(_, line)| line.seq <= position)
        .collect();
    lines.sort_by_key(|(_, line)| (line.seq, line.number));
    lines
}

/// Whether input of a partition of MARKET was lost, either accepted or before its first commit. Checks that need all of
/// FEED do not apply then.
pub(crate) fn is_lossy(result: &RunResult, recorded: &StreamContents, partition: u32) -> bool {
    let positions = recorded.positions.get(&(Stream::Market, partition)).map_or(&[][..], Vec::as_slice);
    let first = positions.first().map_or(u64::MAX, |(seq, _)| *seq);
    let first_us =
        result.histories[1].iter().find(|stored| stored.seq == first).map_or(u64::MAX, |first| first.stored_us);
    let has_input_before = |before: u64| {
        let mut lines =
            recorded.feed.iter().filter(|(name, _)| name.0 == partition).flat_map(|(_, kinds)| kinds.values());
        lines.any(|lines| lines.first().is_some_and(|line| line.seq < before))
    };
    // The partition may have read beyond a hole before it noticed, and then it stops.
    let is_at_hole = |stop: &Stop| {
        (stop.output, stop.partition) == (Stream::Market, partition) && matches!(stop.error, Error::Hole { .. })
    };
    positions.last().is_some_and(|(_, position)| position.lost > 0)
        || result.stops.iter().any(is_at_hole)
        || result.feed_losses.iter().any(|&(at_us, before)| at_us <= first_us && has_input_before(before))
}

pub(crate) fn check(result: &RunResult, recorded: &StreamContents) -> Checked {
    for name in recorded.feed.keys().chain(recorded.market.keys()) {
        let found =
            |kind: &str| recorded.market.get(name).and_then(|kinds| kinds.get(kind)).map_or(&[][..], Vec::as_slice);
        if is_lossy(result, recorded, name.0) {
            check_once(name, found("price"))?;
            continue;
        }
        let judged = judge(name, &read_lines(recorded, name));
        check_places(result, recorded, name, &judged, found("price"))?;
        let end = recorded.last(Stream::Market, name.0).map_or(0, |(seq, _)| *seq);
        let committed =
            |kind: &str| found(kind).iter().filter(|line| line.seq <= end).filter_map(|line| line.said.as_ref());
        let fields = |tick: &Tick| (tick.seq, tick.event_ms, tick.id, tick.close, tick.quote_volume, tick.filled);
        let expected: Vec<_> = judged.ticks.iter().map(fields).collect();
        let prices: Vec<_> = committed("price").map(|said| fields(&tick(seq_of(said), said))).collect();
        same(name, "price", &expected, &prices)?;
        let places = |kind: &str| -> Vec<(u64, u32)> {
            committed(kind).map(|said| (seq_of(said), said["line"].as_u64().unwrap_or_default() as u32)).collect()
        };
        same(name, "late", &judged.late, &places("late"))?;
        same(name, "rejected", &judged.rejected, &places("rejected"))?;
        let times =
            |kind: &str, field: &str| -> Vec<i64> { committed(kind).filter_map(|said| said[field].as_i64()).collect() };
        let of = |all: &[(i64, u64)]| -> Vec<i64> { all.iter().map(|(time, _)| *time).collect() };
        same(name, "heartbeat", &of(&judged.heartbeats), &times("heartbeat", "event_ms"))?;
        same(name, "gap", &of(&judged.gaps), &times("gap", "from_ms"))?;
    }
    Ok(())
}

fn seq_of(said: &Value) -> u64 {
    said["feed_seq"].as_u64().unwrap_or_default()
}

/// After a loss: no price twice, and all in order.
fn check_once(name: &Name, prices: &[Line]) -> Checked {
    let mut seen = BTreeSet::new();
    let mut before = 0;
    for said in prices.iter().filter_map(|line| line.said.as_ref()) {
        let price = tick(seq_of(said), said);
        let is_new = seen.insert((price.seq, price.event_ms, price.grain_ms, price.id));
        if !is_new || price.seq < before {
            return Err(Failure::new(ONCE, format!("{name:?}: price {said} again, or behind another")));
        }
        before = price.seq;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(name: &Name, kind: &str, expected: &[T], found: &[T]) -> Checked {
    if expected == found {
        return Ok(());
    }
    let at = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let detail = format!(
        "{name:?}: {kind} {at} is {:?} instead of {:?} ({} of {})",
        found.get(at),
        expected.get(at),
        found.len(),
        expected.len()
    );
    Err(Failure::new(ONCE, detail))
}

/// Checks that the prices before each position are those of the input up to it.
fn check_places(
    result: &RunResult,
    recorded: &StreamContents,
    name: &Name,
    judged: &Judged,
    prices: &[Line],
) -> Checked {
    let inputs: Vec<(u64, u64)> =
        prices.iter().filter_map(|line| line.said.as_ref().map(|said| (line.seq, seq_of(said)))).collect();
    for (seq, position) in recorded.positions.get(&(Stream::Market, name.0)).into_iter().flatten() {
        let stored = inputs.iter().take_while(|(place, _)| place < seq).count();
        let due = judged.ticks.iter().take_while(|tick| tick.seq <= position.position).count();
        if stored != due {
            let detail = format!("{name:?}: {stored} prices before position {} at {seq}, not {due}", position.position);
            return Err(Failure::new(AHEAD, format!("{detail} (seed {})", result.plan.seed)));
        }
    }
    Ok(())
}
