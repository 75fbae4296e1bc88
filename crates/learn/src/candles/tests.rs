use std::collections::BTreeMap;

use market::watermark::WatermarkAdvance;
use market::windowing::{EventTimePolicy, Issue, Windowing};
use market::{Recipe, Span};
use proptest::prelude::*;

use super::*;

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").expect("valid")
}

fn tick(event: i64, grain: Span) -> Tick {
    let close = 100.0 + (event as f64 / 7e5).sin();
    let bar = Tick::bar(EventTime(event), grain, [close, close * 1.001, close * 0.999, close]);
    Tick { volume: Some(1.5), feed_seq: 1 + event as u64 / 60_000, ..bar }
}

fn ticks(count: i64, grain: Span) -> Vec<Tick> {
    (0..count).map(|idx| tick(idx * grain.ms(), grain)).collect()
}

fn choose(interval: Interval, ticks: &[Tick], min_coverage: f64) -> (Window, usize) {
    let spec = RowSpec { recipe: Recipe::Returns, horizon: 1, min_coverage };
    let (window, folded) = interval.choose(ticks, &bitcoin(), spec);
    (window, spec.count_rows(&folded.candles))
}

#[test]
fn auto_takes_the_longest_interval_with_enough_rows() {
    let cases = [
        (1_000, Span::MINUTE, (Window::Minute, 975)),
        (2_025 * 5, Span::MINUTE, (Window::FiveMinutes, 2_000)),
        (2_025 * 5 - 1, Span::MINUTE, (Window::Minute, 10_099)),
        (44_512, Span::MINUTE, (Window::QuarterHour, 2_942)),
        (100, Span::HOUR, (Window::Hour, 75)),
        (2_025 * 24, Span::HOUR, (Window::Day, 2_000)),
        (43_789, Span::HOUR, (Window::Hour, 43_764)),
        (10, Span(7 * Span::DAY.ms()), (Window::Day, 0)),
        (0, Span::MINUTE, (Window::Day, 0)),
    ];
    for (count, grain, expected) in cases {
        assert_eq!(choose(Interval::Auto, &ticks(count, grain), 0.5), expected, "{count} of {grain:?}");
    }
}

#[test]
fn auto_counts_only_usable_candles_with_neighbors() {
    // A hole every 25 minutes leaves no minute with 25 before it, but few candles of five minutes become thin.
    let torn: Vec<Tick> =
        ticks(2_000, Span::MINUTE).into_iter().filter(|tick| tick.event.ms() / 60_000 % 25 != 0).collect();
    assert_eq!(choose(Interval::Fixed(Window::Minute), &torn, 0.5), (Window::Minute, 0));
    assert_eq!(choose(Interval::Auto, &torn, 0.5), (Window::FiveMinutes, 375));
    // One minute in three: no candle is known to half, all but minutes are known to 0.3.
    let sparse: Vec<Tick> = ticks(30_000, Span::MINUTE).into_iter().step_by(3).collect();
    assert_eq!(choose(Interval::Auto, &sparse, 0.5).1, 0);
    assert_eq!(choose(Interval::Auto, &sparse, 0.3), (Window::QuarterHour, 1_974));
}

#[test]
fn history_of_a_coarser_grain_does_not_lengthen_live_minutes() {
    let mut mixed = ticks(30, Span::DAY);
    mixed.extend((0..3_000).map(|idx| tick(40 * Span::DAY.ms() + idx * 60_000, Span::MINUTE)));
    assert_eq!(choose(Interval::Auto, &mixed, 0.5).0, Window::Minute);
}

#[test]
fn unheld_bars_and_an_open_candle_are_counted() {
    let half_past: Vec<Tick> = (0..10).map(|idx| tick(30 * 60_000 + idx * Span::DAY.ms(), Span::DAY)).collect();
    let days = fold(&half_past, &bitcoin(), Window::Day);
    assert_eq!((days.candles.len(), days.open, days.long_bars), (0, 0, 10));
    let minutes = fold(&ticks(150, Span::MINUTE), &bitcoin(), Window::Hour);
    assert_eq!((minutes.candles.len(), minutes.open, minutes.long_bars), (2, 1, 0));
}

/// A record of a stream: time since the record before, the length of its bar in seconds or none, and whether its source
/// is certified since the record before.
#[derive(Debug, Clone, Copy)]
enum Record {
    Bar { step_ms: i64, grain_s: i64, is_certified: bool },
    Point { step_ms: i64, is_certified: bool },
    Heartbeat { step_ms: i64, is_certified: bool },
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let step = || prop_oneof![Just(0_i64), 1_i64..40_000, 40_000_i64..900_000];
    let grain = prop::sample::select(vec![1_i64, 30, 60, 61, 300, 900, 3_600, 86_400]);
    let record = prop_oneof![
        (step(), grain, any::<bool>()).prop_map(|(step_ms, grain_s, is_certified)| Record::Bar {
            step_ms,
            grain_s,
            is_certified
        }),
        (step(), any::<bool>()).prop_map(|(step_ms, is_certified)| Record::Point { step_ms, is_certified }),
        (step(), any::<bool>()).prop_map(|(step_ms, is_certified)| Record::Heartbeat { step_ms, is_certified }),
    ];
    prop::collection::vec(record, 1..300)
}

/// Returns which records are certified since the record before. Where certification breaks, a tick certifies no time
/// before the break; heartbeats between the tick before and the break certify nothing here, because no tick can repeat
/// their span.
fn unbroken(records: &[Record]) -> Vec<bool> {
    let mut follows = true;
    let mut certified: Vec<bool> = Vec::new();
    for record in records.iter().rev() {
        follows = match *record {
            Record::Bar { is_certified, .. } | Record::Point { is_certified, .. } => is_certified,
            Record::Heartbeat { is_certified, .. } => is_certified && follows,
        };
        certified.push(follows);
    }
    certified.reverse();
    certified
}

/// Ticks as the archive has them, and the candles that a step makes of the whole stream, its windows closed in order.
struct Streamed {
    windowing: Windowing,
    policy: EventTimePolicy,
    watermark: EventTime,
    ticks: Vec<Tick>,
    candles: BTreeMap<EventTime, Candle>,
}

impl Streamed {
    fn new(window: Window, disorder: Span) -> Self {
        let policy = EventTimePolicy { disorder, lateness: Span::minutes(10) };
        let (ticks, candles) = (Vec::new(), BTreeMap::new());
        Self { windowing: Windowing::new(&[window]), policy, watermark: EventTime::MIN, ticks, candles }
    }

    fn advance(&mut self, after: EventTime) -> WatermarkAdvance {
        let after = after.max(self.watermark);
        WatermarkAdvance { before: std::mem::replace(&mut self.watermark, after), after }
    }

    fn push(&mut self, tick: Tick) {
        let advance = self.advance(tick.event.saturating_sub(self.policy.disorder));
        let issue = |issue: Issue<'_>| drop(self.candles.insert(issue.start, issue.candle(&bitcoin())));
        self.windowing.push(&tick, advance, self.policy, issue);
        self.ticks.push(tick);
    }

    fn heartbeat(&mut self, certified: Option<(EventTime, EventTime)>, after: EventTime) {
        let advance = self.advance(after);
        let issue = |issue: Issue<'_>| drop(self.candles.insert(issue.start, issue.candle(&bitcoin())));
        self.windowing.heartbeat(certified, advance, self.policy, issue);
    }

    /// Plays the records up to the last tick: the archive does not hold later certified spans.
    fn play(mut self, records: &[Record]) -> Self {
        let certified = unbroken(records);
        let newest = records.iter().rposition(|record| !matches!(record, Record::Heartbeat { .. }));
        let mut now = EventTime(1_583_020_800_000);
        // Event time since which the source is certified without a break, at most since the tick before.
        let mut since = now;
        for ((record, is_certified), seq) in
            records[..newest.map_or(0, |idx| idx + 1)].iter().zip(certified).zip(1_u64..)
        {
            let (Record::Bar { step_ms, .. } | Record::Point { step_ms, .. } | Record::Heartbeat { step_ms, .. }) =
                *record;
            let before = now;
            now = now + Span(step_ms);
            if !is_certified {
                since = now;
            }
            let grain = match record {
                Record::Heartbeat { .. } => {
                    let certified = is_certified.then_some((before, now));
                    self.heartbeat(certified, now.saturating_sub(self.policy.disorder));
                    continue;
                }
                Record::Bar { grain_s, .. } => Some(Span::seconds(*grain_s)),
                Record::Point { .. } => None,
            };
            let volume = Some(1.5).filter(|_| seq % 3 > 0);
            let (quote_volume, filled) =
                (Some(seq as f64 * 0.1).filter(|_| !seq.is_multiple_of(5)), seq.is_multiple_of(7));
            let complete = (since < now).then_some(now - since);
            let traded = Tick { volume, quote_volume, filled, ..tick(now.ms(), Span::SECOND) };
            self.push(Tick { grain, complete, id: Some(seq), feed_seq: seq, ..traded });
            since = now;
        }
        let end = self.ticks.iter().map(Tick::end).max().unwrap_or(now);
        self.heartbeat(None, end);
        self
    }
}

proptest! {
    #[test]
    fn candles_of_the_archive_are_those_of_the_stream(
        records in records(),
        window in prop::sample::select(INTERVALS.to_vec()),
        disorder in prop::sample::select(vec![0_i64, 5, 3_600]),
    ) {
        let streamed = Streamed::new(window, Span::seconds(disorder)).play(&records);
        let folded = fold(&streamed.ticks, &bitcoin(), window);
        prop_assert_eq!(folded.candles, streamed.candles.into_values().collect::<Vec<_>>());
    }
}
