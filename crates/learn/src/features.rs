//! What a model is told: columns of numbers, each from data up to one instant and never later.
//!
//! A row of features is made by a function that is *given* only the past, so it cannot look ahead;
//! [`crate::dataset::first_leak`] proves it of the whole table. For recipes that work on candles the past is a
//! [`crate::lookback::Lookback`], the same one in training and when live.

pub mod returns;
pub mod volatility;

use market::{Candle, EventTime, Recipe, Span};
use serde::{Deserialize, Serialize};

/// Candles behind one row of features: the newest one and 24 before it, all adjacent.
pub const LOOKBACK: usize = 25;

/// Columns of the `calendar` recipe, in order. See [`calendar_row`].
pub const CALENDAR_COLUMNS: [&str; 3] = ["timestamp", "hour", "day_of_week"];

/// The columns of a recipe's features, in order.
pub const fn columns(recipe: Recipe) -> &'static [&'static str] {
    match recipe {
        Recipe::Calendar => &CALENDAR_COLUMNS,
        Recipe::Returns => &returns::COLUMNS,
        Recipe::Volatility => &volatility::COLUMNS,
    }
}

/// Whether a column tells the time alone. A weekday that has not come yet is nothing that the market has done.
pub fn is_of_time(column: &str) -> bool {
    let of_returns = ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos"];
    let of_volatility = ["minute_of_day", "minute_of_hour", "day_of_week"];
    CALENDAR_COLUMNS.contains(&column) || of_returns.contains(&column) || of_volatility.contains(&column)
}

/// Fewest points whose highest and lowest count as a range. Fewer have seen too little of where the price went: a range of
/// one point is always 0.
pub const RANGE_POINTS_MIN: u64 = 4;

/// Whether a candle's high and low are a range: a bar has its own high and low, points need [`RANGE_POINTS_MIN`].
pub fn has_range(candle: &Candle) -> bool {
    candle.grain.is_some() || candle.count >= RANGE_POINTS_MIN
}

/// What features need of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// How far the price went; absent when that is not known, see [`has_range`].
    pub extremes: Option<Extremes>,
    /// Natural logarithm of the close.
    pub log_close: f64,
    /// Volume in units of the coin; absent when unknown or partial.
    pub volume: Option<f64>,
}

/// How far a price went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extremes {
    /// Natural logarithm of the high.
    pub log_high: f64,
    /// Natural logarithm of the low.
    pub log_low: f64,
}

impl Extremes {
    /// log(high ÷ low), 0 and above.
    pub fn range(&self) -> f64 {
        self.log_high - self.log_low
    }
}

impl Observed {
    /// Takes what features need of a candle.
    pub fn new(candle: &Candle) -> Self {
        let extremes = Extremes { log_high: candle.high.ln(), log_low: candle.low.ln() };
        Self {
            extremes: has_range(candle).then_some(extremes),
            log_close: candle.close.ln(),
            volume: candle.whole_volume(),
        }
    }

    /// log(high ÷ low), 0 and above; NaN when it is not known.
    pub fn range(&self) -> f64 {
        self.extremes.map_or(f64::NAN, |extremes| extremes.range())
    }

    /// Where in its range the candle closed: 0 at the low, 1 at the high; NaN when that is not known.
    fn close_in_range(&self) -> f64 {
        self.extremes.map_or(f64::NAN, |extremes| (self.log_close - extremes.log_low) / extremes.range())
    }
}

/// The features of the `calendar` recipe at an instant: minutes since `origin` (with fractions), UTC hour 0–23, day of
/// the week with 1 = Sunday … 7 = Saturday. Minutes rather than milliseconds, because an f32 is exact for whole numbers
/// up to 2^24 only: 31 years of minutes, but less than five hours of milliseconds.
pub fn calendar_row(event: EventTime, origin: EventTime) -> [f32; CALENDAR_COLUMNS.len()] {
    let minutes = (event - origin).ms() as f64 / Span::MINUTE.ms() as f64;
    [minutes as f32, f32::from(event.hour_of_day()), f32::from(day_of_week(event))]
}

/// The UTC day of the week, 1 = Sunday … 7 = Saturday, as Spark's `dayofweek` counts.
pub fn day_of_week(event: EventTime) -> u8 {
    // The epoch was a Thursday, the fifth.
    ((event.ms().div_euclid(Span::DAY.ms()) + 4).rem_euclid(7) + 1) as u8
}

/// The mean of something over the last `k` candles.
fn mean(trailing: &[Observed], k: usize, of: impl Fn(&Observed) -> f64) -> f64 {
    trailing[trailing.len() - k..].iter().map(of).sum::<f64>() / k as f64
}

/// Mean volume of the last `k` candles ÷ mean volume of the last 24; NaN when one is unknown or all are 0.
fn volume_ratio(trailing: &[Observed], k: usize) -> f64 {
    let volume = |candle: &Observed| candle.volume.unwrap_or(f64::NAN);
    mean(trailing, k, volume) / mean(trailing, LOOKBACK - 1, volume)
}

/// A number as a feature: what is not finite is missing, which tree models take as such.
fn or_missing(value: f64) -> f32 {
    if value.is_finite() { value as f32 } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_counts_days_from_sunday() {
        // 2020-03-01 was a Sunday.
        let sunday = EventTime(1_583_020_800_000);
        let cases = [(0, 1, 0.0), (1, 2, 0.0), (6, 7, 0.0), (7, 1, 0.0)];
        for (days, day_of_week, hour) in cases {
            let event = EventTime(sunday.ms() + days * Span::DAY.ms());
            let row = calendar_row(event, sunday);
            assert_eq!(row, [(days * 1_440) as f32, hour, day_of_week as f32], "{event}");
        }
        assert_eq!(calendar_row(EventTime(sunday.ms() + 23 * 3_600_000 + 30_000), sunday), [1_380.5, 23.0, 1.0]);
    }
}
