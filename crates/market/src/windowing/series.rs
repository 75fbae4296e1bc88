//! The windows of one kind that can still change, in order of time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::open_window::{Issue, OpenWindow};
use crate::candle::Candle;
use crate::instrument::Instrument;
use crate::time::{EventTime, Span};
use crate::watermark::WatermarkAdvance;
use crate::window::Window;

/// The windows of one kind that can still change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WindowSeries {
    window: Window,
    /// Ascending by start.
    open: VecDeque<OpenWindow>,
}

/// The effect of a certified span on the windows of one kind.
pub(super) struct Certified {
    /// The watermark at which the first window that the span opened is dropped.
    pub(super) due: EventTime,
    /// How many spans coverage had no room for.
    pub(super) dropped: u64,
}

impl WindowSeries {
    pub(super) fn new(window: Window) -> Self {
        Self { window, open: VecDeque::new() }
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns the start of the newest window that contains `event`. It is mostly that of the newest window there is,
    /// which saves a division.
    pub(super) fn newest_start(&self, event: EventTime) -> EventTime {
        let hop = self.window.hop();
        match self.open.back() {
            Some(newest) if newest.start() <= event && event < newest.start() + hop => newest.start(),
            _ => event.floor(hop),
        }
    }

    /// Returns the window at `start`, mostly the newest. Opens it if need be.
    pub(super) fn window_at(&mut self, start: EventTime) -> &mut OpenWindow {
        let idx = match self.open.iter().rposition(|open| open.start() <= start) {
            Some(idx) if self.open[idx].start() == start => idx,
            before => {
                let idx = before.map_or(0, |idx| idx + 1);
                self.open.insert(idx, OpenWindow::new(start));
                idx
            }
        };
        &mut self.open[idx]
    }

    /// Issues the windows that this watermark closes, and drops those that can no longer be revised. Returns the
    /// watermark at which the next window closes or is dropped.
    pub(super) fn move_to(
        &mut self,
        watermark: EventTime,
        lateness: Span,
        issue: &mut impl FnMut(Issue<'_>),
    ) -> EventTime {
        let window = self.window;
        let mut due = EventTime(i64::MAX);
        for open in self.open.iter_mut().filter(|open| open.has_news()) {
            let end = window.end(open.start());
            if watermark >= end {
                open.issue_next(window, issue);
            } else {
                due = due.min(end);
            }
        }
        let dropped_at = |open: &OpenWindow| window.end(open.start()) + lateness;
        while self.open.front().is_some_and(|oldest| watermark >= dropped_at(oldest)) {
            self.open.pop_front();
        }
        // The oldest window is dropped first.
        self.open.front().map_or(due, |oldest| due.min(dropped_at(oldest)))
    }

    /// Issues every window with news.
    pub(super) fn flush(&mut self, issue: &mut impl FnMut(Issue<'_>)) {
        for open in self.open.iter_mut().filter(|open| open.has_news()) {
            open.issue_next(self.window, issue);
        }
    }

    /// Returns the provisional candles of the windows with news, in order of start.
    pub(super) fn provisional<'a>(&'a self, instrument: &'a Instrument) -> impl Iterator<Item = Candle> + 'a {
        self.open.iter().filter_map(move |open| open.provisional(instrument, self.window))
    }

    /// Adds a certified span to the windows that are not closed. Opens windows that do not exist yet, unless `advance`
    /// closes and drops them at once.
    pub(super) fn certify(
        &mut self,
        span: (EventTime, EventTime),
        advance: WatermarkAdvance,
        lateness: Span,
    ) -> Certified {
        let (from, to) = span;
        let (window, size, hop) = (self.window, self.window.size(), self.window.hop());
        let mut dropped = 0;
        let is_reached = |start: EventTime| start < to && start + size > from.max(advance.before);
        let newest = self.open.iter_mut().rev().take_while(|open| open.start() + size > from);
        for open in newest.filter(|open| is_reached(open.start())) {
            let bounds = (open.start(), window.end(open.start()));
            dropped += u64::from(open.cover(span, bounds));
        }
        // The first window to open ends after the span's beginning, is not closed, and is not dropped by this record.
        let dropped_until = advance.after.saturating_sub(lateness);
        let ends_after = from.max(advance.before).max(dropped_until);
        let mut due = EventTime(i64::MAX);
        let mut start = EventTime(ends_after.ms() - size.ms()).floor(hop) + hop;
        while start < to {
            let open = self.window_at(start);
            if open.is_new() {
                dropped += u64::from(open.cover(span, (start, start + size)));
                due = due.min(start + size + lateness);
            }
            start = start + hop;
        }
        Certified { due, dropped }
    }
}
