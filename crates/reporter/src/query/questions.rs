//! The questions: what a client may ask for. They have a JSON form and a JSON Schema, and are the query parameters of the
//! web API.

use market::{Recipe, Window};
use schemars::JsonSchema;
use serde::Deserialize;

use super::rows::{recipe_schema, window_schema};

/// Instruments with data, ordered by name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentsQuestion {
    /// Only instruments whose name, such as `bitcoin/usd`, contains this text.
    pub search: Option<String>,
    /// Number of instruments, at most; 500 by default.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Final candles of one instrument.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CandlesQuestion {
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// Kind of window.
    #[schemars(schema_with = "window_schema")]
    pub window: Window,
    /// Only candles that begin at this time or later, in milliseconds since the epoch.
    pub from_ms: Option<i64>,
    /// Only candles that begin before this time, in milliseconds since the epoch.
    pub to_ms: Option<i64>,
    /// Number of candles, at most; 500 by default.
    #[schemars(range(min = 1, max = 5000))]
    pub limit: Option<usize>,
    /// `next` of the page before, for the page of older candles.
    pub cursor: Option<String>,
}

/// Accepted prices of one instrument.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricesQuestion {
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// Only prices of this event time or later, in milliseconds since the epoch.
    pub from_ms: Option<i64>,
    /// Only prices before this event time, in milliseconds since the epoch.
    pub to_ms: Option<i64>,
    /// Number of prices, at most; 500 by default.
    #[schemars(range(min = 1, max = 5000))]
    pub limit: Option<usize>,
    /// `next` of the page before, for the page of older prices.
    pub cursor: Option<String>,
}

/// A question about one instrument.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentQuestion {
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
}

/// Forecasts of one instrument: those whose truth is not known yet, and a page of scored ones.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForecastsQuestion {
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// Only forecasts of this recipe.
    #[serde(default)]
    #[schemars(schema_with = "recipe_schema")]
    pub recipe: Option<Recipe>,
    /// Number of scored forecasts, at most; 500 by default.
    #[schemars(range(min = 1, max = 5000))]
    pub limit: Option<usize>,
    /// `next` of the page before, for the page of older scored forecasts.
    pub cursor: Option<String>,
}

/// Models of one instrument.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelsQuestion {
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// Only models of this recipe.
    #[serde(default)]
    #[schemars(schema_with = "recipe_schema")]
    pub recipe: Option<Recipe>,
}
