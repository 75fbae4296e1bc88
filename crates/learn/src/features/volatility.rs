//! Features of the `volatility` recipe, in units of a running average of the range.
//!
//! The features do not depend on the level of volatility, only on its recent change. A model of such features carries
//! over from one coin, interval or year to another; a model of plain ranges does not.

use market::baseline::HALF_LIVES;
use market::{EventTime, Span};
use serde::{Deserialize, Serialize};

use super::calendar::day_of_week;
use super::observed::{LOOKBACK, ObservedCandle, or_missing, volume_ratio};

/// The columns, in order. See [`row`].
pub const COLUMNS: [&str; 19] = [
    "range_1",
    "range_2",
    "range_3",
    "range_4",
    "average_3",
    "average_12",
    "average_24",
    "average_48",
    "average_96",
    "return_1",
    "return_3",
    "return_6",
    "return_24",
    "close_in_range",
    "volume_ratio_1",
    "volume_ratio_6",
    "minute_of_day",
    "minute_of_hour",
    "day_of_week",
];

/// Index in [`HALF_LIVES`] of the average that is the unit of the features.
const LEVEL_IDX: usize = 1;
/// Smallest range that serves as a unit: a millionth.
pub const RANGE_MIN: f64 = 1e-6;
/// Ranges further away from the level than this factor, up or down, count as this far. Otherwise a candle without
/// movement is log 0, and one flash crash outweighs a year.
pub const RATIO_MAX: f64 = 20.0;

/// Exponentially weighted averages by [`HALF_LIVES`]: after one half-life of further candles a candle has half its
/// weight. Weights are normalized (Σ w x ÷ Σ w), so that the first values weigh no more than they should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    sums: [f64; HALF_LIVES.len()],
    weights: [f64; HALF_LIVES.len()],
}

impl Averages {
    /// Adds the next value.
    pub fn push(&mut self, value: f64) {
        for (idx, half_life) in HALF_LIVES.into_iter().enumerate() {
            let decay = 0.5_f64.powf(1.0 / f64::from(half_life));
            self.sums[idx] = self.sums[idx] * decay + value;
            self.weights[idx] = self.weights[idx] * decay + 1.0;
        }
    }

    /// Returns the averages; NaN before the first value.
    pub fn values(&self) -> [f64; HALF_LIVES.len()] {
        std::array::from_fn(|idx| self.sums[idx] / self.weights[idx])
    }
}

/// Returns the unit of the features: the average with a half-life of 6 candles, at least [`RANGE_MIN`].
pub fn level(averages: &[f64; HALF_LIVES.len()]) -> f64 {
    averages[LEVEL_IDX].max(RANGE_MIN)
}

/// Returns log(range ÷ level), held within ±log [`RATIO_MAX`].
pub fn log_ratio(range: f64, level: f64) -> f64 {
    let limit = RATIO_MAX.ln();
    (range / level).ln().clamp(-limit, limit)
}

/// Returns the features when the last of [`LOOKBACK`] adjacent candles has closed, at `closed`. `averages` are those of
/// the range over the horizon. All logs of ratios are held within ±log [`RATIO_MAX`]:
///
/// - `range_k` = log(range of the candle k from the end ÷ level), `range_1` the newest;
/// - `average_k` = log(average with half-life k ÷ level);
/// - `return_k` = log(close ÷ close k candles before) ÷ (level × √k), with its sign: a fall raises volatility more than a rise;
/// - `close_in_range` = (log close − log low) ÷ range of the newest candle, 0 to 1;
/// - `volume_ratio_k` = mean volume of the last k ÷ mean volume of the last 24;
/// - minute of the UTC day, minute of the hour and day of the week (1 = Sunday) at `closed`, where the next candle begins.
///
/// A feature that cannot be computed (unknown volume, 0 ÷ 0) is NaN, which tree models treat as missing.
///
/// # Panics
/// The slice does not hold exactly [`LOOKBACK`] candles.
pub fn row(trailing: &[ObservedCandle], averages: &[f64; HALF_LIVES.len()], closed: EventTime) -> [f32; COLUMNS.len()] {
    assert_eq!(trailing.len(), LOOKBACK, "a row needs its whole trailing window");
    let last = trailing[LOOKBACK - 1];
    let level = level(averages);
    let range = |k: usize| log_ratio(trailing[LOOKBACK - k].range(), level);
    let average = |idx: usize| log_ratio(averages[idx], level);
    let return_over = |k: usize| (last.log_close - trailing[LOOKBACK - 1 - k].log_close) / (level * (k as f64).sqrt());
    let minute_of = |span: Span| closed.ms().rem_euclid(span.ms()) as f64 / Span::MINUTE.ms() as f64;
    [
        range(1),
        range(2),
        range(3),
        range(4),
        average(0),
        average(2),
        average(3),
        average(4),
        average(5),
        return_over(1),
        return_over(3),
        return_over(6),
        return_over(24),
        last.close_in_range(),
        volume_ratio(trailing, 1),
        volume_ratio(trailing, 6),
        minute_of(Span::DAY),
        minute_of(Span::HOUR),
        f64::from(day_of_week(closed)),
    ]
    .map(or_missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::observed::Extremes;

    /// A candle of this range that closes at its middle.
    fn observed(log_close: f64, range: f64) -> ObservedCandle {
        let extremes = Extremes { log_high: log_close + range / 2.0, log_low: log_close - range / 2.0 };
        ObservedCandle { extremes: Some(extremes), log_close, volume: Some(2.0) }
    }

    fn row_of(trailing: &[ObservedCandle]) -> [f32; COLUMNS.len()] {
        let mut averages = Averages::default();
        trailing.iter().for_each(|candle| averages.push(candle.range()));
        // 2020-03-01, a Sunday, 13:45.
        row(trailing, &averages.values(), EventTime(1_583_020_800_000 + (13 * 60 + 45) * 60_000))
    }

    fn value(row: &[f32], column: &str) -> f32 {
        row[COLUMNS.iter().position(|name| *name == column).expect("a column of the recipe")]
    }

    #[test]
    fn a_value_has_half_its_weight_after_a_half_life() {
        let mut averages = Averages::default();
        averages.push(8.0);
        assert_eq!(averages.values(), [8.0; 6]);
        (0..3).for_each(|_| averages.push(0.0));
        // Half-life 3: weights 1/2, then 2^(-2/3), 2^(-1/3) and 1 of zeros.
        let expected = 8.0 * 0.5 / (0.5 + 0.5_f64.powf(2.0 / 3.0) + 0.5_f64.powf(1.0 / 3.0) + 1.0);
        assert!((averages.values()[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn features_do_not_depend_on_the_level_of_volatility() {
        let trailing = |scale: f64| -> Vec<_> {
            let candle = |idx: usize| observed(scale * (idx as f64).sin(), scale * (1.5 + (idx as f64 * 1.3).cos()));
            (0..LOOKBACK).map(candle).collect()
        };
        let (calm, wild) = (row_of(&trailing(0.01)), row_of(&trailing(0.02)));
        for (idx, column) in COLUMNS.into_iter().enumerate() {
            assert!((calm[idx] - wild[idx]).abs() < 1e-4, "{column}: {} {}", calm[idx], wild[idx]);
        }
        assert!((value(&calm, "close_in_range") - 0.5).abs() < 1e-6);
        assert_eq!(value(&calm, "volume_ratio_6"), 1.0);
        assert_eq!(
            ["minute_of_day", "minute_of_hour", "day_of_week"].map(|name| value(&calm, name)),
            [825.0, 45.0, 1.0]
        );
    }

    #[test]
    fn a_candle_without_movement_has_finite_features() {
        let mut trailing = vec![observed(1.0, 0.01); LOOKBACK];
        trailing[LOOKBACK - 1] = observed(1.0, 0.0);
        let row = row_of(&trailing);
        assert_eq!(value(&row, "range_1"), -(RATIO_MAX.ln() as f32));
        assert!(value(&row, "close_in_range").is_nan());
        let still = row_of(&[observed(1.0, 0.0); LOOKBACK]);
        assert!(still.iter().all(|value| value.is_nan() || value.abs() < 1_000.0), "{still:?}");
    }
}
