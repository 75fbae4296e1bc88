//! What a recipe's model is fitted to, and the price or range that its output stands for.

use market::Recipe;
use market::baseline::HALF_LIVES;
use market::validate::{PRICE_MAX, PRICE_MIN};

use crate::features::volatility::{self, RANGE_MIN};

/// What a model's output is relative to, given the newest value and the running averages: the last close
/// (`returns`), the level of the range (`volatility`), nothing but 1 (`calendar`). Positive.
///
/// # Panics
/// When `volatility` is given no averages.
pub fn anchor(recipe: Recipe, last: f64, averages: Option<&[f64; HALF_LIVES.len()]>) -> f64 {
    match recipe {
        Recipe::Calendar => 1.0,
        Recipe::Returns => last,
        Recipe::Volatility => volatility::level(averages.expect("volatility has averages")),
    }
}

/// What a model is fitted to: the truth itself (`calendar`), log(actual ÷ anchor) (`returns`), or that held within
/// bounds (`volatility`, see [`volatility::log_ratio`]).
pub fn label(recipe: Recipe, actual: f64, anchor: f64) -> f32 {
    let label = match recipe {
        Recipe::Calendar => actual,
        Recipe::Returns => (actual / anchor).ln(),
        Recipe::Volatility => volatility::log_ratio(actual, anchor),
    };
    label as f32
}

/// The price or range that a model's output stands for: the output itself (`calendar`), or anchor × e^output. Held
/// within the range of prices, or from [`RANGE_MIN`] to the range between the lowest price and the highest, so that
/// it is always positive.
pub fn value(recipe: Recipe, output: f32, anchor: f64) -> f64 {
    match recipe {
        Recipe::Calendar => f64::from(output).clamp(PRICE_MIN, PRICE_MAX),
        Recipe::Returns => (anchor * f64::from(output).exp()).clamp(PRICE_MIN, PRICE_MAX),
        Recipe::Volatility => (anchor * f64::from(output).exp()).clamp(RANGE_MIN, (PRICE_MAX / PRICE_MIN).ln()),
    }
}
