//! What is said of a candle to come, and what became of it: the records of FORECAST.
//!
//! All times are event time, so the same log gives the same forecasts at any replay speed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;
use crate::scores::Scores;
use crate::window::Window;

/// What a model in use is worth by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelRole {
    /// On the newest holdout it beats the baseline by more than chance (p < 0.05).
    Champion,
    /// There is no evidence of that: used because there is nothing better, and it says so.
    Candidate,
    /// On rows that neither has learned from it lost to the model in use, which stays.
    Lost,
}

/// How a forecast is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Of a model that beats the baseline by more than chance.
    Champion,
    /// Of a model for which there is no evidence of that.
    Candidate,
    /// What it was made from lies beyond all that the model has learned from: trees cannot reach further.
    UnlikeTraining,
}

/// Which forecast of which model: enough to tell it from all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastKey<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// What is predicted, and from what.
    pub recipe: Recipe,
    /// Length of the candles.
    pub interval: Window,
    /// When it was made: the end of the newest candle that it knows.
    pub made_ms: i64,
    /// First instant of what it is about.
    pub target_start_ms: i64,
    /// First instant after what it is about.
    pub target_end_ms: i64,
    /// The model, by its id.
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    /// How it is to be taken.
    pub status: Status,
    /// What the model says: the close at `target_end_ms` in quote currency, for `volatility` log(high ÷ low) of the
    /// target.
    pub prediction: f64,
    /// What doing nothing says: the last close, for `volatility` the baseline that was chosen in training.
    pub baseline: f64,
}

/// A forecast on `forecast.<p>.next.<coin>.<quote>`: `{"coin":"bitcoin","quote":"usd","recipe":"returns",
/// "interval":"15m","made_ms":1583021700000,"target_start_ms":1583021700000,"target_end_ms":1583022600000,
/// "model":"4be1c1f02b6f2a07","status":"candidate","prediction":8532.1,"baseline":8531.9,"level":0.9,"lower":8493.7,
/// "upper":8570.6,"lower_50":…,"upper_50":…,…}`. An interval is absent while too little is known to make it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextLine<'a> {
    /// Which forecast.
    #[serde(flatten, borrow)]
    pub key: ForecastKey<'a>,
    /// How often the truth should lie between `lower` and `upper`: 0.9.
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

/// A forecast that has met its truth, on `forecast.<p>.score.<coin>.<quote>`: the forecast's own fields, and
/// `"actual":8540.2,"coverage":1.0,"error":8.1,"inside":true,"inside_50":false,…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreLine<'a> {
    /// Which forecast.
    #[serde(flatten, borrow)]
    pub key: ForecastKey<'a>,
    /// The truth, by the first final candle of the target; later revisions change nothing.
    pub actual: f64,
    /// The least coverage of the candles of the target, 0 to 1: how well the truth is known.
    pub coverage: f64,
    /// `actual` − `prediction`.
    pub error: f64,
    /// Whether the truth is inside the 90 % interval; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<bool>,
    /// The same of the 50 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_50: Option<bool>,
    /// The same of the 80 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_80: Option<bool>,
    /// The same of the 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside_95: Option<bool>,
}

/// Why a model was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Event time passed a multiple of the span between trainings.
    Schedule,
    /// The model in use has become worse than doing nothing, or its intervals miss too often.
    Drift,
}

/// A model that was trained and what became of it, on `forecast.<p>.model.<coin>.<quote>`:
/// `{"coin":"bitcoin","quote":"usd","recipe":"returns","interval":"15m","min_coverage":0.5,"model":"4be1c1f02b6f2a07","sha256":"9f2c…",
/// "cause":"schedule","standing":"champion","valid_from_ms":…,"expires_ms":…,"trained_first_ms":…,"trained_last_ms":…,
/// "trained_ticks":…,"scores":{"rows":584,"rmse":27.23,"baseline_rmse":27.24,"skill":0.0004,"p":0.364},
/// "rival":{"model":…,"rows":584,…}}`.
///
/// It names its ticks by event time and number; the stream sequences, which depend on how ticks were packed, stand on the
/// model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// What it predicts, and from what.
    pub recipe: Recipe,
    /// Length of the candles.
    pub interval: Window,
    /// Candles of less coverage count as missing, 0 to 1: when it was fitted and scored, and for its forecasts.
    pub min_coverage: f64,
    /// The model, by its id; its files stand in ARTIFACTS under this id.
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    /// SHA-256 of its file, as 64 hexadecimal digits: nothing else is loaded under its id.
    #[serde(borrow)]
    pub sha256: Cow<'a, str>,
    /// Why it was trained.
    pub cause: Cause,
    /// What became of it.
    pub standing: ModelRole,
    /// End of the candle from which on it counts.
    pub valid_from_ms: i64,
    /// From here on it makes no more forecasts.
    pub expires_ms: i64,
    /// Event time of the first tick that it learned from.
    pub trained_first_ms: i64,
    /// Event time of the last tick that it learned from.
    pub trained_last_ms: i64,
    /// Ticks that it learned from.
    pub trained_ticks: u64,
    /// Its scores on its holdout.
    pub scores: HoldoutScores,
    /// The model that was in use until now, on the same rows: whoever has the lower RMSE is used from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Incumbent>,
}

/// Scores of a model on the holdout of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HoldoutScores {
    /// Rows.
    pub rows: u64,
    /// Its RMSE.
    pub rmse: f64,
    /// The baseline's RMSE.
    pub baseline_rmse: f64,
    /// 1 − RMSE ÷ the baseline's; absent when nothing moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// How probable so good scores would be by chance; absent when that cannot be said.
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

/// The model that was in use, on the holdout of a new one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incumbent {
    /// Its id.
    pub model: String,
    /// Its scores there.
    #[serde(flatten)]
    pub scores: HoldoutScores,
}
