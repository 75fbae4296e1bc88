//! The fitting procedure, the same for every fold and for the model itself. It uses training rows alone.
//!
//! The training rows are split once more, in the manner of the outer split. The inner split gives the number of rounds,
//! if the recipe does not fix it, and calibrates the intervals; then the model is fitted to all training rows. The
//! naive baseline is chosen on the training rows too. So a fold scores the whole procedure, and no choice sees the rows
//! that are scored.

use market::{EventTime, Recipe, Window};

use crate::baseline;
use crate::booster::{BoosterError, Boosting, LabeledRows, Model};
use crate::dataset::{Dataset, DatasetRow};
use crate::forecaster::{FeatureRange, Forecaster, ModelMetadata};
use crate::interval::{Calibration, error};
use crate::split::Split;

/// Share of the training rows that choose the number of rounds and calibrate the intervals.
const CALIBRATION_SHARE: f64 = 0.2;

/// Settings of a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct FitConfig {
    /// Length of the candles; `None` for a recipe that works on ticks.
    pub interval: Option<Window>,
    /// How many candles ahead. At least 1.
    pub horizon: usize,
    /// Candles of less coverage count as missing; `None` for a recipe that works on ticks.
    pub min_coverage: Option<f64>,
    /// Time 0 of the features of a recipe that counts time; `None` otherwise.
    pub origin: Option<EventTime>,
    /// How the training rows are split once more.
    pub split: Split,
    /// Parameters of the trees.
    pub boosting: Boosting,
}

/// A model fitted to all training rows.
pub struct Fitted {
    /// The model.
    pub forecaster: Forecaster,
    /// Its number of trees.
    pub rounds: u32,
}

/// Fits a model to the given rows of a dataset. The intervals are calibrated on the rows that chose the number of
/// rounds, so they are a little too narrow at first, and adapt from there.
///
/// # Errors
/// XGBoost returns an error.
pub fn fit(dataset: &Dataset, train: &[usize], fit_config: &FitConfig) -> Result<Fitted, BoosterError> {
    let boosting = &fit_config.boosting;
    let rows: Vec<DatasetRow> = train.iter().map(|&row| dataset.rows[row]).collect();
    let inner = fit_config.split.split_rows(&rows, CALIBRATION_SHARE, dataset.horizon(), boosting.seed);
    let of_dataset = |rows: &[usize]| -> Vec<usize> { rows.iter().map(|&row| train[row]).collect() };
    let (head, tail) = (of_dataset(&inner.train), of_dataset(&inner.validation));
    let (rounds, outputs) = calibrate(dataset, &head, &tail, boosting)?;
    let smearing = smearing(dataset, &tail, &outputs);
    let errors = tail.iter().zip(outputs).map(|(&row, output)| {
        let predicted = crate::target::value(dataset.recipe, output, dataset.reference(row)) * smearing;
        error(dataset.rows[row].actual, predicted, dataset.rows[row].scale)
    });
    let calibration = Calibration::new(errors.collect());
    let (features, labels) = (dataset.features_of(train), dataset.labels_of(train));
    let model = Model::fit(LabeledRows { features: &features, labels: &labels }, boosting, rounds)?;
    let metadata = ModelMetadata {
        recipe: dataset.recipe,
        interval: fit_config.interval,
        horizon: fit_config.horizon,
        min_coverage: fit_config.min_coverage,
        origin: fit_config.origin,
        learned_until: rows.iter().map(|row| row.target_end).max().unwrap_or(EventTime::MIN),
        baseline: baseline::choose(dataset, train),
        smearing,
        calibration,
        learned: FeatureRange::of(&features, dataset.width()),
    };
    Ok(Fitted { forecaster: Forecaster::new(model, metadata)?, rounds })
}

/// Returns the smearing factor: the mean of e^residual over rows that the model was not fitted to, for a recipe that is
/// fitted to logs of the scored value. Prices need none: their returns are so small that the factor is 1.
fn smearing(dataset: &Dataset, rows: &[usize], outputs: &[f32]) -> f64 {
    if dataset.recipe != Recipe::Volatility || outputs.is_empty() {
        return 1.0;
    }
    let residuals = rows.iter().zip(outputs).map(|(&row, output)| f64::from(dataset.rows[row].label - output));
    residuals.map(f64::exp).sum::<f64>() / outputs.len() as f64
}

/// Returns the number of rounds, and the predictions of the rows `tail` by a model of the rows `head` alone.
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
    let head_table = LabeledRows { features: &features, labels: &labels };
    match dataset.recipe {
        // The number of rounds is part of the original program's recipe.
        Recipe::Calendar => {
            let model = Model::fit(head_table, boosting, boosting.rounds_max)?;
            Ok((boosting.rounds_max, model.predict(&tail_features, tail.len())?))
        }
        Recipe::Returns | Recipe::Volatility => {
            let tail_table = LabeledRows { features: &tail_features, labels: &tail_labels };
            let stopped = Model::stop_early(head_table, tail_table, boosting)?;
            Ok((stopped.rounds, stopped.predictions))
        }
    }
}
