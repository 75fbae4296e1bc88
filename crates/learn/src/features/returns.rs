//! Features of the `returns` recipe, from the prices of the last 25 candles.

use std::f64::consts::TAU;

use market::{EventTime, Span};

use super::calendar::day_of_week;
use super::observed::{LOOKBACK, ObservedCandle, mean, or_missing, volume_ratio};

/// The columns, in order. See [`row`].
pub const COLUMNS: [&str; 23] = [
    "return_1",
    "return_2",
    "return_3",
    "return_4",
    "return_6",
    "return_12",
    "return_24",
    "above_mean_6",
    "above_mean_12",
    "above_mean_24",
    "volatility_6",
    "volatility_12",
    "volatility_24",
    "volatility_ratio",
    "range_1",
    "range_mean_6",
    "range_mean_24",
    "volume_ratio_1",
    "volume_ratio_6",
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
];

/// Smallest [`volatility`]: a millionth. Below it the price does not move, and the volatility is not usable as a unit.
pub const VOLATILITY_MIN: f64 = 1e-6;

/// Returns the features when the last of [`LOOKBACK`] adjacent candles has closed, at `closed`:
///
/// - `return_k` = log(close ÷ close k candles before);
/// - `above_mean_k` = log close − mean of the last k log closes;
/// - `volatility_k` = root of the mean squared one-candle return over the last k, and `volatility_ratio` = that of 6 ÷
///   that of 24;
/// - `range_1` = log(high ÷ low), and its mean over the last k;
/// - `volume_ratio_k` = mean volume of the last k ÷ mean volume of the last 24;
/// - hour and weekday at `closed`, where the next candle begins, as sine and cosine.
///
/// A feature that cannot be computed (unknown volume, unknown range, 0 ÷ 0) is NaN, which tree models treat as missing.
///
/// # Panics
/// The slice does not hold exactly [`LOOKBACK`] candles.
pub fn row(trailing: &[ObservedCandle], closed: EventTime) -> [f32; COLUMNS.len()] {
    assert_eq!(trailing.len(), LOOKBACK, "a row needs its whole trailing window");
    let last = trailing[LOOKBACK - 1];
    let return_over = |k: usize| last.log_close - trailing[LOOKBACK - 1 - k].log_close;
    let above_mean = |k: usize| last.log_close - mean(trailing, k, |candle| candle.log_close);
    let range_mean = |k: usize| mean(trailing, k, ObservedCandle::range);
    let (volatility_6, volatility_24) = (root_mean_square_return(trailing, 6), root_mean_square_return(trailing, 24));
    let day_turn = closed.ms().rem_euclid(Span::DAY.ms()) as f64 / Span::DAY.ms() as f64 * TAU;
    let week_turn = (f64::from(day_of_week(closed)) - 1.0) / 7.0 * TAU;
    [
        return_over(1),
        return_over(2),
        return_over(3),
        return_over(4),
        return_over(6),
        return_over(12),
        return_over(24),
        above_mean(6),
        above_mean(12),
        above_mean(24),
        volatility_6,
        root_mean_square_return(trailing, 12),
        volatility_24,
        volatility_6 / volatility_24,
        last.range(),
        range_mean(6),
        range_mean(24),
        volume_ratio(trailing, 1),
        volume_ratio(trailing, 6),
        day_turn.sin(),
        day_turn.cos(),
        week_turn.sin(),
        week_turn.cos(),
    ]
    .map(or_missing)
}

/// Returns the volatility of one candle over the trailing window: the root of the mean squared log return, at least
/// [`VOLATILITY_MIN`]. Errors in units of it are comparable between calm and volatile times.
///
/// # Panics
/// The slice does not hold exactly [`LOOKBACK`] candles.
pub fn volatility(trailing: &[ObservedCandle]) -> f64 {
    assert_eq!(trailing.len(), LOOKBACK, "volatility needs its whole trailing window");
    root_mean_square_return(trailing, LOOKBACK - 1).max(VOLATILITY_MIN)
}

fn root_mean_square_return(trailing: &[ObservedCandle], k: usize) -> f64 {
    let squares = trailing[LOOKBACK - 1 - k..].windows(2).map(|pair| (pair[1].log_close - pair[0].log_close).powi(2));
    (squares.sum::<f64>() / k as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::observed::Extremes;

    fn observed(close: f64, volume: Option<f64>) -> ObservedCandle {
        let log_close = close.ln();
        let extremes = Extremes { log_high: log_close + 0.005, log_low: log_close - 0.005 };
        ObservedCandle { extremes: Some(extremes), log_close, volume }
    }

    fn value(row: &[f32], column: &str) -> f32 {
        let idx = COLUMNS.iter().position(|name| *name == column).expect("a column of the recipe");
        row[idx]
    }

    #[test]
    fn a_steady_rise_has_the_same_return_at_every_lag() {
        let trailing: Vec<_> = (0..LOOKBACK).map(|i| observed(100.0 * 1.01_f64.powi(i as i32), Some(5.0))).collect();
        let row = row(&trailing, EventTime(1_583_020_800_000));
        let step = 1.01_f64.ln() as f32;
        for (column, expected) in [
            ("return_1", step),
            ("return_24", 24.0 * step),
            ("above_mean_6", 2.5 * step),
            ("volatility_12", step),
            ("volatility_ratio", 1.0),
            ("range_mean_24", 0.01),
            ("volume_ratio_1", 1.0),
            ("hour_cos", 1.0),
            ("weekday_sin", 0.0),
        ] {
            assert!((value(&row, column) - expected).abs() < 1e-6, "{column}: {} {expected}", value(&row, column));
        }
    }

    #[test]
    fn features_that_cannot_be_computed_are_missing() {
        let still: Vec<_> = (0..LOOKBACK).map(|_| observed(100.0, None)).collect();
        let row = row(&still, EventTime(0));
        for column in ["volatility_ratio", "volume_ratio_1", "volume_ratio_6"] {
            assert!(value(&row, column).is_nan(), "{column}");
        }
        assert_eq!(value(&row, "return_1"), 0.0);
        assert_eq!(volatility(&still), VOLATILITY_MIN);
    }

    #[test]
    fn an_unknown_range_leaves_only_range_features_missing() {
        let mut trailing: Vec<_> = (0..LOOKBACK).map(|i| observed(100.0 + i as f64, Some(5.0))).collect();
        trailing[LOOKBACK - 8].extremes = None;
        let row = row(&trailing, EventTime(0));
        let missing = COLUMNS.into_iter().zip(row).filter(|(_, value)| value.is_nan()).map(|(column, _)| column);
        assert_eq!(missing.collect::<Vec<_>>(), ["range_mean_24"]);
    }
}
