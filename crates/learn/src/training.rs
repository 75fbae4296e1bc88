//! Trains a model: ticks in; the model, its predictions, its scores and its card out.

mod card;
mod scoring;

use std::time::Duration;

use market::{Scores, Tick};
use serde::{Deserialize, Serialize};
use store::archive::catalog::SeqRange;
use store::model_card::ModelCard;
use store::predictions::{Fold, Prediction};

use self::card::{TrainingResult, card, model_id};
use self::scoring::{fold_scores, score};
use crate::booster::BoosterError;
use crate::config::LearnConfig;
use crate::dataset::Dataset;
use crate::fit::fit;
use crate::forecaster::Forecaster;
use crate::prepare::{LearnError, folds_inside, prepare_and_split};
use crate::split::Split;

/// The result of a training.
pub struct Learned {
    /// The model card. [`Self::timed`] adds the duration.
    pub card: ModelCard,
    /// Predictions of all folds and of the holdout, in order of time within each.
    pub predictions: Vec<Prediction>,
    /// The content of the model file.
    pub model: Vec<u8>,
    /// Scores beside the incumbent; `None` without an incumbent, or without rows that neither has learned from.
    pub comparison: Option<Comparison>,
}

impl Learned {
    /// Notes the duration of the training on the card.
    pub fn timed(mut self, took: Duration) -> Self {
        self.card.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

/// Scores of two models on the same rows, which neither has learned from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Scores of the new model.
    pub challenger: Scores,
    /// Scores of the model in use.
    pub incumbent: Scores,
}

/// The next stage of a training, for progress displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A fold is fitted and scored.
    Fold {
        /// The fold's number, from 1.
        number: usize,
        /// Number of folds.
        of: usize,
    },
    /// The model itself is fitted, after the folds.
    Model {
        /// Number of folds.
        folds: usize,
    },
}

/// Trains a model on the ticks of an instrument, which are ascending by (event time, id) and come from the MARKET
/// sequences `range`. The same ticks, settings and library give the same result, byte for byte.
///
/// # Errors
/// Too few rows, a price that never moves, ticks coarser than the interval, or an error of XGBoost.
///
/// # Panics
/// The ticks are out of order.
pub fn learn(ticks: &[Tick], range: Option<SeqRange>, config: &LearnConfig) -> Result<Learned, LearnError> {
    learn_against(ticks, range, config, None, |_| ())
}

/// Trains a model, calls `report` before each stage, and scores the incumbent on the holdout too: a model of earlier
/// ticks of the same instrument and recipe.
///
/// # Errors
/// As [`learn`].
///
/// # Panics
/// As [`learn`], and when the incumbent is of another recipe.
pub fn learn_against(
    ticks: &[Tick],
    range: Option<SeqRange>,
    config: &LearnConfig,
    incumbent: Option<&Forecaster>,
    mut report: impl FnMut(Stage),
) -> Result<Learned, LearnError> {
    let (prepared, outer) = prepare_and_split(ticks, config)?;
    let dataset = &prepared.dataset;
    let fit_config = prepared.fit_config(ticks, config);
    let mut predictions = Vec::new();
    let mut folds = Vec::new();
    let parts = folds_inside(dataset, &outer, config);
    for (idx, part) in parts.iter().enumerate() {
        report(Stage::Fold { number: idx + 1, of: parts.len() });
        let fitted = fit(dataset, &part.train, &fit_config)?;
        let scored = score(dataset, &fitted, &part.validation, Fold::Validation(idx + 1), config.split)?;
        folds.push(fold_scores(dataset, part, idx + 1, &fitted, scored.scores));
        predictions.extend(scored.predictions);
    }
    report(Stage::Model { folds: parts.len() });
    let held_out = match config.split {
        Split::Time => Fold::Holdout,
        Split::Random => Fold::Test,
    };
    let fitted = fit(dataset, &outer.train, &fit_config)?;
    let scored = score(dataset, &fitted, &outer.validation, held_out, config.split)?;
    predictions.extend(scored.predictions);
    let comparison = match incumbent {
        Some(incumbent) => compare(dataset, &outer.validation, &fitted.forecaster, incumbent)?,
        None => None,
    };

    let model = fitted.forecaster.to_bytes()?;
    let result = TrainingResult { outer, fit_config, fitted, holdout: scored.scores, folds };
    let mut card = card(ticks, range, config, &prepared, result)?;
    card.model = model_id(&card, &model);
    Ok(Learned { card, predictions, model, comparison })
}

/// Scores both models on the held-out rows whose predictions are made after the incumbent's training ended. That is
/// mostly the whole holdout; but an archive that begins later has another holdout.
fn compare(
    dataset: &Dataset,
    held_out: &[usize],
    challenger: &Forecaster,
    incumbent: &Forecaster,
) -> Result<Option<Comparison>, BoosterError> {
    let is_fair = |row: &&usize| dataset.rows[**row].made >= incumbent.learned_until();
    let rows: Vec<usize> = held_out.iter().filter(is_fair).copied().collect();
    let scores = challenger.evaluate(dataset, &rows)?.zip(incumbent.evaluate(dataset, &rows)?);
    Ok(scores.map(|(challenger, incumbent)| Comparison { challenger, incumbent }))
}

#[cfg(test)]
mod tests;
