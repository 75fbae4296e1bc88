//! When windows open, close and are issued again, for one instrument.
//!
//! A window is issued (`final`) when the watermark reaches its end, or when a flush ends the recording. It stays open to
//! late ticks until the watermark reaches its end plus the allowed lateness; each of them issues it again with the next
//! revision. Windows without ticks are never issued.
//!
//! How much of a window is known is kept beside its ticks, also while it has none. What a source certifies counts in windows
//! that are open when the record comes, before that record's own time closes any. Of closed windows only those that a late
//! tick counts in learn from it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, PartialCandle, Term};
use crate::coverage::Coverage;
use crate::instrument::Instrument;
use crate::tick::Tick;
use crate::time::{EventTime, Span};
use crate::watermark::WatermarkAdvance;
use crate::window::Window;

/// How event time is judged. Part of what makes a result: another value is another result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimePolicy {
    /// How far behind the newest event a tick may arrive without being late.
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
    kinds: Vec<WindowSeries>,
    /// Before this watermark nothing closes and nothing is forgotten. Saves a walk over all windows for each tick.
    due: EventTime,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct WindowSeries {
    window: Window,
    /// Ascending by start.
    live: VecDeque<OpenWindow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenWindow {
    start: EventTime,
    /// None while it is only known that there was nothing.
    ticks: Option<PartialCandle>,
    coverage: Coverage,
    /// Of the newest issue; 0 before the first.
    revision: u32,
    /// Holds a tick that no issue contains yet.
    dirty: bool,
}

/// A window to be issued: who, which and with what revision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Issue<'a> {
    /// WindowSeries of window.
    pub window: Window,
    /// First instant of the window.
    pub start: EventTime,
    /// 1 at the close, then one more for each late tick.
    pub revision: u32,
    /// Whether this window was never issued before.
    pub is_first: bool,
    ticks: &'a PartialCandle,
    coverage: &'a Coverage,
}

impl Issue<'_> {
    /// The final candle of this issue.
    pub fn candle(&self, instrument: &Instrument) -> Candle {
        self.ticks.candle(instrument, (self.window, self.start), self.coverage.covered(), self.revision)
    }
}

impl Windowing {
    /// Starts with no ticks, for windows of the given kinds.
    pub fn new(windows: &[Window]) -> Self {
        let kinds = windows.iter().map(|&window| WindowSeries { window, live: VecDeque::new() }).collect();
        Self { kinds, due: EventTime::MIN }
    }

    /// Adds an accepted tick to every window that it counts in, and the span that its source certifies to every open one.
    /// Windows that have already closed are issued again at once. Then what `progress` closes is issued, in order of start
    /// within each kind, and what can no longer be revised is forgotten.
    ///
    /// Returns how many spans coverage had no room for.
    pub fn push(
        &mut self,
        tick: &Tick,
        progress: WatermarkAdvance,
        settings: EventTimePolicy,
        mut issue: impl FnMut(Issue<'_>),
    ) -> u64 {
        let mut dropped = self.certify(tick.certified(), progress, settings);
        let term = Term::new(tick);
        for kind in &mut self.kinds {
            let window = kind.window;
            for start in window.starts_from(kind.newest_start(tick.event)) {
                let end = window.end(start);
                if !tick.counts_in(start, end) {
                    continue;
                }
                let live = kind.live_at(start);
                let is_closed = progress.before >= end;
                dropped += live.add(&term, (start, end), is_closed);
                if is_closed {
                    // A window that closed empty has had its first revision in silence.
                    live.issue(window, live.revision.max(1) + 1, &mut issue);
                } else {
                    live.dirty = true;
                }
                self.due = self.due.min(end);
            }
        }
        self.advance(progress.after, settings, issue);
        dropped
    }

    /// The kinds of which no window holds all of a bar, so that it counts in none of them.
    pub fn too_short_for<'a>(&'a self, tick: &'a Tick) -> impl Iterator<Item = Window> + 'a {
        let takes = |window: Window| window.starts(tick.event).any(|start| tick.counts_in(start, window.end(start)));
        let is_long = tick.is_long();
        self.kinds.iter().map(|kind| kind.window).filter(move |&window| is_long && !takes(window))
    }

    /// Takes a heartbeat: the span that its source certifies counts in every open window. Then event time moves as in
    /// [`Windowing::push`].
    pub fn heartbeat(
        &mut self,
        certified: Option<(EventTime, EventTime)>,
        progress: WatermarkAdvance,
        settings: EventTimePolicy,
        issue: impl FnMut(Issue<'_>),
    ) -> u64 {
        let dropped = self.certify(certified, progress, settings);
        self.advance(progress.after, settings, issue);
        dropped
    }

    fn advance(&mut self, watermark: EventTime, settings: EventTimePolicy, mut issue: impl FnMut(Issue<'_>)) {
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
            open.filter_map(move |live| {
                let covered = live.coverage.covered();
                Some(live.ticks.as_ref()?.candle(instrument, (kind.window, live.start), covered, 0))
            })
        })
    }

    fn certify(
        &mut self,
        certified: Option<(EventTime, EventTime)>,
        progress: WatermarkAdvance,
        settings: EventTimePolicy,
    ) -> u64 {
        let Some(span) = certified else { return 0 };
        let mut dropped = 0;
        for kind in &mut self.kinds {
            let certified = kind.certify(span, progress, settings.lateness);
            self.due = self.due.min(certified.due);
            dropped += certified.dropped;
        }
        dropped
    }
}

/// What became of a certified span in the windows of one kind.
struct Certified {
    /// When the first window that it opened is forgotten.
    due: EventTime,
    /// Spans that coverage had no room for.
    dropped: u64,
}

impl WindowSeries {
    /// The start of the newest window that contains `event`: mostly the newest window there is, which saves a division.
    fn newest_start(&self, event: EventTime) -> EventTime {
        let hop = self.window.hop();
        match self.live.back() {
            Some(newest) if newest.start <= event && event < newest.start + hop => newest.start,
            _ => event.floor(hop),
        }
    }

    /// The window at `start`, which is opened if need be. It is mostly the newest.
    fn live_at(&mut self, start: EventTime) -> &mut OpenWindow {
        let idx = match self.live.iter().rposition(|live| live.start <= start) {
            Some(idx) if self.live[idx].start == start => idx,
            before => {
                let idx = before.map_or(0, |idx| idx + 1);
                self.live.insert(idx, OpenWindow::new(start));
                idx
            }
        };
        &mut self.live[idx]
    }

    /// Adds a certified span to the open windows. Those that are not there yet are opened, unless `progress` closes and forgets
    /// them at once.
    fn certify(&mut self, (from, to): (EventTime, EventTime), progress: WatermarkAdvance, lateness: Span) -> Certified {
        let (window, size, hop) = (self.window, self.window.size(), self.window.hop());
        let mut dropped = 0;
        let is_reached = |start: EventTime| start < to && start + size > from.max(progress.before);
        let newest = self.live.iter_mut().rev().take_while(|live| live.start + size > from);
        for live in newest.filter(|live| is_reached(live.start)) {
            dropped += u64::from(live.coverage.add(from, to, (live.start, window.end(live.start))));
        }
        // The first that ends behind the span's beginning, is open, and is remembered.
        let remembered = progress.after.saturating_sub(lateness);
        let behind = from.max(progress.before).max(remembered);
        let mut due = EventTime(i64::MAX);
        let mut start = EventTime(behind.ms() - size.ms()).floor(hop) + hop;
        while start < to {
            let live = self.live_at(start);
            if live.is_new() {
                dropped += u64::from(live.coverage.add(from, to, (start, start + size)));
                due = due.min(start + size + lateness);
            }
            start = start + hop;
        }
        Certified { due, dropped }
    }
}

impl OpenWindow {
    fn new(start: EventTime) -> Self {
        Self { start, ticks: None, coverage: Coverage::default(), revision: 0, dirty: false }
    }

    /// Whether it was opened just now.
    fn is_new(&self) -> bool {
        self.ticks.is_none() && self.coverage == Coverage::default()
    }

    /// Adds a tick that counts in this window, with its bar; the span that it certifies too where the window is closed, which
    /// open windows have already. Returns how many spans had to go.
    fn add(&mut self, term: &Term<'_>, bounds: (EventTime, EventTime), is_closed: bool) -> u64 {
        match &mut self.ticks {
            Some(ticks) => ticks.add(term),
            None => self.ticks = Some(PartialCandle::new(term)),
        }
        let tick = term.tick();
        let bar = tick.grain.map(|_| (tick.event, tick.end()));
        let spans = [bar, tick.certified().filter(|_| is_closed)];
        let dropped = spans.into_iter().flatten().filter(|&(from, to)| self.coverage.add(from, to, bounds));
        dropped.count() as u64
    }

    fn issue(&mut self, window: Window, revision: u32, issue: &mut impl FnMut(Issue<'_>)) {
        let is_first = self.revision == 0;
        self.revision = revision;
        self.dirty = false;
        if let Some(ticks) = &self.ticks {
            issue(Issue { window, start: self.start, revision, is_first, ticks, coverage: &self.coverage });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::watermark::Watermark;

    const SETTINGS: EventTimePolicy = EventTimePolicy { disorder: Span::seconds(5), lateness: Span::minutes(10) };

    fn tick(event_ms: i64, close: f64, feed_seq: u64) -> Tick {
        Tick {
            event: EventTime(event_ms),
            grain: Some(Span::SECOND),
            complete: None,
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
        settings: EventTimePolicy,
        windowing: Windowing,
        watermark: Watermark,
        newest: BTreeMap<(Window, EventTime), Candle>,
        issues: Vec<(Window, EventTime, u32)>,
    }

    impl Driver {
        fn new(windows: &[Window]) -> Self {
            Self {
                instrument: Instrument::new("bitcoin", "usd").expect("valid"),
                settings: SETTINGS,
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
            let (progress, settings) = (self.observe(tick.event), self.settings);
            self.drive(|windowing, issue| _ = windowing.push(tick, progress, settings, issue));
        }

        fn heartbeat(&mut self, event_ms: i64) {
            self.certify(event_ms, None);
        }

        fn certify(&mut self, event_ms: i64, complete_ms: Option<i64>) {
            let (progress, settings) = (self.observe(EventTime(event_ms)), self.settings);
            let certified = complete_ms.map(|complete| (EventTime(event_ms - complete), EventTime(event_ms)));
            self.drive(|windowing, issue| _ = windowing.heartbeat(certified, progress, settings, issue));
        }

        fn observe(&mut self, event: EventTime) -> WatermarkAdvance {
            self.watermark.advance(event, self.settings.disorder)
        }

        fn coverage(&self, window: Window, minute: i64) -> f64 {
            self.newest[&(window, EventTime(minute * 60_000))].coverage
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

    /// A point that certifies so much of the time before it.
    fn point(event_ms: i64, complete_ms: Option<i64>, feed_seq: u64) -> Tick {
        Tick { grain: None, complete: complete_ms.map(Span), ..tick(event_ms, 10.0, feed_seq) }
    }

    /// A bar.
    fn bar(event_ms: i64, grain: Span, feed_seq: u64) -> Tick {
        Tick { grain: Some(grain), ..tick(event_ms, 10.0, feed_seq) }
    }

    #[test]
    fn a_long_bar_counts_only_where_all_of_it_lies() {
        let mut driver = Driver::new(&Window::ALL);
        let hour = Span::HOUR.ms();
        driver.push(&bar(hour, Span::HOUR, 1));
        driver.push(&bar(2 * hour + 1, Span::HOUR, 2));
        driver.push(&bar(26 * hour, Span::DAY, 3));
        driver.flush();
        let counted: Vec<_> = driver.newest.values().map(|candle| (candle.window.name(), candle.count)).collect();
        assert_eq!(counted, [("1h", 1), ("1d", 2), ("1h-30m", 1)]);
        assert_eq!((driver.coverage(Window::Hour, 60), driver.coverage(Window::Day, 0)), (1.0, 2.0 / 24.0));
    }

    #[test]
    fn a_bar_of_a_minute_counts_where_it_begins_and_covers_no_more_of_it() {
        let mut driver = Driver::new(&[Window::Minute]);
        driver.push(&bar(41_305, Span::MINUTE, 1));
        driver.push(&bar(101_305, Span::MINUTE, 2));
        driver.flush();
        assert_eq!(driver.coverage(Window::Minute, 0), 18_695.0 / 60_000.0);
        assert_eq!(driver.coverage(Window::Minute, 1), 18_695.0 / 60_000.0);
    }

    #[test]
    fn overlapping_bars_cover_once() {
        let mut driver = Driver::new(&[Window::Day]);
        let minutes = (0..20).chain(150..180);
        minutes.zip(1..).for_each(|(minute, seq)| driver.push(&bar(minute * 60_000, Span::HOUR, seq)));
        driver.flush();
        assert_eq!(driver.coverage(Window::Day, 0), (79.0 + 89.0) / 1_440.0);
    }

    #[test]
    fn what_is_certified_counts_while_its_window_is_open() {
        let mut driver = Driver::new(&[Window::Minute]);
        // Nothing happens for the first half minute, which is known before there is a tick.
        driver.certify(30_000, Some(30_000));
        driver.push(&point(45_000, Some(10_000), 1));
        // It closes the first minute and certifies its end.
        driver.push(&point(65_000, Some(10_000), 2));
        assert_eq!(driver.coverage(Window::Minute, 0), 45_000.0 / 60_000.0);
        // The first minute is closed: what is certified of it now comes too late.
        driver.certify(70_000, Some(70_000));
        driver.push(&point(20_000, Some(20_000), 3));
        assert_eq!(driver.coverage(Window::Minute, 0), 45_000.0 / 60_000.0);
        // But a late tick of it brings its own span.
        driver.push(&point(50_000, Some(10_000), 4));
        assert_eq!(driver.coverage(Window::Minute, 0), 50_000.0 / 60_000.0);
        driver.heartbeat(125_000);
        assert_eq!(driver.coverage(Window::Minute, 1), 10_000.0 / 60_000.0);
        assert_eq!(driver.issued(), [("1m", 0, 1), ("1m", 0, 2), ("1m", 0, 3), ("1m", 1, 1)]);
    }

    #[test]
    fn a_window_without_ticks_gives_no_candle_but_remembers_for_a_late_one() {
        let mut driver = Driver::new(&[Window::Minute]);
        driver.certify(200_000, Some(200_000));
        assert_eq!(driver.issued(), []);
        driver.push(&point(30_000, None, 1));
        assert_eq!(driver.issued(), [("1m", 0, 2)]);
        assert_eq!(driver.coverage(Window::Minute, 0), 1.0);
    }

    #[test]
    fn a_year_that_is_certified_at_once_opens_only_what_can_be_revised() {
        let mut driver = Driver::new(&Window::ALL);
        let year = 366 * Span::DAY.ms();
        driver.push(&point(0, None, 1));
        driver.push(&point(year, Some(year), 2));
        let live: usize = driver.windowing.kinds.iter().map(|kind| kind.live.len()).sum();
        assert!(live <= 12 + 4 + 2 + 2 + 2 + 3, "{live} windows");
        assert_eq!((driver.coverage(Window::Minute, 0), driver.coverage(Window::Day, 0)), (1.0, 1.0));
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
            let mut expected: BTreeMap<(Window, EventTime), (PartialCandle, Coverage)> = BTreeMap::new();
            for tick in &in_order {
                for window in Window::ALL {
                    for start in window.starts(tick.event) {
                        let term = Term::new(tick);
                        let of_window = expected.entry((window, start));
                        let of_window = of_window
                            .and_modify(|(partial, _)| partial.add(&term))
                            .or_insert_with(|| (PartialCandle::new(&term), Coverage::default()));
                        of_window.1.add(tick.event, tick.end(), (start, window.end(start)));
                    }
                }
            }
            let mut driver = Driver::new(&Window::ALL);
            arriving.iter().for_each(|tick| driver.push(tick));
            driver.flush();
            let instrument = driver.instrument.clone();
            let candle = |(&at, (partial, coverage)): (&(Window, EventTime), &(PartialCandle, Coverage))| {
                (at, partial.candle(&instrument, at, coverage.covered(), 1))
            };
            prop_assert_eq!(driver.newest, expected.iter().map(candle).collect::<BTreeMap<_, _>>());
        }

        /// Nothing closes before the flush, so that order must not matter.
        #[test]
        fn coverage_is_the_plain_union_of_bars_and_certified_spans(
            records in prop::collection::vec((0_i64..400, prop::option::of(1_i64..130), prop::option::of(0_i64..90)), 1..40),
        ) {
            let records = records.into_iter().map(|(at, grain, complete)| {
                (Tick { complete: complete.map(Span::minutes), ..point(Span::minutes(at).ms(), None, 1) }, grain)
            });
            let ticks: Vec<Tick> = records.zip(1..).map(|((tick, grain), seq)| {
                Tick { grain: grain.map(Span::minutes), id: Some(seq), feed_seq: seq, ..tick }
            }).collect();
            let mut driver = Driver::new(&Window::ALL);
            driver.settings.disorder = Span(30 * Span::DAY.ms());
            ticks.iter().for_each(|tick| driver.push(tick));
            driver.flush();
            for (&(window, start), candle) in &driver.newest {
                let end = window.end(start);
                let bars = ticks.iter().filter(|tick| tick.counts_in(start, end) && tick.grain.is_some());
                let spans: Vec<_> = bars.map(|tick| (tick.event, tick.end())).chain(ticks.iter().filter_map(Tick::certified)).collect();
                let known = |minute: &i64| {
                    let at = start + Span::minutes(*minute);
                    spans.iter().any(|&(from, to)| from <= at && at < to)
                };
                let minutes = window.size().ms() / 60_000;
                let expected = (0..minutes).filter(known).count() as f64 / minutes as f64;
                prop_assert_eq!(candle.coverage, expected, "{:?}", candle);
            }
            let counted: u64 = driver.newest.values().filter(|candle| candle.window == Window::Day).map(|candle| candle.count).sum();
            let in_day = |tick: &&Tick| Window::Day.starts(tick.event).any(|start| tick.counts_in(start, Window::Day.end(start)));
            prop_assert_eq!(counted, ticks.iter().filter(in_day).count() as u64);
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
