//! Every window, computed at once from all of its ticks.

use std::collections::BTreeMap;

use super::judge::{Judged, Made};
use super::rows::{Candle, HourOfDay, Price};
use super::sum::{mean, sum};

const HOUR_MS: i64 = 3_600_000;

/// A kind of window: its length, and how far apart two of them start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) size_ms: i64,
    pub(super) hop_ms: i64,
}

/// What an instrument's lines come to, up to one of them.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    prices: &'a [Made<Price>],
    watermarks: &'a [i64],
    flushes: Vec<usize>,
}

impl<'a> Timeline<'a> {
    /// The lines before `until`.
    pub(super) fn new(judged: &'a Judged, until: usize) -> Self {
        let prices = &judged.prices[..judged.prices.partition_point(|price| price.at < until)];
        let flushes = judged.heartbeats.iter().filter(|heartbeat| heartbeat.row.flush && heartbeat.at < until);
        let flushes = flushes.map(|flush| flush.at).collect();
        Self { prices, watermarks: &judged.watermarks[..until], flushes }
    }

    /// The newest candle of every window that was issued.
    pub(super) fn candles(&self, shape: Shape) -> Vec<Made<Candle>> {
        let mut members: BTreeMap<i64, Vec<&Made<Price>>> = BTreeMap::new();
        for price in self.prices {
            let event_ms = price.row.event_ms;
            let mut start_ms = event_ms.div_euclid(shape.hop_ms) * shape.hop_ms;
            while event_ms < start_ms + shape.size_ms {
                members.entry(start_ms).or_default().push(price);
                start_ms -= shape.hop_ms;
            }
        }
        members.iter().filter_map(|(&start_ms, members)| self.newest(start_ms, shape, members)).collect()
    }

    /// The newest candle of the window, unless it was never issued.
    ///
    /// A window is issued for its ticks by the first flush after them or by its close, whichever is first, all together;
    /// and for each tick after its close at once. What has closed empty has had its first revision in silence.
    fn newest(&self, start_ms: i64, shape: Shape, members: &[&Made<Price>]) -> Option<Made<Candle>> {
        let end_ms = start_ms + shape.size_ms;
        let close = self.watermarks.partition_point(|&watermark_ms| watermark_ms < end_ms);
        let (in_time, late) = members.split_at(members.partition_point(|tick| tick.at < close));
        let mut issues: Vec<usize> = in_time.iter().map(|tick| self.next_flush(tick.at).min(close)).collect();
        issues.dedup();
        issues.retain(|&at| at < self.watermarks.len());
        let at = late.last().map(|tick| tick.at).or(issues.last().copied())?;
        let revision = if late.is_empty() { issues.len() } else { issues.len().max(1) + late.len() };
        let issued: Vec<&Price> = members.iter().filter(|tick| tick.at <= at).map(|tick| &tick.row).collect();
        Some(Made { at, row: candle(&issued, start_ms, end_ms, revision as u64)? })
    }

    fn next_flush(&self, at: usize) -> usize {
        let next = self.flushes.partition_point(|&flush| flush < at);
        self.flushes.get(next).copied().unwrap_or(usize::MAX)
    }

    /// The newest row of every hour of the day, issued with each candle of such an hour.
    pub(super) fn hours_of_day(&self, hourly: &[Made<Candle>]) -> Vec<Made<HourOfDay>> {
        let mut newest: BTreeMap<u8, usize> = BTreeMap::new();
        for candle in hourly {
            let at = newest.entry(hour_of(candle.row.start_ms)).or_default();
            *at = candle.at.max(*at);
        }
        let mut closes: BTreeMap<u8, Vec<&Price>> = BTreeMap::new();
        for price in self.prices {
            let hour = hour_of(price.row.event_ms);
            if newest.get(&hour).is_some_and(|&at| price.at <= at) {
                closes.entry(hour).or_default().push(&price.row);
            }
        }
        let row =
            |(hour, prices): (u8, Vec<&Price>)| Some(Made { at: newest[&hour], row: hour_of_day(hour, &prices)? });
        closes.into_iter().filter_map(row).collect()
    }
}

/// The candle of a window's ticks; `None` without any.
fn candle(ticks: &[&Price], start_ms: i64, end_ms: i64, revision: u64) -> Option<Candle> {
    let observed = |tick: &&Price| i128::from(tick.grain_ms.min(end_ms - tick.event_ms));
    let covered: i128 = ticks.iter().map(observed).sum();
    let count = ticks.len() as u64;
    let volumes = ticks.iter().filter_map(|tick| tick.volume);
    Some(Candle {
        start_ms,
        end_ms,
        open: ticks.iter().min_by_key(|tick| tick.identity())?.open,
        high: ticks.iter().map(|tick| tick.high).reduce(f64::max)?,
        low: ticks.iter().map(|tick| tick.low).reduce(f64::min)?,
        close: ticks.iter().max_by_key(|tick| tick.identity())?.close,
        average: mean(ticks.iter().map(|tick| tick.close), count),
        volume: volumes.clone().next().map(|_| sum(volumes)),
        count,
        coverage: (covered as f64 / (end_ms - start_ms) as f64).min(1.0),
        grain_ms: ticks.iter().map(|tick| tick.grain_ms).max()?,
        revision,
        is_final: true,
        first_seq: ticks.iter().map(|tick| tick.feed_seq).min()?,
        last_seq: ticks.iter().map(|tick| tick.feed_seq).max()?,
    })
}

fn hour_of_day(hour: u8, ticks: &[&Price]) -> Option<HourOfDay> {
    let closes = ticks.iter().map(|tick| tick.close);
    let count = ticks.len() as u64;
    Some(HourOfDay {
        hour,
        average: mean(closes.clone(), count),
        min: closes.clone().reduce(f64::min)?,
        max: closes.reduce(f64::max)?,
        count,
        first_seq: ticks.iter().map(|tick| tick.feed_seq).min()?,
        last_seq: ticks.iter().map(|tick| tick.feed_seq).max()?,
    })
}

fn hour_of(ms: i64) -> u8 {
    (ms.div_euclid(HOUR_MS).rem_euclid(24)) as u8
}
