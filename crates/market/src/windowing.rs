//! When windows open, close and are issued again, for one instrument.
//!
//! A window is issued (`final`) when the watermark reaches its end, or when a flush ends the recording. It stays open to
//! late ticks until the watermark reaches its end plus the allowed lateness; each of them issues it again with the next
//! revision. Windows without ticks are never issued.

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Partial};
use crate::instrument::Instrument;
use crate::tick::Tick;
use crate::time::{EventTime, Span};
use crate::window::Window;

/// How event time is judged. Part of what makes a result: another value is another result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How far behind the newest event a tick may arrive without being late.
    pub disorder: Span,
    /// How long after its end a window can still be revised.
    pub lateness: Span,
}

impl Default for Settings {
    /// 5 seconds of disorder, 10 minutes of lateness.
    fn default() -> Self {
        Self { disorder: Span::seconds(5), lateness: Span::minutes(10) }
    }
}

/// The windows of one instrument that can still change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Windowing {
    kinds: Vec<Kind>,
    /// Before this watermark nothing closes and nothing is forgotten. Saves a walk over all windows for each tick.
    due: EventTime,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kind {
    window: Window,
    /// Ascending by start.
    live: Vec<Live>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Live {
    start: EventTime,
    partial: Partial,
    /// Of the newest issue; 0 before the first.
    revision: u32,
    /// Holds a tick that no issue contains yet.
    dirty: bool,
}

/// A window to be issued: who, which and with what revision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Issue<'a> {
    /// Kind of window.
    pub window: Window,
    /// First instant of the window.
    pub start: EventTime,
    /// 1 at the close, then one more for each late tick.
    pub revision: u32,
    /// Whether this window was never issued before.
    pub is_first: bool,
    partial: &'a Partial,
}

impl Issue<'_> {
    /// The final candle of this issue.
    pub fn candle(&self, instrument: &Instrument) -> Candle {
        self.partial.candle(instrument, self.window, self.start, self.revision)
    }
}

impl Windowing {
    /// Starts with no ticks, for windows of the given kinds.
    pub fn new(windows: &[Window]) -> Self {
        let kinds = windows.iter().map(|&window| Kind { window, live: Vec::new() }).collect();
        Self { kinds, due: EventTime::MIN }
    }

    /// Adds an accepted tick to every window that contains it. `watermark` is the one before this tick; windows that
    /// have already closed are issued again at once.
    pub fn push(&mut self, tick: &Tick, watermark: EventTime, mut issue: impl FnMut(Issue<'_>)) {
        for kind in &mut self.kinds {
            let window = kind.window;
            for start in window.starts(tick.event) {
                let end = window.end(start);
                let live = kind.live_at(start, tick, end);
                if watermark >= end {
                    // A window that closed empty has had its first revision in silence.
                    live.issue(window, live.revision.max(1) + 1, &mut issue);
                } else {
                    live.dirty = true;
                }
                self.due = self.due.min(end);
            }
        }
    }

    /// Moves event time to `watermark`: issues, in order of start within each kind, what has closed, and forgets what
    /// can no longer be revised.
    pub fn advance(&mut self, watermark: EventTime, settings: Settings, mut issue: impl FnMut(Issue<'_>)) {
        if watermark < self.due {
            return;
        }
        self.due = EventTime(i64::MAX);
        for kind in &mut self.kinds {
            let window = kind.window;
            for live in &mut kind.live {
                if live.dirty && watermark >= window.end(live.start) {
                    live.issue(window, live.revision + 1, &mut issue);
                }
            }
            kind.live.retain(|live| watermark < window.end(live.start) + settings.lateness);
            for live in &kind.live {
                let end = window.end(live.start);
                self.due = self.due.min(if live.dirty { end } else { end + settings.lateness });
            }
        }
    }

    /// Ends the recording: issues every window that holds a tick which no issue contains yet. If more data comes for
    /// such a window it is open again, and its next close is the next revision.
    pub fn flush(&mut self, mut issue: impl FnMut(Issue<'_>)) {
        for kind in &mut self.kinds {
            for live in kind.live.iter_mut().filter(|live| live.dirty) {
                live.issue(kind.window, live.revision + 1, &mut issue);
            }
        }
        // What is due may now be later; an early look costs nothing but time.
    }

    /// The provisional candles of the windows that are still open and hold news, in order of kind and start.
    pub fn provisional<'a>(&'a self, instrument: &'a Instrument) -> impl Iterator<Item = Candle> + 'a {
        self.kinds.iter().flat_map(move |kind| {
            let open = kind.live.iter().filter(|live| live.dirty);
            open.map(move |live| live.partial.candle(instrument, kind.window, live.start, 0))
        })
    }
}

impl Kind {
    /// Adds the tick to the window at `start`, which is opened if need be. New ticks mostly belong to the newest window.
    fn live_at(&mut self, start: EventTime, tick: &Tick, end: EventTime) -> &mut Live {
        let idx = self.live.iter().rposition(|live| live.start <= start);
        let idx = match idx {
            Some(idx) if self.live[idx].start == start => {
                self.live[idx].partial.add(tick, end);
                idx
            }
            before => {
                let idx = before.map_or(0, |idx| idx + 1);
                let partial = Partial::new(tick, end);
                self.live.insert(idx, Live { start, partial, revision: 0, dirty: false });
                idx
            }
        };
        &mut self.live[idx]
    }
}

impl Live {
    fn issue(&mut self, window: Window, revision: u32, issue: &mut impl FnMut(Issue<'_>)) {
        let is_first = self.revision == 0;
        self.revision = revision;
        self.dirty = false;
        issue(Issue { window, start: self.start, revision, is_first, partial: &self.partial });
    }
}
