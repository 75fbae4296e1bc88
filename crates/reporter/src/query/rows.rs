//! The rows of the answers: what a question about prices, candles, forecasts, models or the pipeline is answered with.
//!
//! They are plain data with a JSON form and a JSON Schema. Times are milliseconds since the epoch, UTC, in fields that
//! end in `_ms`; a field without a value is absent. Each row names its instrument, so a row is understood by itself.

use std::ops::Not;
use std::sync::Arc;

use market::band::{LEVEL_MAIN, LEVELS};
use market::forecast::{
    Cause, ForecastKey, HoldoutScores, Incumbent, ModelLine, ModelRole, NextLine, ScoreLine, Status,
};
use market::profile::HourOfDayLine;
use market::recipe::Recipe;
use market::tick::PriceLine;
use market::{Candle, Window};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

/// An accepted price.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PriceRow {
    /// Coin, such as `bitcoin`.
    pub coin: Arc<str>,
    /// Quote currency, such as `usd`.
    pub quote: Arc<str>,
    /// Event time; for a bar, its first instant.
    pub event_ms: i64,
    /// Time from which the price is known: the end of a bar, otherwise the event time.
    pub known_ms: i64,
    /// The price in quote currency; for a bar, its last one.
    pub close: f64,
    /// Present and true if the price was fetched afterwards, to fill a hole or as history.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub filled: bool,
    /// Sequence of its message in MARKET. Several prices may share a message.
    pub seq: u64,
}

impl PriceRow {
    /// Returns the row of a price line in the MARKET message with this sequence.
    pub fn new(line: &PriceLine<'_>, seq: u64) -> Self {
        Self {
            coin: line.coin.as_ref().into(),
            quote: line.quote.as_ref().into(),
            event_ms: line.event_ms,
            known_ms: line.event_ms + line.grain_ms.unwrap_or_default(),
            close: line.close,
            filled: line.filled,
            seq,
        }
    }
}

/// A candle: one window of one instrument.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CandleRow {
    /// Coin, such as `bitcoin`.
    pub coin: Arc<str>,
    /// Quote currency, such as `usd`.
    pub quote: Arc<str>,
    /// Kind of window.
    #[schemars(schema_with = "window_schema")]
    pub window: Window,
    /// First instant of the window.
    pub start_ms: i64,
    /// First instant after the window.
    pub end_ms: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Mean of the ticks' closes.
    pub average: f64,
    /// Volume traded, in units of the coin, of the ticks that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<f64>,
    /// Number of ticks with a volume, if only some have one: `volume` is then a lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_count: Option<u64>,
    /// Value traded, in quote currency; only if it is known of every tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote_volume: Option<f64>,
    /// Volume-weighted average price; only if both volumes are known of every tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vwap: Option<f64>,
    /// Number of ticks.
    pub count: u64,
    /// Number of ticks that were fetched afterwards, to fill a hole or as history.
    pub filled: u64,
    /// Share of the window that is known, 0 to 1.
    pub coverage: f64,
    /// 0 while the window is open, then 1, then one more for each late tick that was applied.
    pub revision: u32,
    /// Whether the window has closed.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl From<&Candle> for CandleRow {
    fn from(candle: &Candle) -> Self {
        Self {
            coin: candle.coin.clone(),
            quote: candle.quote.clone(),
            window: candle.window,
            start_ms: candle.start.ms(),
            end_ms: candle.end.ms(),
            open: candle.open,
            high: candle.high,
            low: candle.low,
            close: candle.close,
            average: candle.average,
            volume: candle.volume,
            volume_count: candle.volume_count,
            quote_volume: candle.quote_volume,
            vwap: candle.vwap(),
            count: candle.count,
            filled: candle.filled,
            coverage: candle.coverage,
            revision: candle.revision,
            is_final: candle.is_final,
        }
    }
}

/// An hour of the day in the profile of an instrument, over all days.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HourRow {
    /// Hour of the day, UTC, 0 to 23.
    pub hour: u8,
    /// Mean of the closes.
    pub average: f64,
    /// Smallest close.
    pub min: f64,
    /// Largest close.
    pub max: f64,
    /// Number of ticks.
    pub count: u64,
}

impl From<&HourOfDayLine<'_>> for HourRow {
    fn from(line: &HourOfDayLine<'_>) -> Self {
        Self { hour: line.hour, average: line.average, min: line.min, max: line.max, count: line.count }
    }
}

/// A prediction interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct BandRow {
    /// Nominal rate, 0 to 1.
    pub level: f64,
    /// Lower end, included, in units of the prediction.
    pub lower: f64,
    /// Upper end, included.
    pub upper: f64,
}

/// A forecast. It is pending until the truth is known, and scored from then on.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ForecastRow {
    /// Coin, such as `bitcoin`.
    pub coin: Arc<str>,
    /// Quote currency, such as `usd`.
    pub quote: Arc<str>,
    /// The recipe: target and features.
    #[schemars(schema_with = "recipe_schema")]
    pub recipe: Recipe,
    /// Length of the candles.
    #[schemars(schema_with = "window_schema")]
    pub interval: Window,
    /// When it was made: the end of the newest candle that it knows.
    pub made_ms: i64,
    /// First instant of the target.
    pub target_start_ms: i64,
    /// First instant after the target.
    pub target_end_ms: i64,
    /// Id of the model.
    pub model: Arc<str>,
    /// How reliable it is: made by a champion, by a candidate, or from features unlike the training data.
    #[schemars(schema_with = "status_schema")]
    pub status: Status,
    /// The model's prediction: the close at `target_end_ms` in quote currency, for `volatility` log(high ÷ low).
    pub prediction: f64,
    /// The prediction of the naive baseline.
    pub baseline: f64,
    /// Prediction intervals, narrowest first; empty while the model has too few rows to calibrate them, and for a scored
    /// forecast whose record as a pending one is not stored any more.
    pub bands: Vec<BandRow>,
    /// The truth; only of a scored forecast, as are the following fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<f64>,
    /// The least coverage of the candles of the target, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// `actual` − `prediction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Whether the truth is inside the 90 % interval; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<bool>,
}

impl ForecastRow {
    fn new(key: &ForecastKey<'_>, bands: Vec<BandRow>) -> Self {
        Self {
            coin: key.coin.as_ref().into(),
            quote: key.quote.as_ref().into(),
            recipe: key.recipe,
            interval: key.interval,
            made_ms: key.made_ms,
            target_start_ms: key.target_start_ms,
            target_end_ms: key.target_end_ms,
            model: key.model.as_ref().into(),
            status: key.status,
            prediction: key.prediction,
            baseline: key.baseline,
            bands,
            actual: None,
            coverage: None,
            error: None,
            inside: None,
        }
    }

    /// Returns the row of a scored forecast, with the intervals of its record as a pending one.
    pub fn scored(line: &ScoreLine<'_>, bands: Vec<BandRow>) -> Self {
        Self {
            actual: Some(line.actual),
            coverage: Some(line.coverage),
            error: Some(line.error),
            inside: line.inside,
            ..Self::new(&line.key, bands)
        }
    }

    /// Whether both rows are of the same forecast: the same recipe, interval and target of the same instrument.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    fn identity(&self) -> (&str, &str, Recipe, Window, i64, i64) {
        (&self.coin, &self.quote, self.recipe, self.interval, self.made_ms, self.target_end_ms)
    }
}

impl From<&NextLine<'_>> for ForecastRow {
    fn from(line: &NextLine<'_>) -> Self {
        Self::new(&line.key, bands_of(line))
    }
}

/// Returns the intervals of a forecast, narrowest first.
pub fn bands_of(line: &NextLine<'_>) -> Vec<BandRow> {
    let ends = [
        (line.lower_50, line.upper_50),
        (line.lower_80, line.upper_80),
        (line.lower, line.upper),
        (line.lower_95, line.upper_95),
    ];
    let band = |(percent, (lower, upper)): (u8, (Option<f64>, Option<f64>))| {
        Some(BandRow { level: rate_of(percent), lower: lower?, upper: upper? })
    };
    LEVELS.into_iter().zip(ends).filter_map(band).collect()
}

/// Returns for each interval of a scored forecast its nominal rate and whether the truth was inside; absent intervals
/// are left out.
pub fn hits_of(line: &ScoreLine<'_>) -> impl Iterator<Item = (f64, bool)> {
    let inside = [line.inside_50, line.inside_80, line.inside, line.inside_95];
    LEVELS.into_iter().zip(inside).filter_map(|(percent, inside)| Some((rate_of(percent), inside?)))
}

fn rate_of(percent: u8) -> f64 {
    f64::from(percent) / 100.0
}

// The two functions above list the intervals in this order.
const _: () = assert!(matches!(LEVELS, [50, 80, LEVEL_MAIN, 95]));

/// Scores of a model on a holdout, beside the naive baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct HoldoutRow {
    /// Number of rows.
    pub rows: u64,
    /// Root mean squared error of the model.
    pub rmse: f64,
    /// Root mean squared error of the naive baseline.
    pub baseline_rmse: f64,
    /// 1 − `rmse` ÷ `baseline_rmse`; absent if the truth never moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// Probability of a skill this high by chance, 0 to 1; absent if the test is not possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

impl From<&HoldoutScores> for HoldoutRow {
    fn from(scores: &HoldoutScores) -> Self {
        let &HoldoutScores { rows, rmse, baseline_rmse, skill, p } = scores;
        Self { rows, rmse, baseline_rmse, skill, p }
    }
}

/// The model that was in use when another one was trained, with its scores on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct IncumbentRow {
    /// Id of the model.
    pub model: Arc<str>,
    /// Its scores.
    pub scores: HoldoutRow,
}

impl From<&Incumbent> for IncumbentRow {
    fn from(incumbent: &Incumbent) -> Self {
        Self { model: incumbent.model.as_str().into(), scores: (&incumbent.scores).into() }
    }
}

/// A trained model and the decision about it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ModelRow {
    /// Coin, such as `bitcoin`.
    pub coin: Arc<str>,
    /// Quote currency, such as `usd`.
    pub quote: Arc<str>,
    /// The recipe: target and features.
    #[schemars(schema_with = "recipe_schema")]
    pub recipe: Recipe,
    /// Length of the candles.
    #[schemars(schema_with = "window_schema")]
    pub interval: Window,
    /// Id of the model.
    pub model: Arc<str>,
    /// The decision: used with evidence against the naive baseline, used without it, or not used.
    #[schemars(schema_with = "role_schema")]
    pub role: ModelRole,
    /// Why it was trained.
    #[schemars(schema_with = "cause_schema")]
    pub cause: Cause,
    /// Event time from which it counts.
    pub valid_from_ms: i64,
    /// Event time from which it makes no more forecasts.
    pub expires_ms: i64,
    /// Event time of the first tick that it learned from.
    pub trained_first_ms: i64,
    /// Event time of the last tick that it learned from.
    pub trained_last_ms: i64,
    /// Number of ticks that it learned from.
    pub trained_ticks: u64,
    /// Its scores on its holdout.
    pub scores: HoldoutRow,
    /// The model in use until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<IncumbentRow>,
    /// Whether it beats the naive baseline by more than chance: skill above 0 with p < 0.05, the mark of a champion.
    pub beats_baseline: bool,
}

impl From<&ModelLine<'_>> for ModelRow {
    fn from(line: &ModelLine<'_>) -> Self {
        Self {
            coin: line.coin.as_ref().into(),
            quote: line.quote.as_ref().into(),
            recipe: line.recipe,
            interval: line.interval,
            model: line.model.as_ref().into(),
            role: line.role,
            cause: line.cause,
            valid_from_ms: line.valid_from_ms,
            expires_ms: line.expires_ms,
            trained_first_ms: line.trained_first_ms,
            trained_last_ms: line.trained_last_ms,
            trained_ticks: line.trained_ticks,
            scores: (&line.scores).into(),
            incumbent: line.incumbent.as_ref().map(Into::into),
            beats_baseline: line.role == ModelRole::Champion,
        }
    }
}

/// State of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PipelineRow {
    /// Whether the NATS server is connected. If not, the rest is the last known state.
    pub connected: bool,
    /// The source of the prices.
    pub source: SourceState,
    /// Accepted ticks a second, over the last seconds.
    pub rate_per_s: f64,
    /// The steps, upstream first; empty before their positions are known.
    pub steps: Vec<StepRow>,
    /// Credits of the account that made the last request to a live source; absent before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<CreditsRow>,
    /// Event time of the newest price of all instruments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_event_ms: Option<i64>,
    /// Time of this state, by the clock of the reporter.
    pub as_of_ms: i64,
}

/// The source of the prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Prices of now.
    Live,
    /// Prices of a recording, which are being committed now.
    Replaying,
    /// Prices of a recording that has ended.
    Finished,
    /// Live prices that have stopped.
    Silent,
    /// No price yet.
    None,
}

/// Progress of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepRow {
    /// Name of the service.
    pub service: &'static str,
    /// Messages that should be committed by now and are not, in the partition that is furthest behind; an upper bound.
    pub behind: u64,
    /// Whether the step has ever committed.
    pub has_begun: bool,
    /// Number of living instances, standby ones included; absent if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
}

/// Credits of an account at a live source.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CreditsRow {
    /// Name of the plan.
    pub plan: String,
    /// Requests left in the current month; absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Requests that the account may make in a month; absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Time between two polls, as the producer has chosen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<i64>,
}

/// Returns the schema of a text that is one of these values.
fn one_of<T: Serialize>(values: &[T]) -> Schema {
    let values: Vec<serde_json::Value> = values.iter().filter_map(|value| serde_json::to_value(value).ok()).collect();
    json_schema!({ "type": "string", "enum": values })
}

/// Returns the schema of a kind of window.
pub(super) fn window_schema(_: &mut SchemaGenerator) -> Schema {
    one_of(&Window::ALL)
}

/// Returns the schema of a recipe.
pub(super) fn recipe_schema(_: &mut SchemaGenerator) -> Schema {
    one_of(&Recipe::ALL)
}

fn status_schema(_: &mut SchemaGenerator) -> Schema {
    one_of(&[Status::Champion, Status::Candidate, Status::UnlikeTraining])
}

fn role_schema(_: &mut SchemaGenerator) -> Schema {
    one_of(&[ModelRole::Champion, ModelRole::Candidate, ModelRole::Rejected])
}

fn cause_schema(_: &mut SchemaGenerator) -> Schema {
    one_of(&[Cause::Schedule, Cause::Drift])
}
