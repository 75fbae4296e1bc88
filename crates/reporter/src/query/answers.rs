//! The answers to questions. Each is a JSON object.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::{Recipe, Window};
use schemars::JsonSchema;
use serde::Serialize;

use super::rows::{CandleRow, ForecastRow, HourRow, ModelRow, PriceRow, recipe_schema, window_schema};

/// Instruments with data, ordered by name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Instruments {
    /// The instruments.
    pub instruments: Vec<InstrumentRow>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An instrument with its newest price.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct InstrumentRow {
    /// Coin, such as `bitcoin`.
    pub coin: Arc<str>,
    /// Quote currency, such as `usd`.
    pub quote: Arc<str>,
    /// The newest price by event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceRow>,
    /// Change since the last hourly candle that ended 24 hours before that price: 0.02 is 2 % more. Absent without such a
    /// candle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_24h: Option<f64>,
}

/// A page of final candles.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Candles {
    /// Coin, such as `bitcoin`.
    pub coin: String,
    /// Quote currency, such as `usd`.
    pub quote: String,
    /// Kind of window.
    #[schemars(schema_with = "window_schema")]
    pub window: Window,
    /// The newest revision of each candle, oldest first.
    pub candles: Vec<CandleRow>,
    /// Cursor of the page of older candles; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of accepted prices.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Prices {
    /// The prices, oldest first by event time.
    pub prices: Vec<PriceRow>,
    /// Cursor of the page of older prices; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The hour-of-day profile of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Hours {
    /// Hours with a price, by hour.
    pub hours: Vec<HourRow>,
}

/// Forecasts of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Forecasts {
    /// Forecasts whose truth is not known yet, oldest first.
    pub pending: Vec<ForecastRow>,
    /// A page of scored forecasts, oldest first.
    pub scored: Vec<ForecastRow>,
    /// Cursor of the page of older scored forecasts; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Models of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Models {
    /// Decisions about trained models, newest first, at most 200.
    pub models: Vec<ModelRow>,
    /// Figures of the models that made the newest 2,000 scored forecasts, the newest model first.
    pub live: Vec<LiveScores>,
}

/// Figures of a model, measured on its scored forecasts.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LiveScores {
    /// The recipe: target and features.
    #[schemars(schema_with = "recipe_schema")]
    pub recipe: Recipe,
    /// Length of the candles.
    #[schemars(schema_with = "window_schema")]
    pub interval: Window,
    /// Id of the model.
    pub model: Arc<str>,
    /// Number of scored forecasts.
    pub scored: u64,
    /// Root mean squared error of the model.
    pub rmse: f64,
    /// Root mean squared error of the naive baseline on the same forecasts.
    pub baseline_rmse: f64,
    /// 1 − `rmse` ÷ `baseline_rmse`; absent if the baseline has no error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// The calibration curve: by nominal rate, how often the truth was inside the interval.
    pub coverage: Vec<LevelCoverage>,
}

/// How often the truth was inside the intervals of a level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct LevelCoverage {
    /// Nominal rate, 0 to 1.
    pub level: f64,
    /// Number of truths inside.
    pub inside: u64,
    /// Number of scored forecasts with an interval.
    pub of: u64,
}

/// Data quality: counts of the whole pipeline, gaps and coverage of one instrument.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Quality {
    /// Ticks that count.
    pub accepted: u64,
    /// Accepted ticks that were fetched afterwards, to fill a hole or as history.
    pub filled: u64,
    /// Repeated ticks.
    pub duplicates: u64,
    /// Ticks that came after the allowed lateness.
    pub late: u64,
    /// Refused records by reason.
    pub rejected: BTreeMap<String, u64>,
    /// 1-minute windows that became final.
    pub candles: u64,
    /// Mean coverage, 0 to 1, of the 24 hours that end with the newest hourly candle; of fewer hours if the instrument has
    /// no older ones. A missing hour counts as 0. Absent without an hourly candle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_24h: Option<f64>,
    /// Spans that the source could not give, newest first, at most 50.
    pub gaps: Vec<GapRow>,
}

/// A span that the source could not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GapRow {
    /// First instant without an observation.
    pub from_ms: i64,
    /// First instant with an observation again.
    pub to_ms: i64,
    /// The cause, such as `missing-in-recording` or `rate-limited`.
    pub cause: String,
}
