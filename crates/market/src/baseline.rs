//! The naive baseline: a prediction without a model, which every model is compared with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::recipe::Recipe;

/// Half-lives of the running averages of a range, in candles.
pub const HALF_LIVES: [u32; 6] = [3, 6, 12, 24, 48, 96];

/// A prediction that needs no training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// The newest value: the last price, or the range of the last candles.
    Last,
    /// The running average with the half-life at this index of [`HALF_LIVES`]; only for `volatility`.
    Average(usize),
}

/// A name that is not a baseline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown baseline {0:?}: last, or ewma- and a half-life of {HALF_LIVES:?} candles")]
pub struct UnknownBaseline(String);

impl Baseline {
    /// Returns the baselines that a recipe can be compared with.
    pub fn all(recipe: Recipe) -> Vec<Self> {
        let averages = match recipe {
            Recipe::Calendar | Recipe::Returns => 0,
            Recipe::Volatility => HALF_LIVES.len(),
        };
        std::iter::once(Self::Last).chain((0..averages).map(Self::Average)).collect()
    }

    /// Returns the prediction, given the newest value and the running averages, where there are any.
    ///
    /// # Panics
    /// A recipe without averages is compared with one.
    pub fn predict(self, last: f64, averages: Option<&[f64; HALF_LIVES.len()]>) -> f64 {
        match self {
            Self::Last => last,
            Self::Average(idx) => averages.expect("only a recipe with averages is compared with one")[idx],
        }
    }

    /// Returns the name of the baseline beside scores of a recipe.
    pub fn words(self, recipe: Recipe) -> String {
        match self {
            Self::Last => self.short_words(recipe).to_owned(),
            Self::Average(idx) => format!("{} of half-life {}", self.short_words(recipe), HALF_LIVES[idx]),
        }
    }

    /// Returns a shorter name, for labels in plots.
    pub fn short_words(self, recipe: Recipe) -> &'static str {
        match self {
            Self::Last if recipe.predicts_prices() => "last price",
            Self::Last => "last range",
            Self::Average(_) => "running average",
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Average(idx) => write!(f, "ewma-{}", HALF_LIVES[*idx]),
        }
    }
}

impl FromStr for Baseline {
    type Err = UnknownBaseline;

    fn from_str(name: &str) -> Result<Self, UnknownBaseline> {
        let known = Self::all(Recipe::Volatility).into_iter().find(|baseline| baseline.to_string() == name);
        known.ok_or_else(|| UnknownBaseline(name.to_owned()))
    }
}

impl Serialize for Baseline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Baseline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused() {
        let names: Vec<_> = Baseline::all(Recipe::Volatility).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["last", "ewma-3", "ewma-6", "ewma-12", "ewma-24", "ewma-48", "ewma-96"]);
        for name in names {
            assert_eq!(name.parse::<Baseline>().expect("known").to_string(), name);
        }
        assert!("ewma-7".parse::<Baseline>().is_err());
        assert_eq!(Baseline::all(Recipe::Returns), [Baseline::Last]);
    }
}
