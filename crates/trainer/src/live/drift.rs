//! Whether a model has drifted away from what it forecasts, judged by its scored forecasts alone.

use learn::evaluation::comparison::compare;
use serde::{Deserialize, Serialize};

use super::lines::Scored;

/// Scored forecasts of a judgement. Each forecast is judged once: a test that is looked at again and again finds by chance
/// what is not there.
const SCORED: usize = 100;
/// Worse than doing nothing, and so unlikely by chance, is drift.
const P_MAX: f64 = 0.01;
/// A 90 % interval that holds fewer truths than this is drift, although it adapts.
const INSIDE_MIN: usize = 80;

/// The scored forecasts of one model since it was last judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drift {
    rows: Vec<Row>,
    /// Forecasts since the last one that counts.
    skipped: u16,
    is_far: bool,
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
    /// Takes note of a forecast that has met its truth. Of those that look several candles ahead only every so many counts,
    /// so that no two share a candle.
    pub(crate) fn observe(&mut self, scored: &Scored<'_>, horizon: usize) {
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
        // A truth of 0 has no logarithm, and says nothing of drift.
        if row.error.is_finite() && row.baseline_error.is_finite() {
            self.rows.push(row);
        }
        if self.rows.len() == SCORED {
            self.is_far = is_far(&self.rows);
            self.rows.clear();
        }
    }

    /// Whether the model was found to be worse than doing nothing, or its intervals to miss too often.
    pub(crate) fn is_far(&self) -> bool {
        self.is_far
    }
}

fn is_far(rows: &[Row]) -> bool {
    let inside = rows.iter().filter(|row| row.is_inside).count();
    let errors = rows.iter().map(|row| f64::from(row.error));
    let baseline_errors = rows.iter().map(|row| f64::from(row.baseline_error));
    // Whether doing nothing beats the model by more than chance.
    let is_worse = compare(errors, baseline_errors, 1).is_some_and(|test| test.p < P_MAX);
    inside < INSIDE_MIN || is_worse
}
