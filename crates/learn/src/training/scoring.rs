//! Scores of a part of the rows, predicted as it would have been live.

use std::collections::BTreeMap;

use market::band::{Band, LEVELS};
use store::model_card::{FoldScores, PartScores};
use store::predictions::{Fold, Prediction};

use crate::booster::BoosterError;
use crate::dataset::Dataset;
use crate::evaluation::{PredictionOutcome, evaluate};
use crate::fit::Fitted;
use crate::forecaster::{Forecaster, Predicted, timed_predictions};
use crate::interval::{Adaptive, TimedPrediction, adaptive_bands, coverage};
use crate::split::{RowSplit, Split};

/// Predictions of a part of the rows, and their scores.
pub(super) struct ScoredPart {
    pub(super) predictions: Vec<Prediction>,
    pub(super) scores: PartScores,
}

/// Predicts rows in order of time. For a split by time the intervals adapt from row to row as they do live; for a
/// random split they do not.
pub(super) fn score(
    dataset: &Dataset,
    fitted: &Fitted,
    rows: &[usize],
    fold: Fold,
    split: Split,
) -> Result<ScoredPart, BoosterError> {
    let forecaster = &fitted.forecaster;
    let predicted = forecaster.predict_rows(dataset, rows)?;
    let timed = timed_predictions(dataset, rows, &predicted);
    let calibration = forecaster.calibration();
    let bands = match split {
        Split::Time => adaptive_bands(calibration, &timed),
        Split::Random => {
            let adaptive = Adaptive::default();
            timed.iter().map(|row| adaptive.bands(calibration, row.predicted, row.scale)).collect()
        }
    };
    let prediction_of = |((timed, predicted), bands): ((&TimedPrediction, &Predicted), _)| Prediction {
        timestamp: timed.target_end,
        close: timed.actual,
        prediction: predicted.prediction,
        baseline: predicted.baseline,
        bands,
        fold,
    };
    let predictions: Vec<_> = timed.iter().zip(&predicted).zip(bands).map(prediction_of).collect();
    let unlike = predicted.iter().filter(|row| row.is_unlike).count();
    let scores = part_scores(forecaster, &predictions, unlike);
    Ok(ScoredPart { predictions, scores })
}

fn part_scores(forecaster: &Forecaster, predictions: &[Prediction], unlike: usize) -> PartScores {
    let outcome =
        |row: &Prediction| PredictionOutcome { baseline: row.baseline, actual: row.close, predicted: row.prediction };
    let outcomes: Vec<_> = predictions.iter().map(outcome).collect();
    let scores = evaluate(forecaster.recipe(), forecaster.horizon(), &outcomes).expect("a part has rows");
    let by_level = |of: &dyn Fn(usize) -> Option<f64>| -> BTreeMap<String, f64> {
        let figures = LEVELS.into_iter().enumerate().filter_map(|(idx, level)| Some((level.to_string(), of(idx)?)));
        figures.collect()
    };
    let width = |idx: usize, of: fn(&Prediction, Band) -> f64| {
        mean(predictions.iter().filter_map(|row| Some(of(row, row.bands[idx]?))).filter(|width| width.is_finite()))
    };
    PartScores {
        scores,
        coverage: by_level(&|idx| coverage(predictions.iter().map(|row| (row.close, row.bands[idx])))),
        width: by_level(&|idx| width(idx, |_, band| band.width())),
        width_relative: by_level(&|idx| width(idx, |row, band| band.width() / row.baseline)),
        unlike_training: unlike,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

pub(super) fn fold_scores(
    dataset: &Dataset,
    part: &RowSplit,
    fold: usize,
    fitted: &Fitted,
    scores: PartScores,
) -> FoldScores {
    let (first, last) = (part.validation[0], part.validation[part.validation.len() - 1]);
    FoldScores {
        fold,
        train_rows: part.train.len(),
        rounds: fitted.rounds,
        baseline: fitted.forecaster.baseline(),
        from_ms: dataset.rows[first].made.ms(),
        to_ms: dataset.rows[last].target_end.ms(),
        part: scores,
    }
}
