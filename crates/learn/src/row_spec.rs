//! How rows are made of candles, and which candles are usable.

use market::{Candle, Recipe};
use serde::{Deserialize, Serialize};
use store::model_card::Skipped;

use crate::features::observed::{LOOKBACK, has_range};

/// Minimum number of rows of a training. With fewer, a good score is likely to be luck.
pub const ROWS_MIN: usize = 100;

/// How rows are made of candles: the same in training, scoring and live forecasts of a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RowSpec {
    /// The recipe, one that works on candles.
    pub recipe: Recipe,
    /// How many candles ahead, 1 to [`crate::lookback::HORIZON_MAX`].
    pub horizon: usize,
    /// Candles of less coverage count as missing, 0 to 1.
    pub min_coverage: f64,
}

/// Why a candle is not usable and counts as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnusableCandle {
    /// Its coverage is below [`RowSpec::min_coverage`].
    Thin,
    /// Its high and low are not a range, which the recipe needs. See [`has_range`].
    FewPoints,
}

impl UnusableCandle {
    /// Counts the candle as skipped.
    pub(crate) fn count_in(self, skipped: &mut Skipped) {
        match self {
            Self::Thin => skipped.thin += 1,
            Self::FewPoints => skipped.few_points += 1,
        }
    }
}

impl RowSpec {
    /// Returns why a candle counts as missing; `None` when it is usable.
    pub fn unusable(&self, candle: &Candle) -> Option<UnusableCandle> {
        if candle.coverage < self.min_coverage {
            Some(UnusableCandle::Thin)
        } else if self.recipe == Recipe::Volatility && !has_range(candle) {
            Some(UnusableCandle::FewPoints)
        } else {
            None
        }
    }

    /// Returns the number of adjacent candles that a prediction is made from, the newest included.
    pub fn lookback(&self) -> usize {
        match self.recipe {
            // The newest range covers as many candles as the horizon has.
            Recipe::Volatility => LOOKBACK.max(self.horizon),
            Recipe::Calendar | Recipe::Returns => LOOKBACK,
        }
    }

    /// Returns how many rows [`Dataset::from_candles`](crate::dataset::Dataset::from_candles) makes of the same
    /// candles.
    pub fn count_rows(&self, candles: &[Candle]) -> usize {
        let needed = self.lookback() + self.horizon;
        let (mut adjacent, mut end, mut rows) = (0, None, 0);
        for candle in candles {
            adjacent = match self.unusable(candle) {
                Some(_) => 0,
                None if end == Some(candle.start) => adjacent + 1,
                None => 1,
            };
            end = Some(candle.end);
            rows += usize::from(adjacent >= needed);
        }
        rows
    }
}
