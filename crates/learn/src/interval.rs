//! Intervals around predictions that contain the truth as often as they say: conformal, and adaptive while time goes on.
//!
//! The errors of a model on rows that it was not fitted to are sorted; the interval with a miss rate of α reaches from
//! the error at rank ⌊(n + 1) α/2⌋ to the one at rank ⌈(n + 1) (1 − α/2)⌉. If future errors are exchangeable with those
//! n, it misses at most a share α of the truths (split conformal: Vovk, Gammerman and Shafer 2005; Lei et al. 2018).
//! Prices are not exchangeable, so errors are measured in units of each row's own scale (locally weighted), and the miss
//! rate that is asked for moves against the misses that were seen: α ← α + γ (target − miss), which holds the achieved
//! rate near the target whatever happens (Gibbs and Candès, "Adaptive conformal inference under distribution shift",
//! 2021). The coverage that was achieved always stands beside the nominal one.

use std::collections::VecDeque;

use market::EventTime;
use market::band::{Band, Bands, LEVELS};
use serde::{Deserialize, Serialize};

/// How much one miss or hit moves a miss rate: γ. Gibbs and Candès use 0.005; a miss at 90 % is made up for by nine hits.
pub const GAMMA: f64 = 0.005;

/// Most quantiles that a calibration keeps: a fifth of a percent apart.
const QUANTILES_MAX: usize = 500;

/// Largest error, in units of the scale, up or down: e to its power is infinite, or nothing.
const ERROR_MAX: f64 = 1_000.0;

/// The error of a prediction in units of its row's scale: log(actual ÷ predicted) ÷ scale, with its sign. A truth of 0,
/// which a range can have, counts as very far below.
pub fn error(actual: f64, predicted: f64, scale: f64) -> f64 {
    ((actual / predicted).ln() / scale).clamp(-ERROR_MAX, ERROR_MAX)
}

/// How wrong a model is on rows that it was not fitted to: quantiles of [`error`], small enough to go with the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Rows behind it.
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

    /// Rows behind it.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The interval of a prediction that misses a share `miss` of the truths; where there are too few rows for so small
    /// a share, from the smallest error to the largest. None without rows.
    pub fn band(&self, miss: f64, predicted: f64, scale: f64) -> Option<Band> {
        let reach = |error: f64| predicted * (error * scale).exp();
        Some(Band { lower: reach(self.lower(miss)?), upper: reach(self.upper(miss)?).min(f64::MAX) })
    }

    /// Whether there are rows enough for an interval that misses so few: one beyond each end.
    fn reaches(&self, miss: f64) -> bool {
        (self.rows + 1) as f64 * miss / 2.0 >= 1.0 - 1e-9
    }

    /// The error at rank ⌈(n + 1) (1 − miss ÷ 2)⌉, at most the largest.
    fn upper(&self, miss: f64) -> Option<f64> {
        let rank = self.rank(1.0 - miss / 2.0).ceil().clamp(1.0, self.rows.max(1) as f64);
        // Rounded up among the quantiles: never narrower than all errors would make it.
        let idx = (rank * self.quantiles.len() as f64 / self.rows as f64 - 1e-9).ceil() as usize;
        self.quantiles.get(idx.max(1) - 1).copied()
    }

    /// The error at rank ⌊(n + 1) miss ÷ 2⌋, at least the smallest.
    fn lower(&self, miss: f64) -> Option<f64> {
        let rank = self.rank(miss / 2.0).floor().clamp(0.0, self.rows as f64);
        let idx = (rank * self.quantiles.len() as f64 / self.rows as f64 + 1e-9).floor() as usize;
        match idx {
            0 => (!self.quantiles.is_empty()).then_some(self.least),
            idx => self.quantiles.get(idx - 1).copied(),
        }
    }

    /// The rank of a share, held against the last bit of its arithmetic.
    fn rank(&self, share: f64) -> f64 {
        let rank = (self.rows + 1) as f64 * share;
        if (rank - rank.round()).abs() < 1e-9 { rank.round() } else { rank }
    }
}

/// The miss rates that are asked for, one a level, moved by what was seen. What live forecasts remember of their hits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adaptive {
    misses: [f64; LEVELS.len()],
}

impl Default for Adaptive {
    /// Asks for what the levels say.
    fn default() -> Self {
        Self { misses: LEVELS.map(nominal_miss) }
    }
}

fn nominal_miss(level: u8) -> f64 {
    1.0 - f64::from(level) / 100.0
}

impl Adaptive {
    /// The miss rates that are asked for now, by [`LEVELS`], 0 to 1.
    pub fn misses(&self) -> [f64; LEVELS.len()] {
        self.misses
    }

    /// The intervals of a prediction. A level for which the model was calibrated on too few rows (fewer than
    /// 2 ÷ miss rate − 1) has none: it would have to be infinite.
    pub fn bands(&self, calibration: &Calibration, predicted: f64, scale: f64) -> Bands {
        let of_level = |idx: usize| {
            let is_possible = calibration.reaches(nominal_miss(LEVELS[idx]));
            if is_possible { calibration.band(self.misses[idx], predicted, scale) } else { None }
        };
        std::array::from_fn(of_level)
    }

    /// Takes notice of whether the truth was inside, by [`LEVELS`]; None where there was no interval. A rate is held
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

/// One prediction of a series and its truth, with the times at which each was known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dated {
    /// When it was made.
    pub known: EventTime,
    /// When its truth was known.
    pub target_end: EventTime,
    /// What was predicted. Positive.
    pub predicted: f64,
    /// The truth.
    pub actual: f64,
    /// Errors are measured in units of this. Positive.
    pub scale: f64,
}

/// The adaptive intervals of predictions in order of time, as they would have been live: a truth moves the rates only
/// of predictions that were made when it was known.
pub fn adaptive_bands(calibration: &Calibration, predictions: &[Dated]) -> Vec<Bands> {
    let mut adaptive = Adaptive::default();
    let mut waiting: VecDeque<(EventTime, [Option<bool>; LEVELS.len()])> = VecDeque::new();
    let bands_of = |prediction: &Dated| {
        while waiting.front().is_some_and(|(target_end, _)| *target_end <= prediction.known) {
            waiting.pop_front().into_iter().for_each(|(_, inside)| adaptive.observe(inside));
        }
        let bands = adaptive.bands(calibration, prediction.predicted, prediction.scale);
        waiting.push_back((prediction.target_end, inside(&bands, prediction.actual)));
        bands
    };
    predictions.iter().map(bands_of).collect()
}

/// The share of truths inside the bands of one level; None when no row has a band.
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
