//! Windows, each computed at once from all of its ticks.

use std::collections::BTreeMap;

use crate::judge::{Expected, Judged};
use crate::rows::{Candle, HourOfDay, Price};
use crate::sum::{mean, sum};
use crate::union::{Interval, covered_ms};

const HOUR_MS: i64 = 3_600_000;

/// Length of a window and distance between two window starts (hop).
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowShape {
    pub(crate) size_ms: i64,
    pub(crate) hop_ms: i64,
}

/// Inputs of a window: its own ticks and the certified intervals that overlap it.
#[derive(Debug, Default)]
struct WindowInputs<'a> {
    ticks: Vec<&'a Expected<Price>>,
    certified: Vec<&'a Expected<Interval>>,
}

impl WindowInputs<'_> {
    /// All intervals that cover the window at line `at`, in order of arrival. Line `close` is the last that finds the
    /// window open: an interval certified later counts only together with one of the window's own ticks.
    fn intervals(&self, at: usize, close: usize) -> Vec<Interval> {
        let is_own = |line: usize| self.ticks.binary_search_by_key(&line, |tick| tick.at).is_ok();
        let counts =
            |interval: &&&Expected<Interval>| interval.at <= at && (interval.at <= close || is_own(interval.at));
        let certified = self.certified.iter().filter(counts).map(|interval| **interval);
        let bars = self.ticks.iter().filter(|tick| tick.at <= at).filter_map(|tick| {
            let Price { event_ms, grain_ms, .. } = tick.row;
            Some(Expected { at: tick.at, row: Interval { from_ms: event_ms, to_ms: event_ms + grain_ms? } })
        });
        let mut intervals: Vec<Expected<Interval>> = certified.chain(bars).collect();
        intervals.sort_by_key(|interval| interval.at);
        intervals.into_iter().map(|interval| interval.row).collect()
    }
}

/// The recomputed lines of an instrument, up to one of them.
#[derive(Debug)]
pub(crate) struct Timeline<'a> {
    prices: &'a [Expected<Price>],
    watermarks: &'a [i64],
    flushes: Vec<usize>,
    certified: Vec<Expected<Interval>>,
}

impl<'a> Timeline<'a> {
    /// Takes the lines before `until`.
    pub(crate) fn new(judged: &'a Judged, until: usize) -> Self {
        let prices = &judged.prices[..judged.prices.partition_point(|price| price.at < until)];
        let heartbeats = judged.heartbeats.iter().filter(|heartbeat| heartbeat.at < until);
        let (flushes, heartbeats): (Vec<_>, Vec<_>) = heartbeats.partition(|heartbeat| heartbeat.row.flush);
        let of_prices = prices.iter().map(|price| (price.at, price.row.event_ms, price.row.complete_ms));
        let of_heartbeats = heartbeats.iter().map(|beat| (beat.at, beat.row.event_ms, beat.row.complete_ms));
        let interval = |(at, to_ms, complete_ms): (usize, i64, Option<i64>)| {
            Some(Expected { at, row: Interval { from_ms: to_ms - complete_ms?, to_ms } })
        };
        let mut certified: Vec<_> = of_prices.chain(of_heartbeats).filter_map(interval).collect();
        certified.sort_by_key(|interval| interval.at);
        let flushes = flushes.into_iter().map(|flush| flush.at).collect();
        Self { prices, watermarks: &judged.watermarks[..until], flushes, certified }
    }

    /// The newest candle of every window that was issued.
    pub(crate) fn candles(&self, shape: WindowShape) -> Vec<Expected<Candle>> {
        let mut windows: BTreeMap<i64, WindowInputs<'_>> = BTreeMap::new();
        for price in self.prices {
            let event_ms = price.row.event_ms;
            let mut start_ms = event_ms.div_euclid(shape.hop_ms) * shape.hop_ms;
            while event_ms < start_ms + shape.size_ms {
                if price.row.counts_before(start_ms + shape.size_ms) {
                    windows.entry(start_ms).or_default().ticks.push(price);
                }
                start_ms -= shape.hop_ms;
            }
        }
        for interval in &self.certified {
            let Interval { from_ms, to_ms } = interval.row;
            for (_, inputs) in windows.range_mut(from_ms - shape.size_ms + 1..to_ms.max(from_ms - shape.size_ms + 1)) {
                inputs.certified.push(interval);
            }
        }
        windows.iter().filter_map(|(&start_ms, inputs)| self.newest(start_ms, shape, inputs)).collect()
    }

    /// The newest candle of the window, or `None` if it was never issued.
    ///
    /// The first flush after a tick, or the close of the window if that comes first, issues all ticks received so far;
    /// each tick after the close issues the window again at once. A window that closed empty has used its first
    /// revision without output.
    fn newest(&self, start_ms: i64, shape: WindowShape, inputs: &WindowInputs<'_>) -> Option<Expected<Candle>> {
        let end_ms = start_ms + shape.size_ms;
        let close = self.watermarks.partition_point(|&watermark_ms| watermark_ms < end_ms);
        // The line that closes a window still finds it open; a tick on that very line lies after the window.
        let (in_time, late) = inputs.ticks.split_at(inputs.ticks.partition_point(|tick| tick.at < close));
        let mut issues: Vec<usize> = in_time.iter().map(|tick| self.next_flush(tick.at).min(close)).collect();
        issues.dedup();
        issues.retain(|&at| at < self.watermarks.len());
        let at = late.last().map(|tick| tick.at).or(issues.last().copied())?;
        let revision = if late.is_empty() { issues.len() } else { issues.len().max(1) + late.len() };
        let issued: Vec<&Price> = inputs.ticks.iter().filter(|tick| tick.at <= at).map(|tick| &tick.row).collect();
        let covered_ms = covered_ms(inputs.intervals(at, close), start_ms, end_ms);
        Some(Expected { at, row: candle(&issued, start_ms, end_ms, covered_ms, revision as u64)? })
    }

    fn next_flush(&self, at: usize) -> usize {
        let next = self.flushes.partition_point(|&flush| flush < at);
        self.flushes.get(next).copied().unwrap_or(usize::MAX)
    }

    /// The newest row of every hour of the day; each candle of such an hour issues it.
    pub(crate) fn hours_of_day(&self, hourly: &[Expected<Candle>]) -> Vec<Expected<HourOfDay>> {
        let mut newest: BTreeMap<u8, usize> = BTreeMap::new();
        for candle in hourly {
            let at = newest.entry(hour_of(candle.row.start_ms)).or_default();
            *at = candle.at.max(*at);
        }
        let mut closes: BTreeMap<u8, Vec<&Price>> = BTreeMap::new();
        let is_of_one_hour = |price: &&Expected<Price>| {
            let Price { event_ms, grain_ms, .. } = price.row;
            grain_ms.is_none_or(|grain_ms| event_ms.rem_euclid(HOUR_MS) + grain_ms <= HOUR_MS)
        };
        for price in self.prices.iter().filter(is_of_one_hour) {
            let hour = hour_of(price.row.event_ms);
            if newest.get(&hour).is_some_and(|&at| price.at <= at) {
                closes.entry(hour).or_default().push(&price.row);
            }
        }
        let row =
            |(hour, prices): (u8, Vec<&Price>)| Some(Expected { at: newest[&hour], row: hour_of_day(hour, &prices)? });
        closes.into_iter().filter_map(row).collect()
    }
}

/// The candle of a window's ticks; `None` without ticks.
fn candle(ticks: &[&Price], start_ms: i64, end_ms: i64, covered_ms: i64, revision: u64) -> Option<Candle> {
    let count = ticks.len() as u64;
    let volumes = ticks.iter().filter_map(|tick| tick.volume);
    let volume_count = volumes.clone().count() as u64;
    let volume = (volume_count > 0).then(|| sum(volumes));
    let quote_volumes: Option<Vec<f64>> = ticks.iter().map(|tick| tick.quote_volume).collect();
    let quote_volume = quote_volumes.map(|quote_volumes| sum(quote_volumes.iter().copied()));
    let vwap = match (quote_volume, volume) {
        (Some(quote_volume), Some(volume)) if volume_count == count && volume > 0.0 => Some(quote_volume / volume),
        _ => None,
    };
    let filled = ticks.iter().filter(|tick| tick.filled).count() as u64;
    Some(Candle {
        start_ms,
        end_ms,
        open: ticks.iter().min_by_key(|tick| tick.identity())?.open,
        high: ticks.iter().map(|tick| tick.high).reduce(f64::max)?,
        low: ticks.iter().map(|tick| tick.low).reduce(f64::min)?,
        close: ticks.iter().max_by_key(|tick| tick.identity())?.close,
        average: mean(ticks.iter().map(|tick| tick.close), count),
        volume,
        volume_count: (0 < volume_count && volume_count < count).then_some(volume_count),
        quote_volume,
        vwap,
        count,
        filled: (filled > 0).then_some(filled),
        coverage: covered_ms as f64 / (end_ms - start_ms) as f64,
        grain_ms: ticks.iter().filter_map(|tick| tick.grain_ms).max(),
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

#[cfg(test)]
mod tests {
    use bus::RecordKind;
    use serde_json::json;

    use super::*;
    use crate::bounds::EventTimeBounds;
    use crate::feed::FeedMessage;
    use crate::judge::judge;
    use crate::names::InstrumentNames;

    /// 2020-03-01T00:00:00Z.
    const START_MS: i64 = 1_583_020_800_000;
    const MINUTE: WindowShape = WindowShape { size_ms: 60_000, hop_ms: 60_000 };
    const HOUR: WindowShape = WindowShape { size_ms: 3_600_000, hop_ms: 3_600_000 };
    const HOUR_EVERY_HALF: WindowShape = WindowShape { size_ms: 3_600_000, hop_ms: 1_800_000 };

    /// Input records; times in seconds since [`START_MS`].
    enum Input {
        Tick(i64, f64),
        /// A tick with volume 0.1, this quote volume, and whether it was fetched afterwards.
        Traded(i64, Option<f64>, bool),
        Heartbeat(i64),
        Flush,
    }
    use Input::{Flush, Heartbeat, Tick, Traded};

    fn judged(records: &[Input]) -> Judged {
        let message = |(record, seq): (&Input, u64)| {
            let heartbeat = |second: i64, flush: bool| {
                let ms = START_MS + second * 1_000;
                (
                    RecordKind::Heartbeat,
                    json!({"coin": "c", "quote": "q", "event_ms": ms, "ingest_ms": ms, "flush": flush}),
                )
            };
            let tick = |second: i64, close: f64| {
                let ms = START_MS + second * 1_000;
                json!({"coin": "c", "quote": "q", "event_ms": ms, "ingest_ms": ms, "grain_ms": 30_000, "close": close,
                    "volume": 0.1})
            };
            let (kind, line) = match *record {
                Tick(second, close) => (RecordKind::Tick, tick(second, close)),
                Traded(second, quote_volume, filled) => {
                    let mut line = tick(second, 1.0);
                    (line["quote_volume"], line["filled"]) = (json!(quote_volume), json!(filled));
                    (RecordKind::Tick, line)
                }
                Heartbeat(second) => heartbeat(second, false),
                Flush => heartbeat(0, true),
            };
            FeedMessage {
                seq,
                stored_ms: i64::MAX,
                kind,
                schema: None,
                is_decoded: true,
                payload: line.to_string().into(),
            }
        };
        let messages: Vec<FeedMessage> = records.iter().zip(1..).map(message).collect();
        judge(
            &messages,
            InstrumentNames { coin: "c", quote: "q" },
            EventTimeBounds { disorder_ms: 5_000, lateness_ms: 600_000 },
        )
    }

    /// (start in minutes since [`START_MS`], revision, count) of every issued window.
    fn issued(judged: &Judged, shape: WindowShape) -> Vec<(i64, u64, u64)> {
        let candles = Timeline::new(judged, judged.watermarks.len()).candles(shape);
        let minute = |start_ms: i64| (start_ms - START_MS) / 60_000;
        candles.iter().map(|candle| (minute(candle.row.start_ms), candle.row.revision, candle.row.count)).collect()
    }

    #[test]
    fn a_window_is_issued_at_its_close_and_again_for_each_late_tick() {
        let records = [Tick(10, 1.0), Tick(20, 2.0), Tick(64, 3.0)];
        assert_eq!(issued(&judged(&records), MINUTE), []);
        let judged = judged(&[Tick(10, 1.0), Tick(20, 2.0), Tick(64, 3.0), Tick(65, 4.0), Tick(5, 9.0), Tick(59, 8.0)]);
        assert_eq!(issued(&judged, MINUTE), [(0, 3, 4)]);
        let candle = Timeline::new(&judged, judged.watermarks.len()).candles(MINUTE).remove(0).row;
        assert_eq!((candle.open, candle.high, candle.low, candle.close), (9.0, 9.0, 1.0, 8.0));
        assert_eq!((candle.average, candle.volume, candle.coverage), (5.0, Some(0.4), 46.0 / 60.0));
        assert_eq!((candle.first_seq, candle.last_seq, candle.grain_ms), (1, 6, Some(30_000)));
        // Before the last line, the last tick had not arrived.
        let before = Timeline::new(&judged, 5).candles(MINUTE).remove(0).row;
        assert_eq!((before.revision, before.count), (2, 3));
    }

    #[test]
    fn a_quote_volume_needs_all_ticks_and_filled_ones_are_counted() {
        let check = |ticks: &[Input], expected: (Option<f64>, Option<f64>, Option<u64>)| {
            let judged = judged(ticks);
            let candle = Timeline::new(&judged, judged.watermarks.len()).candles(MINUTE).remove(0).row;
            assert_eq!((candle.quote_volume, candle.vwap, candle.filled), expected);
        };
        let closing = || Heartbeat(65);
        let both = [Traded(10, Some(0.25), true), Traded(20, Some(0.5), false), closing()];
        check(&both, (Some(0.75), Some(0.75 / 0.2), Some(1)));
        check(&[Traded(10, Some(0.25), true), Traded(20, None, true), closing()], (None, None, Some(2)));
        check(&[Tick(10, 1.0), closing()], (None, None, None));
    }

    #[test]
    fn a_window_that_closed_empty_begins_with_its_second_revision() {
        let judged = judged(&[Tick(10, 1.0), Tick(130, 2.0), Tick(70, 3.0), Tick(70, 3.0)]);
        assert_eq!(issued(&judged, MINUTE), [(0, 1, 1), (1, 2, 1)]);
        assert_eq!(judged.prices.len(), 3, "the same tick twice counts once");
    }

    #[test]
    fn a_flush_issues_open_windows_and_later_ticks_reopen_them() {
        let flushed = [Tick(10, 1.0), Flush, Flush, Heartbeat(30)];
        assert_eq!(issued(&judged(&flushed), MINUTE), [(0, 1, 1)]);
        let more = [Tick(10, 1.0), Flush, Tick(20, 1.0), Tick(21, 1.0)];
        assert_eq!(issued(&judged(&more), MINUTE), [(0, 1, 1)], "what came after the flush is not issued yet");
        let closed = [Tick(10, 1.0), Flush, Tick(20, 1.0), Tick(21, 1.0), Heartbeat(65), Tick(30, 1.0)];
        assert_eq!(issued(&judged(&closed), MINUTE), [(0, 3, 4)]);
    }

    #[test]
    fn each_tick_lies_in_two_hopping_windows() {
        let judged = judged(&[Tick(600, 1.0), Tick(2_400, 3.0), Heartbeat(9_005)]);
        assert_eq!(issued(&judged, HOUR_EVERY_HALF), [(-30, 1, 1), (0, 1, 2), (30, 1, 1)]);
    }

    #[test]
    fn an_hour_of_day_row_holds_the_ticks_before_its_issue() {
        const DAY: i64 = 86_400;
        let records =
            [Tick(10, 1.0), Tick(3_700, 5.0), Tick(DAY + 10, 3.0), Tick(DAY + 3_700, 5.0), Tick(2 * DAY, 9.0)];
        let judged = judged(&records);
        let timeline = Timeline::new(&judged, judged.watermarks.len());
        let rows = timeline.hours_of_day(&timeline.candles(HOUR));
        let rows: Vec<_> = rows.iter().map(|row| (row.row.hour, row.row.count, row.row.average)).collect();
        assert_eq!(rows, [(0, 2, 2.0), (1, 2, 5.0)]);
    }

    #[test]
    fn ticks_beyond_the_allowed_lateness_of_their_minute_are_late() {
        let judged = judged(&[Tick(664, 1.0), Tick(59, 1.0), Heartbeat(665), Tick(58, 1.0), Tick(60, 1.0)]);
        let late: Vec<_> = judged.late.iter().map(|late| (late.row.price.feed_seq, late.row.late_ms)).collect();
        assert_eq!((judged.prices.len(), late), (3, vec![(4, 602_000)]));
    }
}
