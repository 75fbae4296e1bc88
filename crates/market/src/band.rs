//! Prediction intervals as they are stored and shown. The crate `learn` computes them.

use serde::{Deserialize, Serialize};

/// Levels of the intervals, in percent.
pub const LEVELS: [u8; 4] = [50, 80, 90, 95];

/// The level of `lower` and `upper` without a suffix, in percent.
pub const LEVEL_MAIN: u8 = 90;

/// A prediction interval, both ends included, in units of the predicted value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Lower end, 0 or above.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Band {
    /// Whether the truth is inside.
    pub fn contains(&self, actual: f64) -> bool {
        (self.lower..=self.upper).contains(&actual)
    }

    /// Returns the distance of the two ends.
    pub fn width(&self) -> f64 {
        self.upper - self.lower
    }
}

/// The intervals of one prediction, by [`LEVELS`]; `None` where there were too few rows to calibrate on.
pub type Bands = [Option<Band>; LEVELS.len()];
