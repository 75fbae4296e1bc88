//! Holes before a new price, and how past prices fill them.
//!
//! A chart certifies the time between two of its consecutive points that are at most two usual steps apart. Everything
//! else of a hole stays a gap.

use std::borrow::Cow;
use std::collections::BTreeMap;

use market::gap::GapLine;
use market::tick::TickLine;
use market::validate::{GRAIN_MAX, Reason, validate};
use market::{EventTime, Instrument, Span, Tick};

use super::buffer::BufferedRecord;
use super::chart::{ChartPoint, JoinedChart};
use super::config::SOURCE;

/// Cause of a gap in the history before the first price of an instrument.
const MISSING_IN_CHART: &str = "missing-in-chart";

/// Time without prices in FEED before a new price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Event time of the last tick in FEED; `None` before the first one.
    pub(crate) since: Option<EventTime>,
    /// Time up to which FEED is certified. Before the first tick: the time since which a price is missing, if one is.
    pub(crate) from: Option<EventTime>,
    /// Event time of the new price.
    pub(crate) to: EventTime,
    /// Cause of the interruption; `None` if nothing is missing, before the first tick.
    pub(crate) cause: Option<&'static str>,
}

/// Records that fill a hole.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Filled {
    /// Ticks and gaps, in the order of event time.
    pub(crate) records: Vec<BufferedRecord>,
    /// How far back from the new price the time is certified.
    pub(crate) complete: Option<Span>,
    /// Number of ticks.
    pub(crate) ticks: u64,
    /// Number of gaps.
    pub(crate) gaps: u64,
    /// Points that the stream-processor would reject.
    pub(crate) refused: BTreeMap<Reason, u64>,
}

impl Hole {
    /// Returns the gap that the hole is without past prices.
    pub(crate) fn gap(&self, instrument: &Instrument) -> Option<BufferedRecord> {
        gap(instrument, self.from?, self.to, self.cause?)
    }

    /// Returns the records of the points in this hole, those before the first tick from `earliest` on. `ingest_ms` is the
    /// local time of the answer.
    pub(crate) fn fill(
        &self,
        instrument: &Instrument,
        chart: &JoinedChart,
        earliest: EventTime,
        ingest_ms: i64,
    ) -> Filled {
        let begin = self.since.map_or(earliest, |since| self.from.unwrap_or(since) + Span(1));
        let first = chart.points.partition_point(|point| point.event < begin);
        let end = chart.points.partition_point(|point| point.event < self.to).max(first);
        let mut walk = Walk {
            instrument,
            cause: self.cause.filter(|_| self.since.is_some()).unwrap_or(MISSING_IN_CHART),
            filled: Filled::default(),
            last: self.since,
            // Before the first tick nothing is certified, and nothing is missing.
            certified_to: self.since.and(self.from.or(self.since)),
            before: first.checked_sub(1).map(|before| chart.points[before]).filter(|_| self.since.is_some()),
        };
        for point in &chart.points[first..end] {
            walk.point(*point, ingest_ms);
        }
        let mut filled = walk.end(self.to, chart.current);
        if self.since.is_none() && filled.ticks == 0 {
            filled.records.extend(self.gap(instrument));
            filled.gaps = filled.records.len() as u64;
        }
        filled
    }
}

/// Progress through a hole.
struct Walk<'a> {
    instrument: &'a Instrument,
    cause: &'static str,
    filled: Filled,
    /// Event time of the last tick.
    last: Option<EventTime>,
    /// Time up to which ticks and gaps cover the hole.
    certified_to: Option<EventTime>,
    /// The point before.
    before: Option<ChartPoint>,
}

impl Walk<'_> {
    fn point(&mut self, point: ChartPoint, ingest_ms: i64) {
        let mut line = line(self.instrument, &point, ingest_ms);
        if let Err(reason) = validate(&line, self.instrument, 0, ingest_ms) {
            *self.filled.refused.entry(reason).or_default() += 1;
            return;
        }
        line.complete_ms = self.reach(point.event, self.is_next(point.event, point.step)).map(Span::ms);
        self.filled.records.push(BufferedRecord::Tick(Box::new(line)));
        self.filled.ticks += 1;
        (self.last, self.certified_to, self.before) = (Some(point.event), Some(point.event), Some(point));
    }

    /// Ends with the new price, which is the next point if the chart reaches to its neighborhood.
    fn end(mut self, to: EventTime, current: Option<EventTime>) -> Filled {
        let step = self.before.map_or(Span(0), |before| before.step);
        let current = current.filter(|current| self.is_next(*current, step));
        let is_next = current.is_some_and(|current| to - current <= reach_of(step));
        if let Some(current) = current {
            self.certified_to = self.certified_to.map(|certified_to| certified_to.max(current.min(to)));
        }
        self.filled.complete = self.reach(to, is_next);
        self.filled
    }

    /// Whether a time follows the point before at a distance of at most two steps.
    fn is_next(&self, event: EventTime, step: Span) -> bool {
        self.before.is_some_and(|before| event - before.event <= reach_of(step.max(before.step)))
    }

    /// Returns how much of the time before a price is certified. Without certification the time is a gap.
    fn reach(&mut self, event: EventTime, is_next: bool) -> Option<Span> {
        if is_next {
            return self.last.map(|last| (event - last).min(GRAIN_MAX));
        }
        let missing = self.certified_to.and_then(|from| gap(self.instrument, from, event, self.cause));
        self.filled.gaps += missing.iter().len() as u64;
        self.filled.records.extend(missing);
        None
    }
}

/// Returns the distance of two points between which no other one can be: two steps, and the variation of their times.
fn reach_of(step: Span) -> Span {
    Span(2 * step.ms() + step.ms() / 10)
}

fn gap(instrument: &Instrument, from: EventTime, to: EventTime, cause: &'static str) -> Option<BufferedRecord> {
    (from < to).then(|| {
        BufferedRecord::Gap(GapLine {
            coin: Cow::Owned(instrument.coin().to_owned()),
            quote: Cow::Owned(instrument.quote().to_owned()),
            from_ms: from.ms(),
            to_ms: to.ms(),
            cause: Cow::Borrowed(cause),
        })
    })
}

fn line(instrument: &Instrument, point: &ChartPoint, ingest_ms: i64) -> TickLine<'static> {
    let (coin, quote) = (instrument.coin().to_owned(), instrument.quote().to_owned());
    let tick = Tick { filled: true, ..Tick::point(point.event, point.price) };
    TickLine {
        source: Some(Cow::Borrowed(SOURCE)),
        market_cap: point.market_cap,
        volume_24h: point.volume_24h,
        ..TickLine::new(coin, quote, &tick, ingest_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_700_000_000_000;
    const FIVE: Span = Span::minutes(5);

    fn at(minute: i64) -> EventTime {
        EventTime(START + minute * 60_000)
    }

    fn bitcoin() -> Instrument {
        Instrument::new("bitcoin", "usd").unwrap()
    }

    fn point(minute: i64) -> ChartPoint {
        ChartPoint { event: at(minute), price: 1.0, market_cap: None, volume_24h: None, step: FIVE }
    }

    /// Returns a chart with points of 5 minutes at these minutes, of which the last one is not final.
    fn chart(minutes: impl IntoIterator<Item = i64>) -> JoinedChart {
        let mut points: Vec<ChartPoint> = minutes.into_iter().map(point).collect();
        let current = points.pop().map(|point| point.event);
        JoinedChart { points, current, ..JoinedChart::default() }
    }

    /// Returns a hole between two prices; heartbeats certified a minute more.
    fn hole(since: i64, to: i64) -> Hole {
        Hole { since: Some(at(since)), from: Some(at(since + 1)), to: at(to), cause: Some("unreachable") }
    }

    /// Formats records with times in minutes, certified spans in parentheses, and last that of the new price.
    fn words(filled: &Filled) -> Vec<String> {
        let minute = |ms: i64| (ms - START) / 60_000;
        let certified = |ms: Option<i64>| ms.map_or_else(String::new, |ms| format!(" ({})", ms / 60_000));
        let word = |record: &BufferedRecord| match record {
            BufferedRecord::Tick(tick) => {
                assert!(tick.filled);
                format!("{}{}", minute(tick.event_ms), certified(tick.complete_ms))
            }
            BufferedRecord::Gap(gap) => format!("gap {} {} {}", minute(gap.from_ms), minute(gap.to_ms), gap.cause),
            BufferedRecord::Heartbeat(_) => panic!("a heartbeat"),
        };
        let new = format!("new{}", certified(filled.complete.map(Span::ms)));
        filled.records.iter().map(word).chain([new]).collect()
    }

    fn check(hole: Hole, chart: &JoinedChart, expected: &[&str]) {
        let filled = hole.fill(&bitcoin(), chart, at(-90), at(10_000).ms());
        assert_eq!(words(&filled), expected);
        assert_eq!(filled.ticks + filled.gaps, filled.records.len() as u64);
    }

    #[test]
    fn a_hole_between_points_is_filled_and_certified() {
        let expected = ["2 (2)", "7 (5)", "12 (5)", "17 (5)", "new (3)"];
        check(hole(0, 20), &chart([-8, -3, 2, 7, 12, 17, 20]), &expected);
        check(hole(0, 20), &chart([-8, -3, 2, 7, 12, 17, 19]), &expected);
        // The current price of the chart is newer than the live one.
        check(hole(0, 20), &chart([-8, -3, 2, 7, 12, 17, 21]), &expected);
    }

    #[test]
    fn missing_points_leave_gaps_with_the_cause_of_the_hole() {
        // One missing point is within two steps, two are not.
        check(
            hole(0, 40),
            &chart([-3, 2, 12, 27, 32, 38]),
            &["2 (2)", "12 (10)", "gap 12 27 unreachable", "27", "32 (5)", "new (8)"],
        );
        check(
            hole(0, 40),
            &chart([12, 17, 22, 27, 32, 38]),
            &["gap 1 12 unreachable", "12", "17 (5)", "22 (5)", "27 (5)", "32 (5)", "new (8)"],
        );
        check(hole(0, 60), &chart([-3, 2, 7]), &["2 (2)", "gap 7 60 unreachable", "new"]);
        check(hole(0, 60), &chart([-3, 2, 30]), &["2 (2)", "gap 2 60 unreachable", "new"]);
    }

    #[test]
    fn a_chart_without_a_point_in_the_hole_tells_too() {
        check(hole(0, 4), &chart([-4, 2]), &["new (4)"]);
        check(hole(0, 4), &chart([-4, 6]), &["new (4)"]);
        check(hole(0, 40), &chart([-40, 39]), &["gap 1 40 unreachable", "new"]);
        check(hole(0, 40), &chart([39]), &["gap 1 40 unreachable", "new"]);
        check(hole(0, 40), &chart([]), &["gap 1 40 unreachable", "new"]);
    }

    #[test]
    fn points_that_feed_has_or_passed_are_left_out() {
        // The tick of minute 0, the certified minute 1, and the new price itself.
        check(hole(0, 10), &chart([0, 1, 5, 10, 12]), &["5 (5)", "new (5)"]);
    }

    #[test]
    fn history_begins_at_its_length_and_owes_nothing_before() {
        let first = Hole { since: None, from: None, to: at(12), cause: None };
        check(
            first,
            &chart([-95, -90, -85, -40, 10, 12]),
            &["-90", "-85 (5)", "gap -85 -40 missing-in-chart", "-40", "gap -40 10 missing-in-chart", "10", "new (2)"],
        );
        check(first, &chart([]), &["new"]);
        let missed = Hole { from: Some(at(3)), cause: Some("coin-missing"), ..first };
        check(missed, &chart([0, 5, 10, 12]), &["0", "5 (5)", "10 (5)", "new (2)"]);
        check(missed, &chart([]), &["gap 3 12 coin-missing", "new"]);
    }

    #[test]
    fn points_that_would_be_rejected_are_counted() {
        let mut chart = chart([-3, 2, 7, 12, 20]);
        chart.points[1].price = 0.0;
        chart.points[2].price = -1.0;
        let filled = hole(0, 20).fill(&bitcoin(), &chart, at(0), at(30).ms());
        assert_eq!(words(&filled), ["gap 1 12 unreachable", "12", "new (8)"]);
        assert_eq!(filled.refused, [(Reason::NegativePrice, 1), (Reason::ZeroPrice, 1)].into());
    }

    #[test]
    fn without_a_chart_the_hole_is_a_gap() {
        let gap = |hole: Hole| {
            hole.gap(&bitcoin()).map(|gap| words(&Filled { records: vec![gap], ..Filled::default() }).remove(0))
        };
        assert_eq!(gap(hole(0, 60)).as_deref(), Some("gap 1 60 unreachable"));
        assert_eq!(gap(Hole { since: None, from: None, to: at(1), cause: None }), None);
        let late = Hole { since: None, from: Some(at(5)), to: at(1), cause: Some("coin-missing") };
        assert_eq!(gap(late), None, "the price is older than the first failure");
    }

    proptest! {
        /// Between two neighboring prices of a filled hole the time is certified whole, or there is a gap.
        #[test]
        fn time_between_two_prices_is_certified_or_a_gap(
            minutes in prop::collection::btree_set(-30_i64..400, 0..60),
            to in 10_i64..400,
        ) {
            let hole = hole(0, to);
            let filled = hole.fill(&bitcoin(), &chart(minutes), at(0), at(10_000).ms());
            let (mut last, mut gap_to) = (at(0), None);
            let new = (at(to), filled.complete);
            let events = filled.records.iter().map(|record| match record {
                BufferedRecord::Gap(gap) => (Some(gap.clone()), at(0), None),
                BufferedRecord::Tick(tick) => (None, EventTime(tick.event_ms), tick.complete_ms.map(Span)),
                BufferedRecord::Heartbeat(_) => unreachable!(),
            });
            for (gap, event, complete) in events.chain([(None, new.0, new.1)]) {
                if let Some(gap) = gap {
                    prop_assert!(gap.from_ms >= last.ms() && gap_to.is_none());
                    gap_to = Some(EventTime(gap.to_ms));
                    continue;
                }
                prop_assert!(event > last);
                match gap_to.take() {
                    Some(gap_to) => prop_assert_eq!((gap_to, complete), (event, None)),
                    None => prop_assert_eq!(complete, Some(event - last)),
                }
                last = event;
            }
        }
    }
}
