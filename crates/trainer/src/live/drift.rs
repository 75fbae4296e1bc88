//! Detects that a model has drifted, from its scored forecasts alone.

use learn::evaluation::diebold_mariano::diebold_mariano;
use serde::{Deserialize, Serialize};

use super::lines::ScoredForecast;

/// Scored forecasts of one judgement. Each forecast is judged once: a test that is repeated on the same rows would find
/// drift by chance.
const SCORED: usize = 100;
/// A model drifts when it is worse than the naive baseline with a p below this.
const P_MAX: f64 = 0.01;
/// A model drifts when its 90 % intervals, although they adapt, hold fewer truths than this of [`SCORED`].
const INSIDE_MIN: usize = 80;

/// The scored forecasts of one model since it was last judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drift {
    rows: Vec<Row>,
    /// Forecasts since the last one that counts.
    skipped: u16,
    has_drifted: bool,
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
    /// Records a scored forecast. Of forecasts with a longer `horizon` only every `horizon`-th counts, so that no two
    /// share a candle.
    pub(crate) fn observe(&mut self, scored: &ScoredForecast<'_>, horizon: usize) {
        self.skipped += 1;
        if usize::from(self.skipped) < horizon {
            return;
        }
        self.skipped = 0;
        let [_, _, inside, _] = scored.inside();
        let log_of = |predicted: f64| (scored.actual / predicted).ln() as f32;
        let row = Row {
            error: log_of(scored.forecast.prediction),
            baseline_error: log_of(scored.forecast.baseline),
            is_inside: inside.unwrap_or(true),
        };
        // A truth of 0 has no logarithm and does not count.
        if row.error.is_finite() && row.baseline_error.is_finite() {
            self.rows.push(row);
        }
        if self.rows.len() == SCORED {
            self.has_drifted = has_drifted(&self.rows);
            self.rows.clear();
        }
    }

    /// Whether the model was worse than the naive baseline, or its intervals missed too often, at the last judgement.
    pub(crate) fn has_drifted(&self) -> bool {
        self.has_drifted
    }
}

fn has_drifted(rows: &[Row]) -> bool {
    let inside = rows.iter().filter(|row| row.is_inside).count();
    let errors = rows.iter().map(|row| f64::from(row.error));
    let baseline_errors = rows.iter().map(|row| f64::from(row.baseline_error));
    // The naive baseline is the challenger here.
    let is_worse = diebold_mariano(errors, baseline_errors, 1).is_some_and(|test| test.p < P_MAX);
    inside < INSIDE_MIN || is_worse
}
