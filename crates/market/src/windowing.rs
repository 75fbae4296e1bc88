//! Opens, closes and reissues the windows of one instrument.
//!
//! A window is issued (`final`) when the watermark reaches its end, or when a flush ends the recording. It accepts late
//! ticks until the watermark reaches its end plus the allowed lateness; each of them issues it again with the next
//! revision. A window without ticks is never issued.
//!
//! Coverage is kept beside the ticks, also for a window without ticks. A certified span counts in the windows that are
//! open when the record comes, before the record's own time closes any. A closed window takes only the span of a late
//! tick that counts in it.

mod open_window;
mod series;

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Term};
use crate::instrument::Instrument;
use crate::tick::Tick;
use crate::time::{EventTime, Span};
use crate::watermark::WatermarkAdvance;
use crate::window::Window;

pub use self::open_window::Issue;
use self::series::WindowSeries;

/// Disorder bound and allowed lateness. They shape the results: other values give other results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimePolicy {
    /// How far behind the newest event time a tick may arrive without being late.
    pub disorder: Span,
    /// How long after its end a window can still be revised.
    pub lateness: Span,
}

impl Default for EventTimePolicy {
    /// 5 seconds of disorder, 10 minutes of lateness.
    fn default() -> Self {
        Self { disorder: Span::seconds(5), lateness: Span::minutes(10) }
    }
}

/// The windows of one instrument that can still change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Windowing {
    series: Vec<WindowSeries>,
    /// No window closes or is dropped below this watermark. Saves a walk over all windows for each tick.
    due: EventTime,
}

impl Windowing {
    /// Starts without ticks, for windows of the given kinds.
    pub fn new(windows: &[Window]) -> Self {
        let series = windows.iter().map(|&window| WindowSeries::new(window)).collect();
        Self { series, due: EventTime::MIN }
    }

    /// Adds an accepted tick to every window that it counts in, and its certified span to every open window. A window
    /// that has closed already is issued again at once. Then the windows that `advance` closes are issued, in order of
    /// start within each kind, and windows that can no longer be revised are dropped.
    ///
    /// Returns how many spans coverage had no room for.
    pub fn push(
        &mut self,
        tick: &Tick,
        advance: WatermarkAdvance,
        policy: EventTimePolicy,
        mut issue: impl FnMut(Issue<'_>),
    ) -> u64 {
        let mut dropped = self.certify(tick.certified(), advance, policy);
        let term = Term::new(tick);
        for series in &mut self.series {
            let window = series.window();
            for start in window.starts_from(series.newest_start(tick.event)) {
                let end = window.end(start);
                if !tick.counts_in(start, end) {
                    continue;
                }
                let open = series.window_at(start);
                let is_closed = advance.before >= end;
                dropped += open.add(&term, (start, end), is_closed);
                if is_closed {
                    open.reissue(window, &mut issue);
                } else {
                    open.mark_news();
                }
                self.due = self.due.min(end);
            }
        }
        self.move_to(advance.after, policy, issue);
        dropped
    }

    /// Returns the kinds of window that are too short for a bar: none of their windows holds all of it, so it counts in
    /// none.
    pub fn too_short_for<'a>(&'a self, tick: &'a Tick) -> impl Iterator<Item = Window> + 'a {
        let takes = |window: Window| window.starts(tick.event).any(|start| tick.counts_in(start, window.end(start)));
        let is_long = tick.is_long();
        self.series.iter().map(WindowSeries::window).filter(move |&window| is_long && !takes(window))
    }

    /// Applies a heartbeat: adds its certified span to every open window, and moves event time as [`Windowing::push`]
    /// does.
    ///
    /// Returns how many spans coverage had no room for.
    pub fn heartbeat(
        &mut self,
        certified: Option<(EventTime, EventTime)>,
        advance: WatermarkAdvance,
        policy: EventTimePolicy,
        issue: impl FnMut(Issue<'_>),
    ) -> u64 {
        let dropped = self.certify(certified, advance, policy);
        self.move_to(advance.after, policy, issue);
        dropped
    }

    /// Issues the windows that this watermark closes, and drops those that can no longer be revised.
    fn move_to(&mut self, watermark: EventTime, policy: EventTimePolicy, mut issue: impl FnMut(Issue<'_>)) {
        if watermark < self.due {
            return;
        }
        let due = self.series.iter_mut().map(|series| series.move_to(watermark, policy.lateness, &mut issue)).min();
        self.due = due.unwrap_or(EventTime(i64::MAX));
    }

    /// Ends the recording: issues every window with a tick that no issue contains yet. Later ticks open such a window
    /// again, and its next close is the next revision.
    pub fn flush(&mut self, mut issue: impl FnMut(Issue<'_>)) {
        // `due` may now be too early, which costs only a walk over the windows.
        self.series.iter_mut().for_each(|series| series.flush(&mut issue));
    }

    /// Returns the provisional candles of the open windows with a tick that no issue contains yet, in order of kind and
    /// start.
    pub fn provisional<'a>(&'a self, instrument: &'a Instrument) -> impl Iterator<Item = Candle> + 'a {
        self.series.iter().flat_map(move |series| series.provisional(instrument))
    }

    fn certify(
        &mut self,
        certified: Option<(EventTime, EventTime)>,
        advance: WatermarkAdvance,
        policy: EventTimePolicy,
    ) -> u64 {
        let Some(span) = certified else { return 0 };
        let mut dropped = 0;
        for series in &mut self.series {
            let certified = series.certify(span, advance, policy.lateness);
            self.due = self.due.min(certified.due);
            dropped += certified.dropped;
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
