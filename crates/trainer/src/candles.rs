//! From ticks to the candles that a model learns from, and which length of candle that is.

use std::str::FromStr;

use market::candle::{Partial, Term};
use market::coverage::Coverage;
use market::{Candle, EventTime, Instrument, Tick, Window};
use serde::{Deserialize, Serialize};

/// Lengths of candle that a model can learn from, longest first.
pub const INTERVALS: [Window; 5] =
    [Window::Day, Window::Hour, Window::QuarterHour, Window::FiveMinutes, Window::Minute];

/// Candles that make a length long enough to be chosen: with fewer, a shorter one has more to teach.
pub const CANDLES_WANTED: usize = 2_000;

/// How long the candles are that a model learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interval {
    /// The longest of [`INTERVALS`] that gives [`CANDLES_WANTED`], else the one that gives most.
    Auto,
    /// This one.
    Fixed(Window),
}

/// A name that is none of the intervals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of auto, 1m, 5m, 15m, 1h, 1d")]
pub struct UnknownInterval(String);

impl FromStr for Interval {
    type Err = UnknownInterval;

    fn from_str(name: &str) -> Result<Self, UnknownInterval> {
        if name == "auto" {
            return Ok(Self::Auto);
        }
        let window = INTERVALS.into_iter().find(|window| window.name() == name);
        window.map(Self::Fixed).ok_or_else(|| UnknownInterval(name.to_owned()))
    }
}

impl Interval {
    /// The window that these ticks, ascending by event time, are folded into. Windows shorter than the ticks' grain give
    /// no candle that a model could use, so they are never chosen. None when there is no such window.
    pub fn window(self, ticks: &[Tick]) -> Option<Window> {
        let usable = |window: Window| usable_candles(ticks, window);
        match self {
            Self::Fixed(window) => (usable(window) > 0).then_some(window),
            Self::Auto => {
                let counts = INTERVALS.map(|window| (window, usable(window)));
                let enough = counts.iter().find(|(_, count)| *count >= CANDLES_WANTED);
                // The last of equals is the shortest.
                let most = counts.iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0);
                enough.or(most).map(|(window, _)| *window)
            }
        }
    }
}

/// How many candles there are.
fn usable_candles(ticks: &[Tick], window: Window) -> usize {
    let mut newest = None;
    let starts = ticks.iter().filter_map(|tick| window_of(tick, window));
    starts.filter(|(start, _)| newest.replace(*start) != Some(*start)).count()
}

/// Bounds of the tumbling window that a tick counts in, if there is one.
fn window_of(tick: &Tick, window: Window) -> Option<(EventTime, EventTime)> {
    let start = tick.event.floor(window.size());
    let end = window.end(start);
    tick.counts_in(start, end).then_some((start, end))
}

/// A window being folded.
struct Folded {
    bounds: (EventTime, EventTime),
    ticks: Partial,
    coverage: Coverage,
}

/// The final candles of a tumbling window, ascending: a plain fold of all accepted ticks, late ones in their place, so
/// each is the newest revision. A last window that was not observed to its end is still open and left out. `ticks` are
/// ascending by event time.
///
/// # Panics
/// When ticks are out of order.
pub fn fold(ticks: &[Tick], instrument: &Instrument, window: Window) -> Vec<Candle> {
    assert!(ticks.is_sorted_by_key(Tick::identity), "ticks are sorted by (event time, id)");
    let observed_until = ticks.iter().map(Tick::end).max().unwrap_or(EventTime::MIN);
    let mut folded: Vec<Folded> = Vec::new();
    for tick in ticks {
        if let Some(bounds) = window_of(tick, window) {
            let term = Term::new(tick);
            match folded.last_mut() {
                Some(newest) if newest.bounds == bounds => newest.ticks.add(&term),
                _ => folded.push(Folded { bounds, ticks: Partial::new(&term), coverage: Coverage::default() }),
            }
            if let (Some(newest), Some(_)) = (folded.last_mut(), tick.grain) {
                newest.coverage.add(tick.event, tick.end(), bounds);
            }
        }
        let Some((from, to)) = tick.certified() else { continue };
        for reached in folded.iter_mut().rev().take_while(|folded| folded.bounds.1 > from) {
            reached.coverage.add(from, to, reached.bounds);
        }
    }
    let is_over = |folded: &&Folded| folded.bounds.1 <= observed_until;
    let candle =
        |folded: &Folded| folded.ticks.candle(instrument, (window, folded.bounds.0), folded.coverage.covered(), 1);
    folded.iter().filter(is_over).map(candle).collect()
}

#[cfg(test)]
mod tests {
    use market::Span;
    use market::watermark::Progress;
    use market::windowing::{Issue, Settings, Windowing};

    use super::*;

    fn tick(event: i64, grain: Span) -> Tick {
        let close = 100.0 + (event as f64 / 7e5).sin();
        Tick {
            event: EventTime(event),
            grain: Some(grain),
            complete: None,
            id: None,
            open: close,
            high: close * 1.001,
            low: close * 0.999,
            close,
            volume: Some(1.5),
            feed_seq: 1 + event as u64 / 60_000,
        }
    }

    fn ticks(count: i64, grain: Span) -> Vec<Tick> {
        (0..count).map(|idx| tick(idx * grain.ms(), grain)).collect()
    }

    #[test]
    fn auto_takes_the_longest_interval_with_enough_candles() {
        let cases = [
            (1_000, Span::MINUTE, Some(Window::Minute)),
            (2_000 * 5, Span::MINUTE, Some(Window::FiveMinutes)),
            (44_512, Span::MINUTE, Some(Window::QuarterHour)),
            (2_000 * 60 - 1, Span::MINUTE, Some(Window::Hour)),
            (100, Span::HOUR, Some(Window::Hour)),
            (2_000 * 24, Span::HOUR, Some(Window::Day)),
            (43_789, Span::HOUR, Some(Window::Hour)),
            (10, Span(7 * Span::DAY.ms()), None),
            (0, Span::MINUTE, None),
        ];
        for (count, grain, expected) in cases {
            assert_eq!(Interval::Auto.window(&ticks(count, grain)), expected, "{count} of {grain:?}");
        }
    }

    #[test]
    fn an_interval_shorter_than_the_grain_is_refused() {
        let hourly = ticks(100, Span::HOUR);
        assert_eq!(Interval::Fixed(Window::Minute).window(&hourly), None);
        assert_eq!(Interval::Fixed(Window::Day).window(&hourly), Some(Window::Day));
    }

    #[test]
    fn history_of_a_coarser_grain_does_not_lengthen_live_minutes() {
        let mut mixed = ticks(30, Span::DAY);
        mixed.extend((0..3_000).map(|idx| tick(40 * Span::DAY.ms() + idx * 60_000, Span::MINUTE)));
        assert_eq!(Interval::Auto.window(&mixed), Some(Window::Minute));
    }

    #[test]
    fn candles_equal_those_of_the_window_code_and_the_open_one_is_left_out() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let mut ticks = ticks(150, Span::MINUTE);
        ticks.remove(70);
        for window in INTERVALS {
            let mut windowing = Windowing::new(&[window]);
            let mut issued = Vec::new();
            let settings = Settings::default();
            let mut progress = Progress { before: EventTime::MIN, after: EventTime::MIN };
            let mut issue = |issue: Issue<'_>| issued.push(issue.candle(&instrument));
            for tick in &ticks {
                progress = Progress { before: progress.after, after: tick.event };
                windowing.push(tick, progress, settings, &mut issue);
            }
            // The recording ends with minute 149, which is over: what its end closes is closed here too.
            let end = Progress { before: progress.after, after: EventTime(150 * 60_000) };
            windowing.heartbeat(None, end, settings, &mut issue);
            assert_eq!(fold(&ticks, &instrument, window), issued, "{window}");
        }
        let hours = fold(&ticks, &instrument, Window::Hour);
        assert_eq!(hours.len(), 2, "the third hour is open");
    }
}
