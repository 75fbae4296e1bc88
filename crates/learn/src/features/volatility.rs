//! Features of the `volatility` recipe: what the last candles did, in units of a running average of their range.
//!
//! Nothing here depends on how wild the market is, only on how much wilder it was just now than a little before. A model
//! of such numbers can be carried from one coin, interval or year to another; one of plain ranges cannot.

use market::baseline::HALF_LIVES;
use market::{EventTime, Span};
use serde::{Deserialize, Serialize};

use super::{LOOKBACK, Observed, day_of_week, or_missing, volume_ratio};

/// Columns, in order. See [`row`].
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

/// Position in [`HALF_LIVES`] of the average that all else is measured in.
const LEVEL_IDX: usize = 1;
/// Smallest range that something is measured in: a millionth.
pub const RANGE_MIN: f64 = 1e-6;
/// Ranges further away from the level than this, up or down, are told and learned as this far. A candle without any
/// movement is log 0 otherwise, and a flash crash would outweigh a year.
pub const RATIO_MAX: f64 = 20.0;

/// Exponentially weighted averages by [`HALF_LIVES`]: after half as many more candles a candle weighs half as much.
/// Weights are normalised (Σ w x ÷ Σ w), so that the first values weigh no more than they should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    sums: [f64; HALF_LIVES.len()],
    weights: [f64; HALF_LIVES.len()],
}

impl Averages {
    /// Takes the next value.
    pub fn push(&mut self, value: f64) {
        for (idx, half_life) in HALF_LIVES.into_iter().enumerate() {
            let decay = 0.5_f64.powf(1.0 / f64::from(half_life));
            self.sums[idx] = self.sums[idx] * decay + value;
            self.weights[idx] = self.weights[idx] * decay + 1.0;
        }
    }

    /// The averages; NaN before the first value.
    pub fn values(&self) -> [f64; HALF_LIVES.len()] {
        std::array::from_fn(|idx| self.sums[idx] / self.weights[idx])
    }
}

/// What all else is measured in: the average with a half-life of 6 candles, at least [`RANGE_MIN`].
pub fn level(averages: &[f64; HALF_LIVES.len()]) -> f64 {
    averages[LEVEL_IDX].max(RANGE_MIN)
}

/// log(range ÷ level), held within ±log [`RATIO_MAX`].
pub fn log_ratio(range: f64, level: f64) -> f64 {
    let limit = RATIO_MAX.ln();
    (range / level).ln().clamp(-limit, limit)
}

/// The features when the last of [`LOOKBACK`] adjacent candles has closed, at `known`; `averages` are those of the range
/// over the horizon, and all logs of ratios are held within ±log [`RATIO_MAX`]:
///
/// - `range_k` = log(range of the candle k from the end ÷ level), `range_1` the newest;
/// - `average_k` = log(average with half-life k ÷ level);
/// - `return_k` = log(close ÷ close k candles before) ÷ (level × √k), with its sign: falls stir more than rises;
/// - `close_in_range` = (log close − log low) ÷ range of the newest candle, 0 to 1;
/// - `volume_ratio_k` = mean volume of the last k ÷ mean volume of the last 24;
/// - minute of the UTC day, minute of the hour and day of the week (1 = Sunday) at `known`, where the next candle begins.
///
/// What cannot be computed (unknown volume, 0 ÷ 0) is NaN, which tree models take as missing.
///
/// # Panics
/// When not given exactly [`LOOKBACK`] candles.
pub fn row(trailing: &[Observed], averages: &[f64; HALF_LIVES.len()], known: EventTime) -> [f32; COLUMNS.len()] {
    assert_eq!(trailing.len(), LOOKBACK, "a row needs its whole trailing window");
    let last = trailing[LOOKBACK - 1];
    let level = level(averages);
    let range = |k: usize| log_ratio(trailing[LOOKBACK - k].range(), level);
    let average = |idx: usize| log_ratio(averages[idx], level);
    let return_over = |k: usize| (last.log_close - trailing[LOOKBACK - 1 - k].log_close) / (level * (k as f64).sqrt());
    let minute_of = |span: Span| known.ms().rem_euclid(span.ms()) as f64 / Span::MINUTE.ms() as f64;
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
        f64::from(day_of_week(known)),
    ]
    .map(or_missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Extremes;

    /// A candle of this range that closes at its middle.
    fn observed(log_close: f64, range: f64) -> Observed {
        let extremes = Extremes { log_high: log_close + range / 2.0, log_low: log_close - range / 2.0 };
        Observed { extremes: Some(extremes), log_close, volume: Some(2.0) }
    }

    fn row_of(trailing: &[Observed]) -> [f32; COLUMNS.len()] {
        let mut averages = Averages::default();
        trailing.iter().for_each(|candle| averages.push(candle.range()));
        // 2020-03-01, a Sunday, 13:45.
        row(trailing, &averages.values(), EventTime(1_583_020_800_000 + (13 * 60 + 45) * 60_000))
    }

    fn value(row: &[f32], column: &str) -> f32 {
        row[COLUMNS.iter().position(|name| *name == column).expect("a column of the recipe")]
    }

    #[test]
    fn an_average_halves_the_weight_of_what_is_a_half_life_old() {
        let mut averages = Averages::default();
        averages.push(8.0);
        assert_eq!(averages.values(), [8.0; 6]);
        (0..3).for_each(|_| averages.push(0.0));
        // Half-life 3: weights 1/2, then 2^(-2/3), 2^(-1/3) and 1 of zeros.
        let expected = 8.0 * 0.5 / (0.5 + 0.5_f64.powf(2.0 / 3.0) + 0.5_f64.powf(1.0 / 3.0) + 1.0);
        assert!((averages.values()[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn twice_as_wild_a_market_tells_the_same() {
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
    fn a_candle_without_movement_is_calm_but_not_infinitely() {
        let mut trailing = vec![observed(1.0, 0.01); LOOKBACK];
        trailing[LOOKBACK - 1] = observed(1.0, 0.0);
        let row = row_of(&trailing);
        assert_eq!(value(&row, "range_1"), -(RATIO_MAX.ln() as f32));
        assert!(value(&row, "close_in_range").is_nan());
        let still = row_of(&[observed(1.0, 0.0); LOOKBACK]);
        assert!(still.iter().all(|value| value.is_nan() || value.abs() < 1_000.0), "{still:?}");
    }
}
