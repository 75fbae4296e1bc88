//! One window that can still change.

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, PartialCandle, Term};
use crate::coverage::Coverage;
use crate::instrument::Instrument;
use crate::time::EventTime;
use crate::window::Window;

/// A window that can still change: not closed, or within the allowed lateness after its close.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenWindow {
    start: EventTime,
    /// `None` while no tick counts in the window.
    ticks: Option<PartialCandle>,
    coverage: Coverage,
    /// Of the newest issue; 0 before the first.
    revision: u32,
    /// Whether a tick of the window is in no issue yet.
    has_news: bool,
}

/// A window to be issued, with its revision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Issue<'a> {
    /// Kind of the window.
    pub window: Window,
    /// First instant of the window.
    pub start: EventTime,
    /// 1 at the close, then one more for each late tick.
    pub revision: u32,
    /// Whether this is the first issue of the window.
    pub is_first: bool,
    ticks: &'a PartialCandle,
    coverage: &'a Coverage,
}

impl Issue<'_> {
    /// Returns the final candle of this issue.
    pub fn candle(&self, instrument: &Instrument) -> Candle {
        self.ticks.candle(instrument, (self.window, self.start), self.coverage.covered(), self.revision)
    }
}

impl OpenWindow {
    pub(super) fn new(start: EventTime) -> Self {
        Self { start, ticks: None, coverage: Coverage::default(), revision: 0, has_news: false }
    }

    pub(super) fn start(&self) -> EventTime {
        self.start
    }

    /// Whether the window holds neither a tick nor a span.
    pub(super) fn is_new(&self) -> bool {
        self.ticks.is_none() && self.coverage == Coverage::default()
    }

    /// Whether a tick of the window is in no issue yet.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// Notes that a tick of the window is in no issue yet.
    pub(super) fn mark_news(&mut self) {
        self.has_news = true;
    }

    /// Adds a tick that counts in this window, and the span of its bar. A closed window takes the tick's certified span
    /// too; an open window has it already. Returns how many spans coverage had no room for.
    pub(super) fn add(&mut self, term: &Term<'_>, bounds: (EventTime, EventTime), is_closed: bool) -> u64 {
        match &mut self.ticks {
            Some(ticks) => ticks.add(term),
            None => self.ticks = Some(PartialCandle::new(term)),
        }
        let tick = term.tick();
        let bar = tick.grain.map(|_| (tick.event, tick.end()));
        let spans = [bar, tick.certified().filter(|_| is_closed)];
        let dropped = spans.into_iter().flatten().filter(|&span| self.cover(span, bounds));
        dropped.count() as u64
    }

    /// Adds a span to the coverage. Returns whether coverage had no room for a span.
    pub(super) fn cover(&mut self, (from, to): (EventTime, EventTime), bounds: (EventTime, EventTime)) -> bool {
        self.coverage.add(from, to, bounds)
    }

    /// Issues the window at its close: without an issue when it holds no tick.
    pub(super) fn issue_next(&mut self, window: Window, issue: &mut impl FnMut(Issue<'_>)) {
        self.issue(window, self.revision + 1, issue);
    }

    /// Issues a closed window again. A window that closed without ticks counts as issued once, without a candle.
    pub(super) fn reissue(&mut self, window: Window, issue: &mut impl FnMut(Issue<'_>)) {
        self.issue(window, self.revision.max(1) + 1, issue);
    }

    fn issue(&mut self, window: Window, revision: u32, issue: &mut impl FnMut(Issue<'_>)) {
        let is_first = self.revision == 0;
        self.revision = revision;
        self.has_news = false;
        if let Some(ticks) = &self.ticks {
            issue(Issue { window, start: self.start, revision, is_first, ticks, coverage: &self.coverage });
        }
    }

    /// Returns the provisional candle of a window with news.
    pub(super) fn provisional(&self, instrument: &Instrument, window: Window) -> Option<Candle> {
        let ticks = self.ticks.as_ref().filter(|_| self.has_news)?;
        Some(ticks.candle(instrument, (window, self.start), self.coverage.covered(), 0))
    }
}
