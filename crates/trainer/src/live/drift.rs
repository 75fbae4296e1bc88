//! Whether a model has drifted away from what it forecasts, judged by its newest scored forecasts alone.

use std::collections::VecDeque;

use market::evaluation::comparison::compare;
use serde::{Deserialize, Serialize};

use super::lines::Scored;

/// Scored forecasts that a judgement needs; older ones are forgotten.
const SCORED: usize = 100;
/// Worse than doing nothing, and so unlikely by chance, is drift.
const P_MAX: f64 = 0.01;
/// A 90 % interval that holds fewer truths than this is drift, although it adapts: by chance less than once in 1,000 times.
const INSIDE_MIN: usize = 80;

/// The newest scored forecasts of one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drift {
    rows: VecDeque<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Row {
    /// log(actual ÷ prediction).
    error: f32,
    /// log(actual ÷ baseline).
    baseline_error: f32,
    /// Whether the truth was inside the 90 % interval; true without one.
    is_inside: bool,
}

impl Drift {
    /// Takes note of a forecast that has met its truth.
    pub(crate) fn observe(&mut self, scored: &Scored<'_>) {
        let log_of = |predicted: f64| (scored.actual / predicted).ln() as f32;
        let row = Row {
            error: log_of(scored.forecast.prediction),
            baseline_error: log_of(scored.forecast.baseline),
            is_inside: scored.is_inside_main().unwrap_or(true),
        };
        // A truth of 0 has no logarithm, and says nothing of drift.
        if row.error.is_finite() && row.baseline_error.is_finite() {
            if self.rows.len() == SCORED {
                self.rows.pop_front();
            }
            self.rows.push_back(row);
        }
    }

    /// Whether the model has become worse than doing nothing, or its intervals miss too often.
    pub(crate) fn is_far(&self, horizon: usize) -> bool {
        if self.rows.len() < SCORED {
            return false;
        }
        let inside = self.rows.iter().filter(|row| row.is_inside).count();
        let errors = self.rows.iter().map(|row| f64::from(row.error));
        let baseline_errors = self.rows.iter().map(|row| f64::from(row.baseline_error));
        // Whether doing nothing beats the model by more than chance.
        let is_worse = compare(errors, baseline_errors, horizon).is_some_and(|test| test.p < P_MAX);
        inside < INSIDE_MIN || is_worse
    }
}
