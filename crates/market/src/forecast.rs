//! Forecasts, their scores, and decisions about models: the records of FORECAST.
//!
//! All times are event time, so the same log gives the same forecasts at any replay speed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;
use crate::scores::Scores;
use crate::window::Window;

/// The decision about a trained model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelRole {
    /// Used: it beats the naive baseline on its holdout by more than chance (p < 0.05).
    Champion,
    /// Used without that evidence; its forecasts say so.
    Candidate,
    /// Not used: on rows that neither has learned from, its RMSE is not below the incumbent's.
    Rejected,
}

/// How reliable a forecast is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Made by a model that beats the naive baseline by more than chance.
    Champion,
    /// Made by a model without evidence of that.
    Candidate,
    /// Made from features outside the range of the training data: trees cannot extrapolate.
    UnlikeTraining,
}

/// Identifies a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastKey<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// The recipe.
    pub recipe: Recipe,
    /// Length of the candles.
    pub interval: Window,
    /// When it was made, in milliseconds: the end of the newest candle that it knows.
    pub made_ms: i64,
    /// First instant of the target, in milliseconds.
    pub target_start_ms: i64,
    /// First instant after the target, in milliseconds.
    pub target_end_ms: i64,
    /// Id of the model.
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    /// How reliable it is.
    pub status: Status,
    /// The model's prediction: the close at `target_end_ms` in quote currency, for `volatility` log(high ÷ low) of the
    /// target.
    pub prediction: f64,
    /// The prediction of the naive baseline: the last close, for `volatility` the baseline that was chosen in training.
    pub baseline: f64,
}

/// A forecast on `forecast.<p>.next.<coin>.<quote>`: `{"coin":"bitcoin","quote":"usd","recipe":"returns",
/// "interval":"15m","made_ms":1583021700000,"target_start_ms":1583021700000,"target_end_ms":1583022600000,
/// "model":"4be1c1f02b6f2a07","status":"candidate","prediction":8532.1,"baseline":8531.9,"level":0.9,"lower":8493.7,
/// "upper":8570.6,"lower_50":…,"upper_50":…,…}`. An interval is absent while the model has too few rows to calibrate
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextLine<'a> {
    /// The forecast.
    #[serde(flatten, borrow)]
    pub key: ForecastKey<'a>,
    /// The nominal rate of `lower` and `upper`: 0.9.
    pub level: f64,
    /// Lower end of the 90 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// Upper end of the 90 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// Lower end of the 50 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_50: Option<f64>,
    /// Upper end of the 50 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_50: Option<f64>,
    /// Lower end of the 80 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_80: Option<f64>,
    /// Upper end of the 80 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_80: Option<f64>,
    /// Lower end of the 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_95: Option<f64>,
    /// Upper end of the 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_95: Option<f64>,
}

/// A scored forecast on `forecast.<p>.score.<coin>.<quote>`: the fields of the forecast, and
/// `"actual":8540.2,"coverage":1.0,"error":8.1,"inside":true,"inside_50":false,…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreLine<'a> {
    /// The forecast.
    #[serde(flatten, borrow)]
    pub key: ForecastKey<'a>,
    /// The truth, from the first final candle of the target; later revisions do not change it.
    pub actual: f64,
    /// The least coverage of the candles of the target, 0 to 1.
    pub coverage: f64,
    /// `actual` − `prediction`.
    pub error: f64,
    /// Whether the truth is inside the 90 % interval; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<bool>,
    /// The same for the 50 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_50: Option<bool>,
    /// The same for the 80 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_80: Option<bool>,
    /// The same for the 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_95: Option<bool>,
}

/// The cause of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Event time passed a multiple of the span between trainings.
    Schedule,
    /// The model in use has become worse than the naive baseline, or its intervals miss too often.
    Drift,
}

/// A trained model and the decision about it, on `forecast.<p>.model.<coin>.<quote>`:
/// `{"coin":"bitcoin","quote":"usd","recipe":"returns","interval":"15m","min_coverage":0.5,"model":"4be1c1f02b6f2a07","sha256":"9f2c…",
/// "cause":"schedule","role":"champion","valid_from_ms":…,"expires_ms":…,"trained_first_ms":…,"trained_last_ms":…,
/// "trained_ticks":…,"scores":{"rows":584,"rmse":27.23,"baseline_rmse":27.24,"skill":0.0004,"p":0.364},
/// "incumbent":{"model":…,"rows":584,…}}`.
///
/// It names its ticks by event time and number. Stream sequences depend on the packing of ticks; they are on the model
/// card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// The recipe.
    pub recipe: Recipe,
    /// Length of the candles.
    pub interval: Window,
    /// Candles of less coverage count as missing, 0 to 1: when it was fitted and scored, and for its forecasts.
    pub min_coverage: f64,
    /// Id of the model, under which ARTIFACTS holds its files.
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    /// SHA-256 of its file, as 64 hexadecimal digits. Another file is not loaded under its id.
    #[serde(borrow)]
    pub sha256: Cow<'a, str>,
    /// Why it was trained.
    pub cause: Cause,
    /// The decision.
    pub role: ModelRole,
    /// End of the candle from which the model counts, in milliseconds.
    pub valid_from_ms: i64,
    /// Event time from which it makes no more forecasts, in milliseconds.
    pub expires_ms: i64,
    /// Event time of the first tick that it learned from, in milliseconds.
    pub trained_first_ms: i64,
    /// Event time of the last tick that it learned from, in milliseconds.
    pub trained_last_ms: i64,
    /// Number of ticks that it learned from.
    pub trained_ticks: u64,
    /// Its scores on its holdout.
    pub scores: HoldoutScores,
    /// The model in use until now, on the same rows. The model with the lower RMSE is used from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<Incumbent>,
}

/// Scores of a model on the holdout of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HoldoutScores {
    /// Number of rows.
    pub rows: u64,
    /// Its RMSE.
    pub rmse: f64,
    /// The naive baseline's RMSE.
    pub baseline_rmse: f64,
    /// 1 − RMSE ÷ the baseline's; absent when the truth never moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// p-value of a skill this high by chance; absent when the test is not possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

impl From<&Scores> for HoldoutScores {
    fn from(scores: &Scores) -> Self {
        Self {
            rows: scores.rows as u64,
            rmse: scores.rmse,
            baseline_rmse: scores.baseline_rmse,
            skill: scores.skill,
            p: scores.diebold_mariano.map(|test| test.p),
        }
    }
}

/// The model in use, with its scores on the holdout of a new one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incumbent {
    /// Its id.
    pub model: String,
    /// Its scores there.
    #[serde(flatten)]
    pub scores: HoldoutScores,
}
