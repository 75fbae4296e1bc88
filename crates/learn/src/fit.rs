//! One way to fit, used alike for every fold and for the model itself, from training rows alone.
//!
//! The training rows are split once more in the manner of the outer split. On the inner part the number of rounds is
//! found, if the recipe lets it be found, and the interval is calibrated; then all training rows are fitted with it. The
//! baseline is chosen on the training rows too. So what a fold scores is the whole procedure, and no choice ever sees
//! the rows that are scored.

use market::{EventTime, Recipe, Window};
use serde::{Deserialize, Serialize};
use store::model_card::RANDOM_LABEL;

use crate::baseline;
use crate::booster::{BoosterError, Boosting, Model, Table};
use crate::dataset::{Dataset, Row};
use crate::forecaster::{Forecaster, Imprint, Learned};
use crate::interval::{Calibration, error};
use crate::split::{self, Part};

/// Share of the training rows on which rounds are chosen and intervals calibrated.
const CALIBRATION_SHARE: f64 = 0.2;

/// How rows are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Split {
    /// The last rows in time, after a purge of one horizon: a fair score
    Time,
    /// Random rows, as the original program did: leaks the future
    Random,
}

impl Split {
    /// How the split is called wherever a score of it appears.
    pub fn label(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Random => RANDOM_LABEL,
        }
    }

    /// Splits rows.
    pub fn part(self, rows: &[Row], share: f64, purge: market::Span, seed: u64) -> Part {
        match self {
            Self::Time => split::by_time(rows, share, purge),
            Self::Random => split::random(rows.len(), share, seed),
        }
    }
}

/// What is fitted, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Length of the candles; none for a recipe that works on ticks.
    pub interval: Option<Window>,
    /// How many candles ahead. At least 1.
    pub horizon: usize,
    /// Candles of less coverage count as missing; none for a recipe that works on ticks.
    pub min_coverage: Option<f64>,
    /// Where time begins, for a recipe that counts it.
    pub origin: Option<EventTime>,
    /// How rows are held out.
    pub split: Split,
    /// How trees are grown.
    pub boosting: Boosting,
}

/// A model that was fitted to all training rows.
pub struct Fitted {
    /// The model.
    pub forecaster: Forecaster,
    /// Its trees.
    pub rounds: u32,
}

/// Fits the given rows of a dataset. Intervals are calibrated on the rows on which the number of rounds was found: they
/// begin a little too narrow, by as much as that choice fits, and adapt from there.
///
/// # Errors
/// When XGBoost refuses.
pub fn fit(dataset: &Dataset, train: &[usize], task: &Task) -> Result<Fitted, BoosterError> {
    let boosting = &task.boosting;
    let rows: Vec<Row> = train.iter().map(|&row| dataset.rows[row]).collect();
    let inner = task.split.part(&rows, CALIBRATION_SHARE, dataset.horizon(), boosting.seed);
    let of_dataset = |rows: &[usize]| -> Vec<usize> { rows.iter().map(|&row| train[row]).collect() };
    let (head, tail) = (of_dataset(&inner.train), of_dataset(&inner.validation));
    let (rounds, outputs) = calibrate(dataset, &head, &tail, boosting)?;
    let smearing = smearing(dataset, &tail, &outputs);
    let errors = tail.iter().zip(outputs).map(|(&row, output)| {
        let predicted = crate::target::value(dataset.recipe, output, dataset.anchor(row)) * smearing;
        error(dataset.rows[row].actual, predicted, dataset.rows[row].scale)
    });
    let calibration = Calibration::new(errors.collect());
    let (features, labels) = (dataset.features_of(train), dataset.labels_of(train));
    let model = Model::fit(Table { features: &features, labels: &labels }, boosting, rounds)?;
    let imprint = Imprint {
        recipe: dataset.recipe,
        interval: task.interval,
        horizon: task.horizon,
        min_coverage: task.min_coverage,
        origin: task.origin,
        learned_until: rows.iter().map(|row| row.target_end).max().unwrap_or(EventTime::MIN),
        baseline: baseline::choose(dataset, train),
        smearing,
        calibration,
        learned: Learned::of(&features, dataset.width()),
    };
    Ok(Fitted { forecaster: Forecaster::new(model, imprint)?, rounds })
}

/// The mean of e^residual over rows that the model was not fitted to, for a recipe that is fitted to logs and scored on
/// what they are logs of. Prices need none: their returns are so small that it is 1.
fn smearing(dataset: &Dataset, rows: &[usize], outputs: &[f32]) -> f64 {
    if dataset.recipe != Recipe::Volatility || outputs.is_empty() {
        return 1.0;
    }
    let residuals = rows.iter().zip(outputs).map(|(&row, output)| f64::from(dataset.rows[row].label - output));
    residuals.map(f64::exp).sum::<f64>() / outputs.len() as f64
}

/// The number of rounds, and what a model of the rows `head` alone says of the rows `tail`.
fn calibrate(
    dataset: &Dataset,
    head: &[usize],
    tail: &[usize],
    boosting: &Boosting,
) -> Result<(u32, Vec<f32>), BoosterError> {
    if head.is_empty() || tail.is_empty() {
        return Ok((boosting.rounds_max, Vec::new()));
    }
    let (features, labels) = (dataset.features_of(head), dataset.labels_of(head));
    let (tail_features, tail_labels) = (dataset.features_of(tail), dataset.labels_of(tail));
    let head_table = Table { features: &features, labels: &labels };
    match dataset.recipe {
        // The original's number of rounds is part of its recipe.
        Recipe::Calendar => {
            let model = Model::fit(head_table, boosting, boosting.rounds_max)?;
            Ok((boosting.rounds_max, model.predict(&tail_features, tail.len())?))
        }
        Recipe::Returns | Recipe::Volatility => {
            let tail_table = Table { features: &tail_features, labels: &tail_labels };
            let stopped = Model::stop_early(head_table, tail_table, boosting)?;
            Ok((stopped.rounds, stopped.predictions))
        }
    }
}
