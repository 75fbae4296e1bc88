//! Live prices that wait until the time before them is filled. Pure: `poller` sends the requests.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use market::{EventTime, Instrument, Span};

use super::buffer::BufferedRecord;
use super::chart::{Chart, join};
use super::chart_request::{self, ChartRequest};
use super::config::Filling;
use super::hole::{Filled, Hole};

/// Shortest hole that is filled: charts have a point every 5 minutes.
const HOLE_MIN: Span = Span::minutes(5);
/// Longest hole that is filled; it takes less than the buffer of unpublished ticks.
const DEPTH_MAX: Span = Span(365 * Span::DAY.0);
/// How long a price waits for the filling of a hole.
const HOLE_TIME: Duration = Duration::from_secs(60);
/// How long the first price of an instrument waits for its history. Longer, because the calls for many instruments are
/// limited by the minute, and there is nothing before that could be late.
const HISTORY_TIME: Duration = Duration::from_secs(600);

/// Instruments whose prices wait.
#[derive(Debug)]
pub(crate) struct Filler {
    filling: Filling,
    waiting: BTreeMap<usize, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    hole: Hole,
    /// Start of the history of a first price.
    earliest: EventTime,
    /// Records in the order of publishing. The first one is the tick after the hole.
    held: Vec<BufferedRecord>,
    /// Requests to be sent, the next one first.
    requests: VecDeque<ChartRequest>,
    charts: Vec<Chart>,
    refusals: u32,
}

/// Fate of new records.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// They are published.
    Publish(Vec<BufferedRecord>),
    /// They wait, and so do later ones, for this time at most.
    Begin(Duration),
    /// They wait with earlier ones.
    Hold,
}

/// The end of a filling.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The hole.
    pub(crate) hole: Hole,
    /// Records to be published.
    pub(crate) records: Vec<BufferedRecord>,
    /// Counts, without records.
    pub(crate) filled: Filled,
    /// Rows of the charts that are no prices.
    pub(crate) left_out: u64,
    /// Requests without an answer.
    pub(crate) unanswered: usize,
}

impl Filler {
    /// Nothing waits.
    pub(crate) fn new(filling: Filling) -> Self {
        Self { filling, waiting: BTreeMap::new() }
    }

    /// Takes the records of an answer, with the hole before them. `now` is the time of the answer by the source's clock.
    pub(crate) fn take(
        &mut self,
        instrument_idx: usize,
        instrument: &Instrument,
        hole: Option<Hole>,
        records: Vec<BufferedRecord>,
        now: EventTime,
    ) -> Taken {
        let gap = || hole.and_then(|hole| hole.gap(instrument));
        if let Some(waiting) = self.waiting.get_mut(&instrument_idx) {
            waiting.held.extend(gap());
            waiting.held.extend(records);
            return Taken::Hold;
        }
        let Some((hole, requests)) = hole.and_then(|hole| Some((hole, self.requests(&hole, now)?))) else {
            return Taken::Publish(gap().into_iter().chain(records).collect());
        };
        let earliest = hole.to.saturating_sub(Span(self.filling.history_days * Span::DAY.ms()));
        let (requests, charts) = (requests.into(), Vec::new());
        self.waiting.insert(instrument_idx, Waiting { hole, earliest, held: records, requests, charts, refusals: 0 });
        Taken::Begin(if hole.since.is_some() { HOLE_TIME } else { HISTORY_TIME })
    }

    /// Returns the requests that fill a hole, if it is to be filled.
    fn requests(&self, hole: &Hole, now: EventTime) -> Option<Vec<ChartRequest>> {
        let now = now.max(hole.to);
        match (hole.since, hole.from) {
            (Some(_), Some(from)) if self.filling.holes && hole.to - from >= HOLE_MIN => {
                Some(chart_request::since(from, now, DEPTH_MAX))
            }
            (None, _) if self.filling.history_days > 0 => Some(chart_request::history(self.filling.history_days, now)),
            _ => None,
        }
    }

    /// Returns the next request of an instrument.
    pub(crate) fn request(&self, instrument_idx: usize) -> Option<ChartRequest> {
        self.waiting.get(&instrument_idx)?.requests.front().copied()
    }

    /// Whether an instrument waits, and no request is left.
    pub(crate) fn is_done(&self, instrument_idx: usize) -> bool {
        self.waiting.get(&instrument_idx).is_some_and(|waiting| waiting.requests.is_empty())
    }

    /// Takes the answer to the next request.
    pub(crate) fn answered(&mut self, instrument_idx: usize, chart: Chart) {
        if let Some(waiting) = self.waiting.get_mut(&instrument_idx) {
            waiting.requests.pop_front();
            waiting.charts.push(chart);
        }
    }

    /// Counts a refusal of the next request, and returns the number of refusals.
    pub(crate) fn refused(&mut self, instrument_idx: usize) -> u32 {
        self.waiting.get_mut(&instrument_idx).map_or(0, |waiting| {
            waiting.refusals += 1;
            waiting.refusals
        })
    }

    /// Leaves the next request out, because it would be refused again.
    pub(crate) fn skip(&mut self, instrument_idx: usize) {
        if let Some(waiting) = self.waiting.get_mut(&instrument_idx) {
            waiting.requests.pop_front();
        }
    }

    /// Ends the waiting: the hole is filled by the answers so far. `ingest_ms` is the local time.
    pub(crate) fn finish(
        &mut self,
        instrument_idx: usize,
        instrument: &Instrument,
        ingest_ms: i64,
    ) -> Option<Finished> {
        let Waiting { hole, earliest, mut held, requests, charts, .. } = self.waiting.remove(&instrument_idx)?;
        let chart = join(&charts);
        let mut filled = hole.fill(instrument, &chart, earliest, ingest_ms);
        if let Some(BufferedRecord::Tick(tick)) = held.first_mut() {
            tick.complete_ms = filled.complete.map(Span::ms);
        }
        let mut records = std::mem::take(&mut filled.records);
        records.extend(held);
        Some(Finished { hole, records, filled, left_out: chart.left_out.total(), unanswered: requests.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coingecko::chart::chart;
    use crate::coingecko::markets::Quote;
    use crate::coingecko::observer;
    use crate::coingecko::observer::Poll;

    const FILLING: Filling = Filling { history_days: 1, holes: true };

    fn bitcoin() -> Instrument {
        Instrument::new("bitcoin", "usd").unwrap()
    }

    fn at(minute: i64) -> EventTime {
        EventTime(1_700_000_000_000 + minute * 60_000)
    }

    fn tick(minute: i64) -> BufferedRecord {
        let quote = Quote { price: Ok(1.0), last_updated: Ok(at(minute)), ..Quote::default() };
        let poll = Poll { answered_ms: at(minute).ms(), date: None };
        BufferedRecord::Tick(Box::new(observer::tick(&bitcoin(), Some(&quote), poll).unwrap()))
    }

    fn hole(since: i64, to: i64) -> Hole {
        Hole { since: Some(at(since)), from: Some(at(since)), to: at(to), cause: Some("unreachable") }
    }

    fn first(to: i64) -> Hole {
        Hole { since: None, from: None, to: at(to), cause: None }
    }

    fn take(filler: &mut Filler, hole: Option<Hole>, minute: i64) -> Taken {
        filler.take(0, &bitcoin(), hole, vec![tick(minute)], at(minute))
    }

    /// Returns the minutes of ticks; gaps as negative lengths.
    fn minutes(records: &[BufferedRecord]) -> Vec<i64> {
        let minute = |record: &BufferedRecord| match record {
            BufferedRecord::Tick(tick) => (tick.event_ms - at(0).ms()) / 60_000,
            BufferedRecord::Gap(gap) => (gap.from_ms - gap.to_ms) / 60_000,
            BufferedRecord::Heartbeat(_) => unreachable!(),
        };
        records.iter().map(minute).collect()
    }

    fn answer(minutes: &[i64]) -> Chart {
        let rows: Vec<String> = minutes.iter().map(|minute| format!("[{},2.5]", at(*minute).ms())).collect();
        chart(&format!(r#"{{"prices":[{}]}}"#, rows.join(","))).unwrap()
    }

    #[test]
    fn prices_wait_until_the_hole_before_them_is_filled() {
        let mut filler = Filler::new(FILLING);
        assert_eq!(take(&mut filler, Some(hole(0, 20)), 20), Taken::Begin(HOLE_TIME));
        assert_eq!(take(&mut filler, None, 21), Taken::Hold);
        assert!(matches!(filler.request(0), Some(ChartRequest::Range { .. })));
        filler.answered(0, answer(&[-3, 2, 7, 12, 17, 20]));
        assert!(filler.is_done(0));
        let finished = filler.finish(0, &bitcoin(), at(21).ms()).unwrap();
        assert_eq!(minutes(&finished.records), [2, 7, 12, 17, 20, 21]);
        let complete = |record: &BufferedRecord| match record {
            BufferedRecord::Tick(tick) => tick.complete_ms.map(|ms| ms / 60_000),
            _ => None,
        };
        assert_eq!(complete(&finished.records[4]), Some(3), "the live price is certified too");
        assert_eq!((finished.filled.ticks, finished.unanswered), (4, 0));
        assert!(matches!(take(&mut filler, None, 22), Taken::Publish(records) if minutes(&records) == [22]));
    }

    #[test]
    fn without_an_answer_the_hole_is_a_gap_and_prices_go_on() {
        let mut filler = Filler::new(FILLING);
        take(&mut filler, Some(hole(0, 20)), 20);
        // Another interruption while they wait.
        take(&mut filler, Some(hole(20, 24)), 24);
        assert_eq!((filler.refused(0), filler.refused(0)), (1, 2));
        let finished = filler.finish(0, &bitcoin(), at(24).ms()).unwrap();
        assert_eq!((minutes(&finished.records), finished.unanswered), (vec![-20, 20, -4, 24], 1));
    }

    #[test]
    fn only_what_is_asked_for_is_filled() {
        let publish = |filling: Filling, hole: Hole| {
            let taken = take(&mut Filler::new(filling), Some(hole), 20);
            match taken {
                Taken::Publish(records) => Some(minutes(&records)),
                Taken::Begin(_) | Taken::Hold => None,
            }
        };
        assert_eq!(publish(FILLING, hole(16, 20)), Some(vec![-4, 20]), "no chart is finer");
        assert_eq!(publish(Filling { holes: false, ..FILLING }, hole(0, 20)), Some(vec![-20, 20]));
        assert_eq!(publish(Filling { history_days: 0, ..FILLING }, first(20)), Some(vec![20]));
        assert_eq!(publish(Filling { history_days: 0, ..FILLING }, hole(0, 20)), None);
    }

    #[test]
    fn history_joins_its_answers_and_a_refused_part_is_left_out() {
        let mut filler = Filler::new(Filling { history_days: 90, holes: true });
        assert_eq!(take(&mut filler, Some(first(600)), 600), Taken::Begin(HISTORY_TIME));
        assert_eq!(filler.request(0), Some(ChartRequest::Days(90)));
        filler.answered(0, answer(&[0, 60, 120, 180, 600]));
        assert_eq!(filler.request(0), Some(ChartRequest::Days(1)));
        filler.skip(0);
        let finished = filler.finish(0, &bitcoin(), at(600).ms()).unwrap();
        assert_eq!(minutes(&finished.records), [0, 60, 120, 180, -420, 600]);
    }
}
