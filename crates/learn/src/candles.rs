//! Candles to learn from, made from ticks, and the choice of their length.

use std::collections::VecDeque;
use std::str::FromStr;

use market::candle::{PartialCandle, Term};
use market::coverage::Coverage;
use market::{Candle, EventTime, Instrument, Span, Tick, Window};
use serde::{Deserialize, Serialize};

use crate::row_spec::RowSpec;

/// Candle lengths that a model can learn from, longest first.
pub const INTERVALS: [Window; 5] =
    [Window::Day, Window::Hour, Window::QuarterHour, Window::FiveMinutes, Window::Minute];

/// Rows that are enough to choose a length. With fewer, a shorter length is tried.
pub const ROWS_WANTED: usize = 2_000;

/// The length of the candles that a model learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interval {
    /// The longest of [`INTERVALS`] that gives [`ROWS_WANTED`] rows, else the one that gives most.
    Auto,
    /// This length.
    Fixed(Window),
}

/// A name that is not an interval.
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
    /// Returns the chosen window, and the candles of these ticks, which are ascending by (event time, id). The choice
    /// counts rows, because thin candles and candles without neighbors give none.
    ///
    /// # Panics
    /// The ticks are out of order.
    pub fn choose(self, ticks: &[Tick], instrument: &Instrument, spec: RowSpec) -> (Window, Folded) {
        match self {
            Self::Fixed(window) => (window, fold(ticks, instrument, window)),
            Self::Auto => choose(ticks, instrument, spec),
        }
    }
}

fn choose(ticks: &[Tick], instrument: &Instrument, spec: RowSpec) -> (Window, Folded) {
    let [longest, shorter @ ..] = INTERVALS;
    let look = |window: Window| {
        let folded = fold(ticks, instrument, window);
        (folded.worth(spec), window, folded)
    };
    let mut best = look(longest);
    for window in shorter {
        if best.0.rows >= ROWS_WANTED {
            break;
        }
        let next = look(window);
        if next.0 > best.0 {
            best = next;
        }
    }
    (best.1, best.2)
}

/// The rank of a candle length. The first field that differs decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    rows: usize,
    /// Decides between lengths without rows, so that an error is about the length with the most candles.
    usable: usize,
    candles: usize,
}

/// The candles of one length that ticks give.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// Final candles, ascending.
    pub candles: Vec<Candle>,
    /// Candles left out because their window was not observed to its end: the last one, or none.
    pub open: usize,
    /// Bars that no window holds completely, so that they count in no candle.
    pub long_bars: usize,
}

impl Folded {
    fn worth(&self, spec: RowSpec) -> Worth {
        let usable = self.candles.iter().filter(|candle| spec.unusable(candle).is_none()).count();
        Worth { rows: spec.count_rows(&self.candles), usable, candles: self.candles.len() }
    }
}

/// Returns the final candles of a tumbling window. All accepted ticks count, late ones in their place, so each candle
/// is the newest revision. `ticks` are ascending by (event time, id).
///
/// # Panics
/// The ticks are out of order.
pub fn fold(ticks: &[Tick], instrument: &Instrument, window: Window) -> Folded {
    assert!(ticks.is_sorted_by_key(Tick::identity), "ticks are sorted by (event time, id)");
    let observed_until = ticks.iter().map(Tick::end).max().unwrap_or(EventTime::MIN);
    let reach = ticks.iter().filter_map(|tick| tick.complete).max().unwrap_or(Span(0));
    let mut folded = Folded { candles: Vec::new(), open: 0, long_bars: 0 };
    let mut folding: VecDeque<Folding> = VecDeque::new();
    for tick in ticks {
        folded.long_bars += usize::from(!take(&mut folding, tick, window));
        // Spans that later ticks certify do not reach back to these windows.
        let beyond = tick.event.saturating_sub(reach);
        while folding.front().is_some_and(|oldest| oldest.bounds.1 <= beyond) {
            folded.candles.extend(folding.pop_front().and_then(|oldest| oldest.candle(instrument, window)));
        }
    }
    for last in folding {
        match last.candle(instrument, window) {
            Some(candle) if candle.end <= observed_until => folded.candles.push(candle),
            Some(_) => folded.open += 1,
            None => {}
        }
    }
    folded
}

/// A window whose ticks are being read.
struct Folding {
    bounds: (EventTime, EventTime),
    /// `None` while no tick counts in it.
    ticks: Option<PartialCandle>,
    coverage: Coverage,
}

impl Folding {
    fn candle(&self, instrument: &Instrument, window: Window) -> Option<Candle> {
        let at = (window, self.bounds.0);
        Some(self.ticks.as_ref()?.candle(instrument, at, self.coverage.covered(), 1))
    }
}

/// Adds a tick to the window that it counts in, and its certified span to every window. Returns false when it counts in
/// none.
fn take(folding: &mut VecDeque<Folding>, tick: &Tick, window: Window) -> bool {
    let start = tick.event.floor(window.size());
    let bounds = (start, window.end(start));
    if folding.back().is_none_or(|newest| newest.bounds != bounds) {
        folding.push_back(Folding { bounds, ticks: None, coverage: Coverage::default() });
    }
    if let Some((from, to)) = tick.certified() {
        for reached in folding.iter_mut().rev().take_while(|folding| folding.bounds.1 > from) {
            reached.coverage.add(from, to, reached.bounds);
        }
    }
    let counts = tick.counts_in(bounds.0, bounds.1);
    if let Some(newest) = folding.back_mut().filter(|_| counts) {
        let term = Term::new(tick);
        match &mut newest.ticks {
            Some(ticks) => ticks.add(&term),
            None => newest.ticks = Some(PartialCandle::new(&term)),
        }
        if tick.grain.is_some() {
            newest.coverage.add(tick.event, tick.end(), bounds);
        }
    }
    counts
}

#[cfg(test)]
mod tests;
