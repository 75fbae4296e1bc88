//! Recipes: what a model predicts from which features.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A recipe: the predicted value and the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Time, hour and day of the week → close, per tick, as in the original program.
    Calendar,
    /// Trailing returns, volatility, range, volume and calendar → the next log return, per candle.
    Returns,
    /// Trailing ranges, returns, volume and calendar, in units of a running average → the next log(high ÷ low), per
    /// candle.
    Volatility,
}

impl Recipe {
    /// Every recipe.
    pub const ALL: [Self; 3] = [Self::Calendar, Self::Returns, Self::Volatility];

    /// Returns the name in flags, records and object keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::Returns => "returns",
            Self::Volatility => "volatility",
        }
    }

    /// Whether the recipe works on candles; otherwise on ticks.
    pub const fn is_of_candles(self) -> bool {
        matches!(self, Self::Returns | Self::Volatility)
    }

    /// Whether the recipe predicts prices; otherwise log(high ÷ low).
    pub const fn predicts_prices(self) -> bool {
        matches!(self, Self::Calendar | Self::Returns)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not a recipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown recipe {0:?}: one of calendar, returns, volatility")]
pub struct UnknownRecipe(String);

impl FromStr for Recipe {
    type Err = UnknownRecipe;

    fn from_str(name: &str) -> Result<Self, UnknownRecipe> {
        Self::ALL.into_iter().find(|recipe| recipe.name() == name).ok_or_else(|| UnknownRecipe(name.to_owned()))
    }
}
