//! Labels of the recipes, and the way back from a model's output to a price or range.

use market::Recipe;
use market::baseline::HALF_LIVES;
use market::validate::{PRICE_MAX, PRICE_MIN};

use crate::features::volatility::{self, RANGE_MIN};

/// Returns the reference of a model's output, given the newest value and the running averages: the last close
/// (`returns`), the level of the range (`volatility`), or 1 (`calendar`). Positive.
///
/// # Panics
/// `volatility` gets no averages.
pub fn reference(recipe: Recipe, last: f64, averages: Option<&[f64; HALF_LIVES.len()]>) -> f64 {
    match recipe {
        Recipe::Calendar => 1.0,
        Recipe::Returns => last,
        Recipe::Volatility => volatility::level(averages.expect("volatility has averages")),
    }
}

/// Returns the label that a model is fitted to: the truth itself (`calendar`), log(actual ÷ reference) (`returns`), or
/// that held within bounds (`volatility`, see [`volatility::log_ratio`]).
pub fn label(recipe: Recipe, actual: f64, reference: f64) -> f32 {
    let label = match recipe {
        Recipe::Calendar => actual,
        Recipe::Returns => (actual / reference).ln(),
        Recipe::Volatility => volatility::log_ratio(actual, reference),
    };
    label as f32
}

/// Returns the price or range of a model's output: the output itself (`calendar`), or reference × e^output. It is held
/// within the range of prices, or from [`RANGE_MIN`] to the range between the lowest price and the highest, so that it
/// is always positive.
pub fn value(recipe: Recipe, output: f32, reference: f64) -> f64 {
    match recipe {
        Recipe::Calendar => f64::from(output).clamp(PRICE_MIN, PRICE_MAX),
        Recipe::Returns => (reference * f64::from(output).exp()).clamp(PRICE_MIN, PRICE_MAX),
        Recipe::Volatility => (reference * f64::from(output).exp()).clamp(RANGE_MIN, (PRICE_MAX / PRICE_MIN).ln()),
    }
}
