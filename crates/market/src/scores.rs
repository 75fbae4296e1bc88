//! Scores of a model beside the naive baseline. They are computed in the crate `learn`.

use serde::{Deserialize, Serialize};

/// Shares of chance below this are called evidence.
pub const EVIDENCE: f64 = 0.05;

/// What the test of Diebold and Mariano says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DieboldMariano {
    /// The corrected statistic: above 0 when the challenger's squared errors are smaller on average.
    pub statistic: f64,
    /// One-sided: how probable so large a statistic would be if the challenger were no better, 0 to 1.
    pub p: f64,
}

/// Scores of a model and of the baseline on the same rows. Prices and their errors are in quote currency, ranges and
/// theirs in log(high ÷ low).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Rows that were scored.
    pub rows: usize,
    /// 1 − Σ(actual − predicted)² ÷ Σ(actual − mean actual)². On prices near 1 for anything that knows the last price.
    /// Absent when all truths are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// The same on log returns, log(price ÷ last): above 0 only for a model that knows something.
    /// Absent when all actual returns are equal, and for a recipe that predicts no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2_return: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// R2 of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_r2: Option<f64>,
    /// RMSE of the baseline.
    pub baseline_rmse: f64,
    /// Mean absolute error of the baseline.
    pub baseline_mae: f64,
    /// 1 − RMSE ÷ RMSE of the baseline: above 0 when the model beats doing nothing. Absent when the baseline is perfect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// Of the rows whose truth differs from the baseline, the share for which the model was on the right side of it;
    /// predicting the baseline itself is a miss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction_hit_rate: Option<f64>,
    /// Whether the model's errors are smaller than the baseline's by more than chance: the test of Diebold and Mariano.
    /// Absent when the two do not differ, or there are too few rows for the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diebold_mariano: Option<DieboldMariano>,
}

impl Scores {
    /// Whether the model beats doing nothing by more than chance: [`EVIDENCE`].
    pub fn is_evident(&self) -> bool {
        self.skill.is_some_and(|skill| skill > 0.0) && self.diebold_mariano.is_some_and(|test| test.p < EVIDENCE)
    }
}
