use std::sync::Arc;

use market::validate::{PRICE_MAX, PRICE_MIN};
use market::{Candle, Tick, Window};
use proptest::prelude::*;

use super::*;
use crate::features::observed::{LOOKBACK, RANGE_POINTS_MIN};
use crate::features::volatility::{self, RANGE_MIN};
use crate::leakage::first_leak;
use crate::lookback::feature_rows;
use crate::row_spec::RowSpec;

/// An hour that closes at `close`.
pub(crate) fn candle(idx: i64, close: f64) -> Candle {
    let start = EventTime(idx * Span::HOUR.ms());
    Candle {
        coin: Arc::from("bitcoin"),
        quote: Arc::from("usd"),
        window: Window::Hour,
        start,
        end: Window::Hour.end(start),
        open: close,
        high: close * 1.01,
        low: close * 0.99,
        close,
        average: close,
        volume: Some(1.0 + (idx % 7) as f64),
        count: 60,
        coverage: 1.0,
        grain: Some(Span::MINUTE),
        volume_count: None,
        quote_volume: None,
        filled: 0,
        revision: 1,
        is_final: true,
        first_seq: 1,
        last_seq: 1,
    }
}

/// Rows of this recipe, with the default coverage.
pub(crate) fn spec(recipe: Recipe, horizon: usize) -> RowSpec {
    RowSpec { recipe, horizon, min_coverage: 0.5 }
}

/// Candles of the given indices, with prices that go up and down.
fn candles(idxs: impl IntoIterator<Item = i64>) -> Vec<Candle> {
    idxs.into_iter().map(|idx| candle(idx, 100.0 * (1.0 + 0.1 * (idx as f64 * 0.7).sin()))).collect()
}

pub(crate) fn tick(event: i64, close: f64) -> Tick {
    Tick::bar(EventTime(event), Span::MINUTE, [close; 4])
}

#[test]
fn a_row_pairs_what_was_known_with_the_candle_one_horizon_later() {
    let candles = candles(0..30);
    for horizon in [1, 3] {
        let dataset = Dataset::from_candles(spec(Recipe::Returns, horizon), &candles);
        assert_eq!(dataset.rows.len(), 30 - (LOOKBACK - 1) - horizon);
        assert_eq!(dataset.features.len(), dataset.rows.len() * dataset.width());
        let (last, target) = (&candles[LOOKBACK - 1], &candles[LOOKBACK - 1 + horizon]);
        let row = dataset.rows[0];
        assert_eq!((row.made, row.target_end), (last.end, target.end));
        assert_eq!((row.last, row.actual), (last.close, target.close));
        let rebuilt = crate::target::value(dataset.recipe, row.label, row.last);
        assert!((rebuilt / row.actual - 1.0).abs() < 1e-6, "{rebuilt} {}", row.actual);
        assert_eq!(dataset.horizon(), Span(horizon as i64 * Span::HOUR.ms()));
    }
}

#[test]
fn rows_across_a_missing_candle_are_skipped_and_counted() {
    // 40 candles, one missing, 40 more.
    let candles = candles((0..40).chain(41..81));
    let dataset = Dataset::from_candles(spec(Recipe::Returns, 2), &candles);
    assert_eq!(dataset.skipped, Skipped { trailing_window: 2 * (LOOKBACK - 1), horizon: 4, ..Skipped::default() });
    assert_eq!(dataset.rows.len() + 2 * (LOOKBACK - 1) + 4, candles.len());
    let hole = EventTime(40 * Span::HOUR.ms());
    for row in &dataset.rows {
        let first_seen = EventTime(row.made.ms() - LOOKBACK as i64 * Span::HOUR.ms());
        assert!(row.target_end <= hole || first_seen > hole, "{row:?}");
    }
}

#[test]
fn thin_candles_count_as_missing() {
    let mut candles = candles(0..60);
    candles[30].coverage = 0.49;
    let dataset = Dataset::from_candles(spec(Recipe::Returns, 1), &candles);
    assert_eq!(dataset.skipped.thin, 1);
    assert_eq!(dataset.rows.len(), (30 - LOOKBACK) + (29 - LOOKBACK));
}

#[test]
fn the_minimum_coverage_is_configurable() {
    let mut candles = candles(0..60);
    candles.iter_mut().zip(0..).for_each(|(candle, idx)| candle.coverage = if idx % 2 == 0 { 0.3 } else { 1.0 });
    let skipped = |min_coverage| {
        let dataset = Dataset::from_candles(RowSpec { min_coverage, ..spec(Recipe::Returns, 1) }, &candles);
        (dataset.rows.len(), dataset.skipped.thin)
    };
    assert_eq!([0.0, 0.3, 0.31, 1.0].map(skipped), [(35, 0), (35, 0), (0, 30), (0, 30)]);
}

#[test]
fn a_few_points_are_no_range() {
    let mut candles = candles(0..70);
    candles[40].grain = None;
    for (points, few_points) in [(1, 1), (RANGE_POINTS_MIN - 1, 1), (RANGE_POINTS_MIN, 0)] {
        candles[40].count = points;
        let dataset = Dataset::from_candles(spec(Recipe::Volatility, 1), &candles);
        let expected = if few_points == 0 { 45 } else { (40 - LOOKBACK) + (29 - LOOKBACK) };
        assert_eq!((dataset.rows.len(), dataset.skipped.few_points), (expected, few_points), "{points}");
        // Its close is usable.
        let returns = Dataset::from_candles(spec(Recipe::Returns, 1), &candles);
        assert_eq!((returns.rows.len(), returns.skipped.few_points), (45, 0), "{points}");
        let newest = returns.rows.iter().position(|row| row.made == candles[40].end).expect("a row");
        let column =
            crate::features::columns(returns.recipe).iter().position(|name| *name == "range_1").expect("a column");
        assert_eq!(returns.features[newest * returns.width() + column].is_nan(), few_points > 0, "{points}");
    }
}

#[test]
fn the_last_price_of_overlapping_bars_is_one_that_was_known() {
    let at = |minute: i64, grain: Option<i64>, close: f64| Tick {
        grain: grain.map(Span::minutes),
        ..tick(minute * 60_000, close)
    };
    // An hour that is still open, minutes within it, and points.
    let ticks = [
        at(0, Some(60), 1.0),
        at(1, Some(1), 2.0),
        at(2, Some(1), 3.0),
        at(3, None, 4.0),
        at(4, None, 5.0),
        at(60, None, 6.0),
    ];
    let dataset = Dataset::from_ticks(&ticks).expect("short enough");
    let last: Vec<_> = dataset.rows.iter().map(|row| (row.made.ms() / 60_000, row.last, row.actual)).collect();
    assert_eq!(last, [(2, 2.0, 3.0), (3, 3.0, 4.0), (4, 4.0, 5.0), (60, 1.0, 6.0)]);
    assert_eq!(dataset.skipped.trailing_window, 2);
    let points: Vec<_> = dataset.rows.iter().map(|row| (row.target_end - row.made).ms() / 60_000).collect();
    assert_eq!(points, [1, 0, 0, 0]);
}

#[test]
fn a_calendar_row_predicts_its_own_tick_against_the_one_before() {
    let dataset = Dataset::from_ticks(&[tick(0, 10.0), tick(60_000, 11.0), tick(180_000, 12.0)]).expect("short enough");
    assert_eq!(dataset.rows.len(), 2);
    assert_eq!(dataset.rows[1].made, EventTime(180_000));
    assert_eq!(dataset.rows[1].target_end, EventTime(240_000));
    assert_eq!((dataset.rows[1].last, dataset.rows[1].actual, dataset.rows[1].label), (11.0, 12.0, 12.0));
    assert_eq!(&dataset.features[3..], [3.0, 0.0, 5.0]);
}

#[test]
fn minutes_of_thirty_years_stay_distinct_and_longer_is_refused() {
    let years = |years: i64| years * 365 * Span::DAY.ms();
    let start = 1_583_020_800_000;
    let at = |ms: i64| tick(start + ms, 1.0);
    let within = [at(0), at(years(30)), at(years(30) + 60_000), at(years(30) + 120_000)];
    let dataset = Dataset::from_ticks(&within).expect("thirty years are short enough");
    let minutes: Vec<_> = dataset.features.iter().step_by(3).collect();
    assert!(minutes.windows(2).all(|pair| pair[0] < pair[1]), "{minutes:?}");
    let beyond = [at(0), at(years(70)), at(years(70) + 60_000), at(years(70) + 120_000)];
    assert!(matches!(Dataset::from_ticks(&beyond), Err(DatasetError::TimesCollapse { .. })));
}

#[test]
fn features_do_not_change_when_the_future_is_taken_away() {
    let candles = candles((0..60).chain(63..110));
    for (recipe, horizon) in [(Recipe::Returns, 1), (Recipe::Volatility, 1), (Recipe::Volatility, 30)] {
        assert_eq!(
            first_leak(&candles, 1, |candles| feature_rows(spec(recipe, horizon), candles)),
            None,
            "{recipe} {horizon}"
        );
    }
}

#[test]
fn a_planted_leak_is_found() {
    let candles = candles(0..60);
    let leaky = |candles: &[Candle]| {
        let mut known = feature_rows(spec(Recipe::Returns, 1), candles);
        for row in &mut known {
            // The return of the next candle, as from a shift by one.
            if let Some(next) = candles.iter().find(|candle| candle.start == row.at) {
                row.features[10] = (next.close / row.last).ln() as f32;
            }
        }
        known
    };
    let leak = first_leak(&candles, 1, leaky).expect("the planted leak");
    assert_eq!(leak.column, 10);
    // Scaling by a mean of the whole sample leaks too.
    let scaled = |candles: &[Candle]| {
        let mean = candles.iter().map(|candle| candle.close).sum::<f64>() / candles.len() as f64;
        let mut known = feature_rows(spec(Recipe::Volatility, 1), candles);
        known.iter_mut().for_each(|row| row.scale /= mean);
        known
    };
    let leak = first_leak(&candles, 1, scaled).expect("the planted leak");
    assert_eq!(leak.column, crate::features::columns(Recipe::Volatility).len() + 1);
}

#[test]
fn adjacent_rows_are_borrowed_and_others_copied() {
    let dataset = Dataset::from_candles(spec(Recipe::Returns, 1), &candles(0..60));
    let width = dataset.width();
    assert!(matches!(dataset.features_of(&[3, 4, 5]), Cow::Borrowed(lent) if lent.len() == 3 * width));
    let gathered = dataset.features_of(&[5, 3]);
    assert_eq!(gathered[..width].to_vec(), dataset.features[5 * width..6 * width].to_vec());
    assert_eq!(gathered[width..].to_vec(), dataset.features[3 * width..4 * width].to_vec());
}

#[test]
fn the_volatility_label_is_the_range_over_the_horizon() {
    let candles = candles(0..40);
    for horizon in [1, 3] {
        let dataset = Dataset::from_candles(spec(Recipe::Volatility, horizon), &candles);
        let row = dataset.rows[0];
        let target = &candles[LOOKBACK..LOOKBACK + horizon];
        let high = target.iter().map(|candle| candle.high).fold(0.0, f64::max);
        let low = target.iter().map(|candle| candle.low).fold(f64::INFINITY, f64::min);
        assert!((row.actual - (high / low).ln()).abs() < 1e-12, "{row:?}");
        assert_eq!(row.target_end, target[horizon - 1].end);
        assert!(
            (crate::target::value(dataset.recipe, row.label, dataset.reference(0)) / row.actual - 1.0).abs() < 1e-5
        );
        // The newest value covers the same number of candles, and the averages are of such values.
        let next = Dataset::from_candles(spec(Recipe::Volatility, horizon), &candles[horizon..]);
        assert_eq!(next.rows[0].last.to_bits(), row.actual.to_bits());
        assert_eq!(dataset.averages.len(), dataset.rows.len());
    }
}

#[test]
fn candles_without_movement_have_finite_labels() {
    let mut candles = candles(0..60);
    for still in &mut candles[30..33] {
        (still.open, still.high, still.low) = (still.close, still.close, still.close);
    }
    let dataset = Dataset::from_candles(spec(Recipe::Volatility, 1), &candles);
    let lowest = -(volatility::RATIO_MAX.ln() as f32);
    let still: Vec<_> = dataset.rows.iter().filter(|row| row.actual == 0.0).map(|row| row.label).collect();
    assert_eq!(still, [lowest; 3]);
    assert!(dataset.rows.iter().all(|row| row.label.is_finite()));
    // A market that never moves.
    for candle in &mut candles {
        (candle.open, candle.high, candle.low, candle.close) = (5.0, 5.0, 5.0, 5.0);
    }
    let dataset = Dataset::from_candles(spec(Recipe::Volatility, 1), &candles);
    assert!(dataset.rows.iter().all(|row| row.actual == row.last && row.label.is_finite()));
}

#[test]
fn the_baseline_is_the_best_of_the_rows_that_it_may_see() {
    // Ranges that jump up and down: a slow average is right, the last value always wrong.
    let mut candles = candles(0..200);
    for (idx, candle) in candles.iter_mut().enumerate() {
        candle.high = candle.close * if idx % 2 == 0 { 1.01 } else { 1.05 };
    }
    let dataset = Dataset::from_candles(spec(Recipe::Volatility, 1), &candles);
    let all: Vec<usize> = (0..dataset.rows.len()).collect();
    let chosen = crate::baseline::choose(&dataset, &all);
    assert!(matches!(chosen, Baseline::Average(idx) if idx >= 3), "{chosen}");
    let error = |baseline| -> f64 {
        all.iter().map(|&row| (dataset.rows[row].actual - dataset.baseline(row, baseline)).powi(2)).sum()
    };
    assert!(Baseline::all(Recipe::Volatility).into_iter().all(|other| error(chosen) <= error(other)));
}

proptest! {
    #[test]
    fn rows_are_counted_without_being_made(
        kinds in prop::collection::vec((0_usize..12, 0.0..1.0_f64, 0_u64..8, any::<bool>()), 0..150),
        horizon in prop::sample::select(vec![1, 2, 30]),
        min_coverage in prop::sample::select(vec![0.0, 0.05, 0.3]),
    ) {
        let (mut idx, mut candles) = (0, Vec::new());
        for (hole, coverage, count, has_bar) in kinds {
            idx += if hole == 0 { 2 } else { 1 };
            let grain = Some(Span::MINUTE).filter(|_| has_bar || hole > 2);
            candles.push(Candle { coverage, count, grain, ..candle(idx, 100.0 + (idx as f64).sin()) });
        }
        for recipe in [Recipe::Returns, Recipe::Volatility] {
            let spec = RowSpec { recipe, horizon, min_coverage };
            let dataset = Dataset::from_candles(spec, &candles);
            prop_assert_eq!(spec.count_rows(&candles), dataset.rows.len());
            let Skipped { thin, few_points, trailing_window, horizon, .. } = dataset.skipped;
            let left_out = thin + few_points + trailing_window + horizon;
            prop_assert_eq!(dataset.rows.len() + left_out, candles.len());
        }
    }

    #[test]
    fn a_rebuilt_value_is_always_possible(output in prop::num::f32::NORMAL, reference in 1e-15..1e15) {
        for recipe in Recipe::ALL {
            let value = crate::target::value(recipe, output, reference);
            let possible = if recipe.predicts_prices() { PRICE_MIN..=PRICE_MAX } else { RANGE_MIN..=70.0 };
            prop_assert!(possible.contains(&value), "{recipe}: {value}");
        }
    }
}
