use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::candle::PartialCandle;
use crate::coverage::Coverage;
use crate::watermark::Watermark;

const POLICY: EventTimePolicy = EventTimePolicy { disorder: Span::seconds(5), lateness: Span::minutes(10) };

fn tick(event_ms: i64, close: f64, feed_seq: u64) -> Tick {
    let prices = [close, close + 1.0, close - 0.5, close];
    Tick {
        id: Some(feed_seq),
        volume: Some(0.25),
        quote_volume: Some(close * 0.25).filter(|_| !feed_seq.is_multiple_of(9)),
        filled: feed_seq.is_multiple_of(4),
        feed_seq,
        ..Tick::bar(EventTime(event_ms), Span::SECOND, prices)
    }
}

/// Drives windows as a step does, and keeps the newest issue of each window.
struct Driver {
    instrument: Instrument,
    policy: EventTimePolicy,
    windowing: Windowing,
    watermark: Watermark,
    newest: BTreeMap<(Window, EventTime), Candle>,
    issues: Vec<(Window, EventTime, u32)>,
}

impl Driver {
    fn new(windows: &[Window]) -> Self {
        Self {
            instrument: Instrument::new("bitcoin", "usd").expect("valid"),
            policy: POLICY,
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
        let (advance, policy) = (self.observe(tick.event), self.policy);
        self.drive(|windowing, issue| _ = windowing.push(tick, advance, policy, issue));
    }

    fn heartbeat(&mut self, event_ms: i64) {
        self.certify(event_ms, None);
    }

    fn certify(&mut self, event_ms: i64, complete_ms: Option<i64>) {
        let (advance, policy) = (self.observe(EventTime(event_ms)), self.policy);
        let certified = complete_ms.map(|complete| (EventTime(event_ms - complete), EventTime(event_ms)));
        self.drive(|windowing, issue| _ = windowing.heartbeat(certified, advance, policy, issue));
    }

    fn observe(&mut self, event: EventTime) -> WatermarkAdvance {
        self.watermark.advance(event, self.policy.disorder)
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
fn a_window_closes_when_the_watermark_reaches_its_end() {
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
fn only_later_ticks_open_a_flushed_window_again() {
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

/// A point that certifies this much of the time before it.
fn point(event_ms: i64, complete_ms: Option<i64>, feed_seq: u64) -> Tick {
    Tick { grain: None, complete: complete_ms.map(Span), ..tick(event_ms, 10.0, feed_seq) }
}

fn bar(event_ms: i64, grain: Span, feed_seq: u64) -> Tick {
    Tick { grain: Some(grain), ..tick(event_ms, 10.0, feed_seq) }
}

#[test]
fn a_long_bar_counts_only_in_windows_that_hold_all_of_it() {
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

/// A bar of a minute counts in the window in which it begins, and covers only its part inside.
#[test]
fn a_minute_bar_counts_where_it_begins() {
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
fn a_certified_span_counts_while_its_window_is_open() {
    let mut driver = Driver::new(&[Window::Minute]);
    // The first half minute is certified without a tick.
    driver.certify(30_000, Some(30_000));
    driver.push(&point(45_000, Some(10_000), 1));
    // This tick closes the first minute and certifies its end.
    driver.push(&point(65_000, Some(10_000), 2));
    assert_eq!(driver.coverage(Window::Minute, 0), 45_000.0 / 60_000.0);
    // The first minute is closed: a certified span of it now comes too late.
    driver.certify(70_000, Some(70_000));
    driver.push(&point(20_000, Some(20_000), 3));
    assert_eq!(driver.coverage(Window::Minute, 0), 45_000.0 / 60_000.0);
    // A late tick of it brings its own span.
    driver.push(&point(50_000, Some(10_000), 4));
    assert_eq!(driver.coverage(Window::Minute, 0), 50_000.0 / 60_000.0);
    driver.heartbeat(125_000);
    assert_eq!(driver.coverage(Window::Minute, 1), 10_000.0 / 60_000.0);
    assert_eq!(driver.issued(), [("1m", 0, 1), ("1m", 0, 2), ("1m", 0, 3), ("1m", 1, 1)]);
}

/// A window without ticks gives no candle, but keeps its coverage for a late tick.
#[test]
fn a_window_without_ticks_keeps_its_coverage() {
    let mut driver = Driver::new(&[Window::Minute]);
    driver.certify(200_000, Some(200_000));
    assert_eq!(driver.issued(), []);
    driver.push(&point(30_000, None, 1));
    assert_eq!(driver.issued(), [("1m", 0, 2)]);
    assert_eq!(driver.coverage(Window::Minute, 0), 1.0);
}

#[test]
fn a_certified_year_opens_only_windows_that_can_change() {
    let mut driver = Driver::new(&Window::ALL);
    let year = 366 * Span::DAY.ms();
    driver.push(&point(0, None, 1));
    driver.push(&point(year, Some(year), 2));
    let live: usize = driver.windowing.series.iter().map(WindowSeries::len).sum();
    assert!(live <= 12 + 4 + 2 + 2 + 2 + 3, "{live} windows");
    assert_eq!((driver.coverage(Window::Minute, 0), driver.coverage(Window::Day, 0)), (1.0, 1.0));
}

#[test]
fn state_is_bounded_by_the_allowed_lateness() {
    let mut driver = Driver::new(&Window::ALL);
    for minute in 0..10_000 {
        driver.push(&tick(minute * 60_000, 10.0, minute as u64));
        let live: usize = driver.windowing.series.iter().map(WindowSeries::len).sum();
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

    /// No window closes before the flush, so the order must not matter.
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
        driver.policy.disorder = Span(30 * Span::DAY.ms());
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
    fn a_stored_and_restored_state_continues_the_same((_, arriving) in arrivals(), cut in any::<prop::sample::Index>()) {
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
