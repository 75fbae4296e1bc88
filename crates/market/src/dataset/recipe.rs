//! What is predicted, and from what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::feature::volatility::{self, HALF_LIVES, RANGE_MIN};
use crate::feature::{CALENDAR_COLUMNS, returns};
use crate::validate::{PRICE_MAX, PRICE_MIN};

/// What is predicted, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Time, hour and day of the week → close, per tick: the original program's.
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

    /// The name in flags, records and object keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::Returns => "returns",
            Self::Volatility => "volatility",
        }
    }

    /// The columns of its features, in order.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Calendar => &CALENDAR_COLUMNS,
            Self::Returns => &returns::COLUMNS,
            Self::Volatility => &volatility::COLUMNS,
        }
    }

    /// Whether it works on candles; otherwise on ticks.
    pub const fn is_of_candles(self) -> bool {
        matches!(self, Self::Returns | Self::Volatility)
    }

    /// Whether it predicts prices; otherwise log(high ÷ low).
    pub const fn predicts_prices(self) -> bool {
        matches!(self, Self::Calendar | Self::Returns)
    }

    /// What a model's output is relative to, given the newest value and the running averages: the last close
    /// (`returns`), the level of the range (`volatility`), nothing but 1 (`calendar`). Positive.
    ///
    /// # Panics
    /// When `volatility` is given no averages.
    pub fn anchor(self, last: f64, averages: Option<&[f64; HALF_LIVES.len()]>) -> f64 {
        match self {
            Self::Calendar => 1.0,
            Self::Returns => last,
            Self::Volatility => volatility::level(averages.expect("volatility has averages")),
        }
    }

    /// What a model is fitted to: the truth itself (`calendar`), log(actual ÷ anchor) (`returns`), or that held within
    /// bounds (`volatility`, see [`volatility::log_ratio`]).
    pub fn label(self, actual: f64, anchor: f64) -> f32 {
        let label = match self {
            Self::Calendar => actual,
            Self::Returns => (actual / anchor).ln(),
            Self::Volatility => volatility::log_ratio(actual, anchor),
        };
        label as f32
    }

    /// The price or range that a model's output stands for: the output itself (`calendar`), or anchor × e^output. Held
    /// within the range of prices, or from [`RANGE_MIN`] to the range between the lowest price and the highest, so that
    /// it is always positive.
    pub fn value(self, output: f32, anchor: f64) -> f64 {
        match self {
            Self::Calendar => f64::from(output).clamp(PRICE_MIN, PRICE_MAX),
            Self::Returns => (anchor * f64::from(output).exp()).clamp(PRICE_MIN, PRICE_MAX),
            Self::Volatility => (anchor * f64::from(output).exp()).clamp(RANGE_MIN, (PRICE_MAX / PRICE_MIN).ln()),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of the recipes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown recipe {0:?}: one of calendar, returns, volatility")]
pub struct UnknownRecipe(String);

impl FromStr for Recipe {
    type Err = UnknownRecipe;

    fn from_str(name: &str) -> Result<Self, UnknownRecipe> {
        Self::ALL.into_iter().find(|recipe| recipe.name() == name).ok_or_else(|| UnknownRecipe(name.to_owned()))
    }
}
