//! When windows open, close and are issued again, for one instrument.
//!
//! A window is issued (`final`) when the watermark reaches its end, or when a flush ends the recording. It stays open to
//! late ticks until the watermark reaches its end plus the allowed lateness; each of them issues it again with the next
//! revision. Windows without ticks are never issued.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Partial, Term};
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
    live: VecDeque<Live>,
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
        let kinds = windows.iter().map(|&window| Kind { window, live: VecDeque::new() }).collect();
        Self { kinds, due: EventTime::MIN }
    }

    /// Adds an accepted tick to every window that contains it. `watermark` is the one before this tick; windows that
    /// have already closed are issued again at once.
    pub fn push(&mut self, tick: &Tick, watermark: EventTime, mut issue: impl FnMut(Issue<'_>)) {
        let term = Term::new(tick);
        for kind in &mut self.kinds {
            let window = kind.window;
            for start in window.starts_from(kind.newest_start(tick.event)) {
                let end = window.end(start);
                let live = kind.live_at(start, &term, end);
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
                let end = window.end(live.start);
                if live.dirty && watermark >= end {
                    live.issue(window, live.revision + 1, &mut issue);
                } else if live.dirty {
                    self.due = self.due.min(end);
                }
            }
            while kind.live.front().is_some_and(|oldest| watermark >= window.end(oldest.start) + settings.lateness) {
                kind.live.pop_front();
            }
            // The oldest is forgotten first.
            if let Some(oldest) = kind.live.front() {
                self.due = self.due.min(window.end(oldest.start) + settings.lateness);
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
    /// The start of the newest window that contains `event`: mostly the newest window there is, which saves a division.
    fn newest_start(&self, event: EventTime) -> EventTime {
        let hop = self.window.hop();
        match self.live.back() {
            Some(newest) if newest.start <= event && event < newest.start + hop => newest.start,
            _ => event.floor(hop),
        }
    }

    /// Adds the tick to the window at `start`, which is opened if need be. New ticks mostly belong to the newest window.
    fn live_at(&mut self, start: EventTime, term: &Term<'_>, end: EventTime) -> &mut Live {
        let idx = self.live.iter().rposition(|live| live.start <= start);
        let idx = match idx {
            Some(idx) if self.live[idx].start == start => {
                self.live[idx].partial.add(term, end);
                idx
            }
            before => {
                let idx = before.map_or(0, |idx| idx + 1);
                let partial = Partial::new(term, end);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::watermark::Watermark;

    const SETTINGS: Settings = Settings { disorder: Span::seconds(5), lateness: Span::minutes(10) };

    fn tick(event_ms: i64, close: f64, feed_seq: u64) -> Tick {
        Tick {
            event: EventTime(event_ms),
            grain: Span::SECOND,
            id: Some(feed_seq),
            open: close,
            high: close + 1.0,
            low: close - 0.5,
            close,
            volume: Some(0.25),
            feed_seq,
        }
    }

    /// Windows as a step drives them, with the newest issue of each window.
    struct Driver {
        instrument: Instrument,
        windowing: Windowing,
        watermark: Watermark,
        newest: BTreeMap<(Window, EventTime), Candle>,
        issues: Vec<(Window, EventTime, u32)>,
    }

    impl Driver {
        fn new(windows: &[Window]) -> Self {
            Self {
                instrument: Instrument::new("bitcoin", "usd").expect("valid"),
                windowing: Windowing::new(windows),
                watermark: Watermark::default(),
                newest: BTreeMap::new(),
                issues: Vec::new(),
            }
        }

        fn drive(&mut self, step: impl FnOnce(&mut Windowing, &mut dyn FnMut(Issue<'_>))) {
            let Self { instrument, windowing, newest, issues, .. } = self;
            step(windowing, &mut |issue| {
                issues.push((issue.window, issue.start, issue.revision));
                let replaced = newest.insert((issue.window, issue.start), issue.candle(instrument));
                assert_eq!(replaced.is_none(), issue.is_first);
            });
        }

        fn push(&mut self, tick: &Tick) {
            let before = self.watermark.value(SETTINGS.disorder);
            self.watermark.observe(tick.event);
            let after = self.watermark.value(SETTINGS.disorder);
            self.drive(|windowing, issue| windowing.push(tick, before, issue));
            self.drive(|windowing, issue| windowing.advance(after, SETTINGS, issue));
        }

        fn heartbeat(&mut self, event_ms: i64) {
            self.watermark.observe(EventTime(event_ms));
            let after = self.watermark.value(SETTINGS.disorder);
            self.drive(|windowing, issue| windowing.advance(after, SETTINGS, issue));
        }

        fn flush(&mut self) {
            self.drive(|windowing, issue| windowing.flush(issue));
        }

        fn issued(&mut self) -> Vec<(&'static str, i64, u32)> {
            let issues = std::mem::take(&mut self.issues);
            issues.into_iter().map(|(window, start, revision)| (window.name(), start.ms() / 60_000, revision)).collect()
        }
    }

    #[test]
    fn a_window_closes_when_the_watermark_reaches_its_end_and_not_before() {
        let mut driver = Driver::new(&[Window::Minute]);
        driver.push(&tick(59_999, 10.0, 1));
        driver.push(&tick(64_999, 11.0, 2));
        assert_eq!(driver.issued(), []);
        driver.push(&tick(65_000, 12.0, 3));
        assert_eq!(driver.issued(), [("1m", 0, 1)]);
        driver.heartbeat(124_999);
        assert_eq!(driver.issued(), []);
        driver.heartbeat(125_000);
        assert_eq!(driver.issued(), [("1m", 1, 1)]);
    }

    #[test]
    fn a_late_tick_revises_exactly_the_windows_that_it_touches() {
        let windows = [Window::Minute, Window::FiveMinutes, Window::Hour, Window::HourEveryHalf];
        let mut driver = Driver::new(&windows);
        driver.push(&tick(30_000, 10.0, 1));
        driver.push(&tick(65 * 60_000, 11.0, 2));
        let closed = driver.issued();
        assert_eq!(closed, [("1m", 0, 1), ("5m", 0, 1), ("1h", 0, 1), ("1h-30m", -30, 1), ("1h-30m", 0, 1)]);
        // 64 min 50 s of watermark: the minute [58, 59) closed empty, the hour [0, 60) closed with one tick.
        driver.push(&tick(58 * 60_000, 9.0, 3));
        assert_eq!(driver.issued(), [("1m", 58, 2), ("5m", 55, 2), ("1h", 0, 2), ("1h-30m", 0, 2)]);
        driver.push(&tick(58 * 60_000 + 1, 8.0, 4));
        assert_eq!(driver.issued(), [("1m", 58, 3), ("5m", 55, 3), ("1h", 0, 3), ("1h-30m", 0, 3)]);
        assert_eq!(driver.newest[&(Window::Hour, EventTime(0))].count, 3);
    }

    #[test]
    fn after_a_flush_a_window_is_open_again_only_for_more_data() {
        let mut driver = Driver::new(&[Window::Minute]);
        driver.push(&tick(10_000, 10.0, 1));
        driver.flush();
        assert_eq!(driver.issued(), [("1m", 0, 1)]);
        driver.flush();
        driver.heartbeat(50_000);
        assert_eq!(driver.issued(), []);
        driver.push(&tick(52_000, 11.0, 2));
        assert_eq!(driver.issued(), []);
        driver.heartbeat(70_000);
        assert_eq!(driver.issued(), [("1m", 0, 2)]);
        assert_eq!(driver.newest[&(Window::Minute, EventTime(0))].count, 2);
    }

    #[test]
    fn state_is_bounded_by_the_allowed_lateness() {
        let mut driver = Driver::new(&Window::ALL);
        for minute in 0..10_000 {
            driver.push(&tick(minute * 60_000, 10.0, minute as u64));
            let live: usize = driver.windowing.kinds.iter().map(|kind| kind.live.len()).sum();
            assert!(live <= 12 + 4 + 2 + 2 + 2 + 3, "{live} windows");
        }
    }

    /// Ticks up to a minute apart in event time, with arrival delays below the disorder bound.
    fn arrivals() -> impl Strategy<Value = (Vec<Tick>, Vec<Tick>)> {
        prop::collection::vec((1_i64..60_000, 1.0..1e5_f64, 0_i64..5_000), 1..200).prop_map(|steps| {
            let mut event_ms = 1_583_020_800_000;
            let mut arriving = Vec::new();
            for (seq, (step, close, delay)) in steps.into_iter().enumerate() {
                event_ms += step;
                arriving.push((event_ms + delay, tick(event_ms, close, seq as u64 + 1)));
            }
            let in_order: Vec<Tick> = arriving.iter().map(|(_, tick)| *tick).collect();
            arriving.sort_by_key(|(arrival, tick)| (*arrival, tick.feed_seq));
            (in_order, arriving.into_iter().map(|(_, tick)| tick).collect())
        })
    }

    proptest! {
        #[test]
        fn any_order_within_the_disorder_bound_gives_the_same_candles((in_order, arriving) in arrivals()) {
            let mut expected: BTreeMap<(Window, EventTime), Partial> = BTreeMap::new();
            for tick in &in_order {
                for window in Window::ALL {
                    for start in window.starts(tick.event) {
                        let end = window.end(start);
                        let partial = expected.entry((window, start));
                        let term = Term::new(tick);
                        partial.and_modify(|partial| partial.add(&term, end)).or_insert_with(|| Partial::new(&term, end));
                    }
                }
            }
            let mut driver = Driver::new(&Window::ALL);
            arriving.iter().for_each(|tick| driver.push(tick));
            driver.flush();
            let instrument = driver.instrument.clone();
            let candle = |(&(window, start), partial): (&(Window, EventTime), &Partial)| {
                ((window, start), partial.candle(&instrument, window, start, 1))
            };
            prop_assert_eq!(driver.newest, expected.iter().map(candle).collect::<BTreeMap<_, _>>());
        }

        #[test]
        fn state_that_was_stored_and_read_goes_on_the_same((_, arriving) in arrivals(), cut in any::<prop::sample::Index>()) {
            let mut driver = Driver::new(&Window::ALL);
            let mut resumed = Driver::new(&Window::ALL);
            let cut = cut.index(arriving.len());
            for (idx, tick) in arriving.iter().enumerate() {
                driver.push(tick);
                resumed.push(tick);
                if idx == cut {
                    let stored = serde_json::to_string(&resumed.windowing).unwrap();
                    resumed.windowing = serde_json::from_str(&stored).unwrap();
                }
            }
            prop_assert_eq!(driver.newest, resumed.newest);
            prop_assert_eq!(driver.windowing, resumed.windowing);
        }
    }
}
