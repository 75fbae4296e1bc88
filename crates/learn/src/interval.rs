//! Prediction intervals that contain the truth as often as they say: conformal, and adaptive over time.
//!
//! The errors of a model on rows that it was not fitted to are sorted. The interval with a miss rate of α reaches from
//! the error at rank ⌊(n + 1) α/2⌋ to the error at rank ⌈(n + 1) (1 − α/2)⌉. If future errors are exchangeable with
//! those n, it misses at most a share α of the truths (split conformal: Vovk, Gammerman and Shafer 2005; Lei et al.
//! 2018). Errors of prices are not exchangeable, so they are measured in units of each row's own scale (locally
//! weighted), and the nominal miss rate moves against the observed misses: α ← α + γ (target − miss). That keeps the
//! achieved rate near the target for any sequence of errors (Gibbs and Candès, "Adaptive conformal inference under
//! distribution shift", 2021). The achieved coverage is always shown beside the nominal one.

use std::collections::VecDeque;

use market::EventTime;
use market::band::{Band, Bands, LEVELS};
use serde::{Deserialize, Serialize};

/// γ, the step of a miss rate after one miss or hit. Gibbs and Candès use 0.005. Nine hits balance one miss at 90 %.
pub const GAMMA: f64 = 0.005;

/// Maximum number of quantiles in a calibration: a fifth of a percent apart.
const QUANTILES_MAX: usize = 500;

/// Largest error, in units of the scale, up or down: e to its power is infinite, or 0.
const ERROR_MAX: f64 = 1_000.0;

/// Returns the error of a prediction in units of its row's scale: log(actual ÷ predicted) ÷ scale, with its sign. For a
/// truth of 0, which a range can have, it is −1,000.
pub fn error(actual: f64, predicted: f64, scale: f64) -> f64 {
    ((actual / predicted).ln() / scale).clamp(-ERROR_MAX, ERROR_MAX)
}

/// Errors of a model on rows that it was not fitted to: quantiles of [`error`], small enough for the model file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of rows.
    rows: usize,
    /// Ascending, equally spaced in rank, the last one the largest: all errors when there are at most 500.
    quantiles: Vec<f64>,
    /// The smallest error, when there are more errors than quantiles.
    least: f64,
}

impl Calibration {
    /// Calibrates on the errors of rows that the model was not fitted to.
    pub fn new(mut errors: Vec<f64>) -> Self {
        errors.sort_unstable_by(f64::total_cmp);
        let rows = errors.len();
        let count = rows.min(QUANTILES_MAX);
        let quantiles = (1..=count).map(|idx| errors[(idx * rows).div_ceil(count) - 1]).collect();
        Self { rows, quantiles, least: errors.first().copied().unwrap_or(0.0) }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the interval of a prediction that misses a share `miss` of the truths; from the smallest error to the
    /// largest when there are too few rows for that share. `None` without rows.
    pub fn band(&self, miss: f64, predicted: f64, scale: f64) -> Option<Band> {
        let reach = |error: f64| predicted * (error * scale).exp();
        Some(Band { lower: reach(self.lower(miss)?), upper: reach(self.upper(miss)?).min(f64::MAX) })
    }

    /// Whether there are enough rows for an interval with this miss rate: one beyond each end.
    fn reaches(&self, miss: f64) -> bool {
        (self.rows + 1) as f64 * miss / 2.0 >= 1.0 - 1e-9
    }

    /// Returns the error at rank ⌈(n + 1) (1 − miss ÷ 2)⌉, at most the largest.
    fn upper(&self, miss: f64) -> Option<f64> {
        let rank = self.rank(1.0 - miss / 2.0).ceil().clamp(1.0, self.rows.max(1) as f64);
        // Rounded up among the quantiles: the interval is never narrower than all errors would make it.
        let idx = (rank * self.quantiles.len() as f64 / self.rows as f64 - 1e-9).ceil() as usize;
        self.quantiles.get(idx.max(1) - 1).copied()
    }

    /// Returns the error at rank ⌊(n + 1) miss ÷ 2⌋, at least the smallest.
    fn lower(&self, miss: f64) -> Option<f64> {
        let rank = self.rank(miss / 2.0).floor().clamp(0.0, self.rows as f64);
        let idx = (rank * self.quantiles.len() as f64 / self.rows as f64 + 1e-9).floor() as usize;
        match idx {
            0 => (!self.quantiles.is_empty()).then_some(self.least),
            idx => self.quantiles.get(idx - 1).copied(),
        }
    }

    /// Returns the rank of a share. A rank that is an integer but for rounding is rounded to it.
    fn rank(&self, share: f64) -> f64 {
        let rank = (self.rows + 1) as f64 * share;
        if (rank - rank.round()).abs() < 1e-9 { rank.round() } else { rank }
    }
}

/// The current miss rates, one a level, moved by the observed hits and misses. This is the state of live intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adaptive {
    misses: [f64; LEVELS.len()],
}

impl Default for Adaptive {
    /// Starts with the nominal rates.
    fn default() -> Self {
        Self { misses: LEVELS.map(nominal_miss) }
    }
}

fn nominal_miss(level: u8) -> f64 {
    1.0 - f64::from(level) / 100.0
}

impl Adaptive {
    /// Returns the current miss rates, by [`LEVELS`], 0 to 1.
    pub fn misses(&self) -> [f64; LEVELS.len()] {
        self.misses
    }

    /// Returns the intervals of a prediction. A level has no interval when the calibration has fewer than 2 ÷ miss rate
    /// − 1 rows: it would have to be infinite.
    pub fn bands(&self, calibration: &Calibration, predicted: f64, scale: f64) -> Bands {
        let of_level = |idx: usize| {
            let is_possible = calibration.reaches(nominal_miss(LEVELS[idx]));
            if is_possible { calibration.band(self.misses[idx], predicted, scale) } else { None }
        };
        std::array::from_fn(of_level)
    }

    /// Takes note of whether the truth was inside, by [`LEVELS`]; `None` where there was no interval. A rate stays
    /// within 0 and 1: at 0 the interval spans all errors of the calibration.
    pub fn observe(&mut self, inside: [Option<bool>; LEVELS.len()]) {
        for (idx, inside) in inside.into_iter().enumerate() {
            if let Some(inside) = inside {
                let miss = f64::from(u8::from(!inside));
                let moved = self.misses[idx] + GAMMA * (nominal_miss(LEVELS[idx]) - miss);
                self.misses[idx] = moved.clamp(0.0, 1.0);
            }
        }
    }
}

/// Whether the truth is inside, by [`LEVELS`].
pub fn inside(bands: &Bands, actual: f64) -> [Option<bool>; LEVELS.len()] {
    bands.map(|band| band.map(|band| band.contains(actual)))
}

/// A prediction of a series and its truth, with the event times of both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedPrediction {
    /// Event time at which it was made.
    pub made: EventTime,
    /// Event time at which its truth was known.
    pub target_end: EventTime,
    /// The prediction. Positive.
    pub predicted: f64,
    /// The truth.
    pub actual: f64,
    /// The unit of errors in log. Positive.
    pub scale: f64,
}

/// Returns the adaptive intervals of predictions in order of time, as they would have been live: a truth moves the
/// rates of predictions that were made after it was known.
pub fn adaptive_bands(calibration: &Calibration, predictions: &[TimedPrediction]) -> Vec<Bands> {
    let mut adaptive = Adaptive::default();
    let mut waiting: VecDeque<(EventTime, [Option<bool>; LEVELS.len()])> = VecDeque::new();
    let bands_of = |prediction: &TimedPrediction| {
        while waiting.front().is_some_and(|(target_end, _)| *target_end <= prediction.made) {
            waiting.pop_front().into_iter().for_each(|(_, inside)| adaptive.observe(inside));
        }
        let bands = adaptive.bands(calibration, prediction.predicted, prediction.scale);
        waiting.push_back((prediction.target_end, inside(&bands, prediction.actual)));
        bands
    };
    predictions.iter().map(bands_of).collect()
}

/// Returns the share of truths inside the bands of one level; `None` when no row has a band.
pub fn coverage(truths_and_bands: impl Iterator<Item = (f64, Option<Band>)>) -> Option<f64> {
    let (mut inside, mut count) = (0_usize, 0_usize);
    for (actual, band) in truths_and_bands {
        if let Some(band) = band {
            count += 1;
            inside += usize::from(band.contains(actual));
        }
    }
    (count > 0).then(|| inside as f64 / count as f64)
}

#[cfg(test)]
mod tests;
