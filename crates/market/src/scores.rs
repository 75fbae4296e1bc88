//! Scores of a model beside the naive baseline. The crate `learn` computes them.

use serde::{Deserialize, Serialize};

/// A p below this is evidence.
pub const EVIDENCE: f64 = 0.05;

/// The result of the test of Diebold and Mariano.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DieboldMariano {
    /// The corrected statistic: above 0 when the challenger's squared errors are smaller on average.
    pub statistic: f64,
    /// One-sided p-value, 0 to 1: the probability of a statistic at least this large if the challenger is no better.
    pub p: f64,
}

/// Scores of a model and of the naive baseline on the same rows. Prices and their errors are in quote currency, ranges
/// and theirs in log(high ÷ low).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of rows.
    pub rows: usize,
    /// R2: 1 − Σ(actual − predicted)² ÷ Σ(actual − mean actual)². On prices it is near 1 for any prediction near the
    /// last price. Absent when all truths are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// R2 of log returns, log(price ÷ last): above 0 only for a model with skill. Absent when all actual returns are
    /// equal, and for a recipe that predicts no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2_return: Option<f64>,
    /// Root mean squared error.
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
    /// 1 − RMSE ÷ RMSE of the baseline: above 0 when the model beats the naive baseline. Absent when the baseline has
    /// no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<f64>,
    /// Of the rows whose truth differs from the baseline, the share for which the prediction is on the same side of the
    /// baseline as the truth. A prediction equal to the baseline is a miss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction_hit_rate: Option<f64>,
    /// The test of whether the model's errors are smaller than the baseline's by more than chance. Absent when the two
    /// do not differ, or there are too few rows for the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diebold_mariano: Option<DieboldMariano>,
}

impl Scores {
    /// Whether the model beats the naive baseline by more than chance: see [`EVIDENCE`].
    pub fn is_evident(&self) -> bool {
        self.skill.is_some_and(|skill| skill > 0.0) && self.diebold_mariano.is_some_and(|test| test.p < EVIDENCE)
    }
}
