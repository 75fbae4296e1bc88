//! How rows are made of candles, and which candles count for them.

use market::{Candle, Recipe};
use serde::{Deserialize, Serialize};
use store::model_card::Skipped;

use crate::features::{LOOKBACK, has_range};

/// How rows are made of candles. Training, scoring and live forecasts of one model go by one and the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RowSpec {
    /// What is predicted, and from what: a recipe that works on candles.
    pub recipe: Recipe,
    /// How many candles ahead, 1 to [`crate::lookback::HORIZON_MAX`].
    pub horizon: usize,
    /// Candles of less coverage count as missing, 0 to 1.
    pub min_coverage: f64,
}

/// Why a candle counts as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Less of its window is known than [`RowSpec::min_coverage`].
    Thin,
    /// Its high and low are no range, which the recipe is about. See [`has_range`].
    FewPoints,
}

impl Unusable {
    /// Counts the candle among those that gave no row.
    pub(super) fn count_in(self, skipped: &mut Skipped) {
        match self {
            Self::Thin => skipped.thin += 1,
            Self::FewPoints => skipped.few_points += 1,
        }
    }
}

impl RowSpec {
    /// Why a candle counts as missing; None when it counts.
    pub fn unusable(&self, candle: &Candle) -> Option<Unusable> {
        if candle.coverage < self.min_coverage {
            Some(Unusable::Thin)
        } else if self.recipe == Recipe::Volatility && !has_range(candle) {
            Some(Unusable::FewPoints)
        } else {
            None
        }
    }

    /// How many adjacent candles a prediction is made from, the newest included.
    pub fn lookback(&self) -> usize {
        match self.recipe {
            // The newest range is that of as many candles as are predicted.
            Recipe::Volatility => LOOKBACK.max(self.horizon),
            Recipe::Calendar | Recipe::Returns => LOOKBACK,
        }
    }

    /// How many rows [`super::of_candles`] makes of the same candles, without making them.
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
