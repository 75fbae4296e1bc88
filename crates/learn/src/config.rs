//! The settings of a training.

use market::{Instrument, Recipe};
use serde::{Deserialize, Serialize};

use crate::booster::Boosting;
use crate::candles::Interval;
use crate::row_spec::RowSpec;
use crate::split::Split;

/// The settings of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnConfig {
    /// The instrument.
    pub instrument: Instrument,
    /// The recipe.
    pub recipe: Recipe,
    /// Length of the candles. Recipes that work on ticks ignore it.
    pub interval: Interval,
    /// How many intervals ahead. At least 1.
    pub horizon: usize,
    /// Candles of less coverage count as missing, 0 to 1.
    pub min_coverage: f64,
    /// How rows are held out.
    pub split: Split,
    /// Share of the rows held out, between 0 and 1.
    pub holdout: f64,
    /// Number of rolling-origin folds inside the training part; a random split has none.
    pub folds: usize,
    /// Parameters of the trees. Their seed is also the split's.
    pub boosting: Boosting,
}

impl LearnConfig {
    /// Returns how rows are made of candles; for a recipe that works on ticks those of `returns`, which `trainer check`
    /// checks beside it.
    pub fn row_spec(&self) -> RowSpec {
        let recipe = if self.recipe.is_of_candles() { self.recipe } else { Recipe::Returns };
        RowSpec { recipe, horizon: self.horizon, min_coverage: self.min_coverage }
    }
}
