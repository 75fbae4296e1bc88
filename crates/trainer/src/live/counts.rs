//! Counts of the forecasting step.

use serde::{Deserialize, Serialize};
use step::CounterValue;

/// Counts over all instruments of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Candles that closed.
    pub candles: u64,
    /// Of them, those that count as missing because too little of them is known.
    pub thin: u64,
    /// Of them, those that count as missing because they have too few points for a range.
    pub few_points: u64,
    /// Forecasts made.
    pub forecasts: u64,
    /// Of them, those from features outside the range of the training data.
    pub unlike_training: u64,
    /// Forecasts whose truth has come.
    pub scored: u64,
    /// Forecasts whose truth never came: a candle of the target was absent, or counts as missing.
    pub unscored: u64,
    /// Candles without a forecast because the model had expired.
    pub expired: u64,
    /// Models trained.
    pub models: u64,
    /// Of them, those that replaced the incumbent.
    pub switches: u64,
    /// Trainings for which there was not enough data.
    pub untrained: u64,
    /// Trainings that were due because of drift.
    pub drifts: u64,
    /// Lines of MARKET that could not be read; 0 in a healthy pipeline.
    pub unreadable: u64,
}

impl Counts {
    /// Returns the counts as metrics.
    pub(crate) fn counter_values(&self) -> Vec<CounterValue> {
        let of =
            |metric, help, outcome, count| CounterValue { metric, help, labels: vec![("outcome", outcome)], count };
        let left_out = |reason, count| CounterValue {
            metric: "candles_left_out",
            help: "Candles that count as missing: thin (known to less than --min-coverage), few-points (no range)",
            labels: vec![("reason", reason)],
            count,
        };
        let forecasts =
            "Forecasts by outcome: made, of them unlike-training, scored, unscored; expired ones were not made";
        let models = "Trainings by outcome: trained, of them taken into use; none for lack of data";
        vec![
            of("forecasts", forecasts, "made", self.forecasts),
            of("forecasts", forecasts, "unlike-training", self.unlike_training),
            of("forecasts", forecasts, "scored", self.scored),
            of("forecasts", forecasts, "unscored", self.unscored),
            of("forecasts", forecasts, "expired", self.expired),
            of("models", models, "trained", self.models),
            of("models", models, "taken", self.switches),
            of("models", models, "none", self.untrained),
            left_out("thin", self.thin),
            left_out("few-points", self.few_points),
            CounterValue {
                metric: "drifts",
                help: "Trainings that were due because of drift",
                labels: Vec::new(),
                count: self.drifts,
            },
            CounterValue::candles(self.candles),
            of("ticks", "Lines of MARKET by outcome", "unreadable", self.unreadable),
        ]
    }
}
