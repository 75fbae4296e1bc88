//! The values of a candle that features are computed from, and means over the last candles.

use market::Candle;
use serde::{Deserialize, Serialize};

/// Number of adjacent candles behind one row of features: the newest one and 24 before it.
pub const LOOKBACK: usize = 25;

/// Minimum number of points whose highest and lowest count as a range. Fewer points miss most of the price's path: the
/// range of one point is always 0.
pub const RANGE_POINTS_MIN: u64 = 4;

/// Whether the high and low of a candle are a range: a bar has its own high and low, points need [`RANGE_POINTS_MIN`].
pub fn has_range(candle: &Candle) -> bool {
    candle.grain.is_some() || candle.count >= RANGE_POINTS_MIN
}

/// The values of a candle that features are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ObservedCandle {
    /// High and low; `None` when they are not a range, see [`has_range`].
    pub extremes: Option<Extremes>,
    /// Natural logarithm of the close.
    pub log_close: f64,
    /// Volume in units of the coin; `None` when unknown or partial.
    pub volume: Option<f64>,
}

/// High and low of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extremes {
    /// Natural logarithm of the high.
    pub log_high: f64,
    /// Natural logarithm of the low.
    pub log_low: f64,
}

impl Extremes {
    /// Returns log(high ÷ low), 0 and above.
    pub fn range(&self) -> f64 {
        self.log_high - self.log_low
    }
}

impl ObservedCandle {
    /// Takes the values from a candle.
    pub fn new(candle: &Candle) -> Self {
        let extremes = Extremes { log_high: candle.high.ln(), log_low: candle.low.ln() };
        Self {
            extremes: has_range(candle).then_some(extremes),
            log_close: candle.close.ln(),
            volume: candle.whole_volume(),
        }
    }

    /// Returns log(high ÷ low), 0 and above; NaN without a range.
    pub fn range(&self) -> f64 {
        self.extremes.map_or(f64::NAN, |extremes| extremes.range())
    }

    /// Returns the position of the close in the range: 0 at the low, 1 at the high; NaN without a range.
    pub(super) fn close_in_range(&self) -> f64 {
        self.extremes.map_or(f64::NAN, |extremes| (self.log_close - extremes.log_low) / extremes.range())
    }
}

/// Returns the mean of a value over the last `k` candles.
pub(super) fn mean(trailing: &[ObservedCandle], k: usize, of: impl Fn(&ObservedCandle) -> f64) -> f64 {
    trailing[trailing.len() - k..].iter().map(of).sum::<f64>() / k as f64
}

/// Returns mean volume of the last `k` candles ÷ mean volume of the last 24; NaN when one is unknown or all are 0.
pub(super) fn volume_ratio(trailing: &[ObservedCandle], k: usize) -> f64 {
    let volume = |candle: &ObservedCandle| candle.volume.unwrap_or(f64::NAN);
    mean(trailing, k, volume) / mean(trailing, LOOKBACK - 1, volume)
}

/// Converts a number to a feature. Infinite numbers become NaN, which tree models treat as missing.
pub(super) fn or_missing(value: f64) -> f32 {
    if value.is_finite() { value as f32 } else { f32::NAN }
}
