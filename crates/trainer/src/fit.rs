//! One way to fit, used alike for every fold and for the model itself, from training rows alone.
//!
//! The training rows are split once more in the manner of the outer split. On the inner part the number of rounds is
//! found, if the recipe lets it be found, and the interval is calibrated; then all training rows are fitted with it. So
//! what a fold scores is the whole procedure, and no choice ever sees the rows that are scored.

use market::dataset::{Dataset, Recipe, Row};
use market::interval::{Conformal, nonconformity};
use market::split::{self, Part};

use crate::booster::{BoosterError, Boosting, Model, Table};

/// Share of the training rows on which rounds are chosen and intervals calibrated.
const CALIBRATION_SHARE: f64 = 0.2;

/// How rows are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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
            Self::Random => split::RANDOM_LABEL,
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

/// A model with its intervals.
pub struct Fitted {
    /// The model, fitted to all training rows.
    pub model: Model,
    /// Its trees.
    pub rounds: u32,
    /// Its intervals.
    pub conformal: Conformal,
}

/// Fits the given rows of a dataset.
///
/// # Errors
/// When XGBoost refuses.
pub fn fit(dataset: &Dataset, train: &[usize], split: Split, boosting: &Boosting) -> Result<Fitted, BoosterError> {
    let rows: Vec<Row> = train.iter().map(|&row| dataset.rows[row]).collect();
    let inner = split.part(&rows, CALIBRATION_SHARE, dataset.horizon(), boosting.seed);
    let of_dataset = |rows: &[usize]| -> Vec<usize> { rows.iter().map(|&row| train[row]).collect() };
    let (head, tail) = (of_dataset(&inner.train), of_dataset(&inner.validation));
    let (rounds, outputs) = calibrate(dataset, &head, &tail, boosting)?;
    let scores = tail.iter().zip(outputs).map(|(&row, output)| {
        let row = &dataset.rows[row];
        nonconformity(row, dataset.recipe.price(output, row.last))
    });
    let conformal = Conformal::calibrate(scores.collect());
    let (features, labels) = (dataset.features_of(train), dataset.labels_of(train));
    let model = Model::fit(Table { features: &features, labels: &labels }, boosting, rounds)?;
    Ok(Fitted { model, rounds, conformal })
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
        Recipe::Returns => {
            let tail_table = Table { features: &tail_features, labels: &tail_labels };
            let stopped = Model::stop_early(head_table, tail_table, boosting)?;
            Ok((stopped.rounds, stopped.predictions))
        }
    }
}
