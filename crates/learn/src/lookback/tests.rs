use super::*;
use crate::dataset::tests::spec;
use crate::dataset::{self, Dataset};

/// An hour whose price wanders and whose range changes.
fn candle(idx: i64) -> Candle {
    let close = 100.0 * (0.1 * (idx as f64 * 0.7).sin()).exp();
    let wide = 0.01 + 0.004 * (idx as f64 * 1.9).cos();
    Candle { high: close * (1.0 + wide), low: close * (1.0 - wide), ..dataset::tests::candle(idx, close) }
}

const RECIPES: [(Recipe, usize); 4] =
    [(Recipe::Returns, 1), (Recipe::Returns, 4), (Recipe::Volatility, 1), (Recipe::Volatility, 40)];

#[test]
fn live_feature_rows_equal_those_of_the_dataset() {
    let candles: Vec<_> = (0..150).chain(153..300).map(candle).collect();
    for (recipe, horizon) in RECIPES {
        let dataset = Dataset::from_candles(spec(recipe, horizon), &candles);
        let mut lookback = Lookback::new(spec(recipe, horizon));
        let mut row = 0;
        for candle in &candles {
            lookback.push(candle);
            // A service that is killed and started again after every candle.
            let state = postcard::to_stdvec(&lookback).expect("serialized");
            lookback = postcard::from_bytes(&state).expect("a lookback");
            let Some(known) = lookback.feature_row() else { continue };
            if dataset.rows.get(row).is_none_or(|row| row.made != known.at) {
                continue;
            }
            let width = dataset.width();
            let learned = &dataset.features[row * width..(row + 1) * width];
            assert!(learned.iter().zip(&known.features).all(|(a, b)| a.to_bits() == b.to_bits()), "{recipe} {row}");
            assert_eq!((dataset.rows[row].last, dataset.rows[row].scale), (known.last, known.scale));
            assert_eq!(dataset.averages.get(row), known.averages.as_ref());
            row += 1;
        }
        assert_eq!(row, dataset.rows.len(), "{recipe}");
        assert!(row > 100, "{recipe} {row}");
    }
}

#[test]
fn the_truth_of_a_prediction_is_known_one_horizon_later() {
    let candles: Vec<_> = (0..120).map(candle).collect();
    for (recipe, horizon) in RECIPES {
        let mut lookback = Lookback::new(spec(recipe, horizon));
        let actual: Vec<_> = candles.iter().map(|candle| (lookback.push(candle), lookback.actual()).1).collect();
        let dataset = Dataset::from_candles(spec(recipe, horizon), &candles);
        for row in &dataset.rows {
            let idx = candles.iter().position(|candle| candle.end == row.target_end).expect("a candle");
            assert_eq!(actual[idx], Some(row.actual), "{recipe}");
        }
    }
}

#[test]
fn a_missing_or_thin_candle_starts_the_trailing_window_anew() {
    for (recipe, horizon) in RECIPES {
        let needed = LOOKBACK.max(horizon);
        let mut lookback = Lookback::new(spec(recipe, horizon));
        let mut ready = |candle: &Candle| {
            lookback.push(candle);
            lookback.feature_row().is_some()
        };
        let ends: Vec<_> = (0..60).map(|idx| ready(&candle(idx))).collect();
        assert_eq!(ends.iter().position(|ready| *ready), Some(needed - 1), "{recipe}");
        assert!(!ready(&candle(61)), "one is missing");
        assert!((62..61 + needed as i64 - 1).all(|idx| !ready(&candle(idx))));
        assert!(ready(&candle(61 + needed as i64 - 1)));
        let next = 61 + needed as i64;
        assert!(!ready(&Candle { coverage: 0.49, ..candle(next) }), "one is thin");
        assert!(!ready(&candle(next + 1)));
    }
}

#[test]
fn a_lookback_is_small_enough_to_be_stored_each_candle() {
    for (recipe, horizon) in RECIPES {
        let mut lookback = Lookback::new(spec(recipe, horizon));
        let size = |lookback: &Lookback| postcard::to_stdvec(lookback).expect("serialized").len();
        (0..200).for_each(|idx| lookback.push(&candle(idx)));
        let full = size(&lookback);
        (200..1_000).for_each(|idx| lookback.push(&candle(idx)));
        assert_eq!(size(&lookback), full, "{recipe}");
        assert!(full < 2_048, "{recipe} {horizon}: {full} bytes");
    }
}
