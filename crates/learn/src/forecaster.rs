//! A model that is ready to predict, loaded from the bytes of its file alone.
//!
//! Beside the trees the file holds metadata: recipe, interval, horizon, naive baseline, calibration, and the range of
//! each feature in training. So a model and its metadata cannot be separated, and a service needs no other file.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use market::{Baseline, EventTime, Recipe, Scores, Window};
use serde::{Deserialize, Serialize};

use crate::booster::{BoosterError, Model};
use crate::dataset::Dataset;
use crate::evaluation::{PredictionOutcome, evaluate};
use crate::features::{columns, is_of_time};
use crate::interval::{Calibration, TimedPrediction};
use crate::lookback::FeatureRow;
use crate::target;

/// The key of the metadata in the model file.
const METADATA_KEY: &str = "candlewire";
/// The version of the metadata and of the meaning of the features. Another version is another model.
pub const FORMAT: u32 = 2;

/// The metadata in a model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelMetadata {
    /// The recipe.
    pub(crate) recipe: Recipe,
    /// Length of the candles; `None` for a recipe that works on ticks.
    pub(crate) interval: Option<Window>,
    /// How many candles ahead.
    pub(crate) horizon: usize,
    /// Candles of less coverage counted as missing; `None` for a recipe that works on ticks.
    pub(crate) min_coverage: Option<f64>,
    /// Time 0 of the features of a recipe that counts time.
    pub(crate) origin: Option<EventTime>,
    /// Event time of the last truth that the model was fitted to.
    pub(crate) learned_until: EventTime,
    /// The naive baseline that the model is compared with.
    pub(crate) baseline: Baseline,
    /// Smearing factor on the output of the trees. A model of logs predicts the median; the mean, which squared errors
    /// ask for, is larger by the mean of e^residual (Duan, "Smearing estimate: a nonparametric retransformation
    /// method", 1983).
    pub(crate) smearing: f64,
    /// Errors on rows that the model was not fitted to.
    pub(crate) calibration: Calibration,
    /// The range of each feature in training.
    pub(crate) learned: Vec<FeatureRange>,
}

/// The range of a feature in the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct FeatureRange {
    /// Smallest and largest value; `None` when it was always missing.
    within: Option<(f32, f32)>,
    /// Whether the feature was ever missing.
    is_missing: bool,
}

impl FeatureRange {
    /// Returns the range of each column of a table with `width` columns.
    pub(crate) fn of(features: &[f32], width: usize) -> Vec<Self> {
        let mut columns = vec![Self { within: None, is_missing: false }; width];
        for row in features.chunks_exact(width) {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.extend(*value));
        }
        columns
    }

    fn extend(&mut self, value: f32) {
        if value.is_nan() {
            self.is_missing = true;
        } else {
            let (low, high) = self.within.unwrap_or((value, value));
            self.within = Some((low.min(value), high.max(value)));
        }
    }

    fn contains(&self, value: f32) -> bool {
        if value.is_nan() {
            self.is_missing
        } else {
            self.within.is_some_and(|(low, high)| (low..=high).contains(&value))
        }
    }
}

/// The metadata as stored: version and columns can be read in any version.
#[derive(Serialize, Deserialize)]
struct StoredMetadata<T> {
    format: u32,
    features: Vec<String>,
    #[serde(flatten)]
    rest: T,
}

/// Errors of a model file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ForecasterError {
    /// The file is not a model, or not all of one.
    #[error("the model file is damaged or cut short: copy it again, or train a new model ({0})")]
    Damaged(BoosterError),
    /// The model is not one of candlewire.
    #[error("the model file is not one of candlewire's: use a model.ubj that `trainer train` has written")]
    Foreign,
    /// Another version made the model.
    #[error(
        "the model file has format {found}, this version reads format {FORMAT}, which says what coverage candles need: train \
         a new model with this version"
    )]
    OtherFormat {
        /// The format of the file.
        found: u32,
    },
    /// The model was made for other features.
    #[error(
        "the model file is of a recipe or of features that this version does not make ({found}): train a new model with \
         this version"
    )]
    OtherFeatures {
        /// The features in the file.
        found: String,
    },
    /// XGBoost returned an error.
    #[error(transparent)]
    Booster(#[from] BoosterError),
}

/// A prediction, before its truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted {
    /// The model's prediction: a close, or log(high ÷ low). Positive.
    pub prediction: f64,
    /// The prediction of the naive baseline.
    pub baseline: f64,
    /// The unit of errors in log. See [`crate::dataset::DatasetRow::scale`].
    pub scale: f64,
    /// Whether a feature is outside its range in training, or missing although it never was in training. Features of
    /// the time do not count: time always goes on.
    pub is_unlike: bool,
}

/// A model and its metadata.
pub struct Forecaster {
    /// Behind a mutex, because XGBoost predicts on one thread at a time.
    model: Mutex<Model>,
    metadata: ModelMetadata,
}

impl Forecaster {
    /// Joins a model and its metadata, and stores the metadata in the model.
    pub(crate) fn new(mut model: Model, metadata: ModelMetadata) -> Result<Self, BoosterError> {
        let columns = crate::features::columns(metadata.recipe);
        let features = columns.iter().map(|name| (*name).to_owned()).collect();
        let stored = StoredMetadata { format: FORMAT, features, rest: &metadata };
        let json = serde_json::to_string(&stored).expect("all keys of the metadata are text");
        model.set_metadata(METADATA_KEY, &json, columns)?;
        Ok(Self { model: Mutex::new(model), metadata })
    }

    /// Reads a model file, to predict on this many threads.
    ///
    /// # Errors
    /// The bytes are not a model, not all of one, or one that this version cannot use.
    pub fn load(bytes: &[u8], threads: usize) -> Result<Self, ForecasterError> {
        let model = Model::from_bytes(bytes, threads).map_err(ForecasterError::Damaged)?;
        let json = model.metadata(METADATA_KEY)?.ok_or(ForecasterError::Foreign)?;
        let of_any_version: StoredMetadata<serde_json::Value> =
            serde_json::from_str(&json).map_err(|_| ForecasterError::Foreign)?;
        if of_any_version.format != FORMAT {
            return Err(ForecasterError::OtherFormat { found: of_any_version.format });
        }
        let other = |features: &[String]| ForecasterError::OtherFeatures { found: features.join(", ") };
        let StoredMetadata::<ModelMetadata> { features, rest: metadata, .. } =
            serde_json::from_str(&json).map_err(|_| other(&of_any_version.features))?;
        if features != crate::features::columns(metadata.recipe) || metadata.learned.len() != features.len() {
            return Err(other(&features));
        }
        Ok(Self { model: Mutex::new(model), metadata })
    }

    /// Returns the content of the model file. The same model gives the same bytes.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BoosterError> {
        self.model().to_bytes()
    }

    /// Returns the recipe.
    pub fn recipe(&self) -> Recipe {
        self.metadata.recipe
    }

    /// Returns the length of the candles; `None` for a recipe that works on ticks.
    pub fn interval(&self) -> Option<Window> {
        self.metadata.interval
    }

    /// Returns how many candles ahead the model predicts.
    pub fn horizon(&self) -> usize {
        self.metadata.horizon
    }

    /// Returns the minimum coverage of candles, in the fit and for forecasts: candles below count as missing. `None`
    /// for a recipe that works on ticks.
    pub fn min_coverage(&self) -> Option<f64> {
        self.metadata.min_coverage
    }

    /// Returns the event time of the last truth that the model was fitted to. Only scores of later predictions are
    /// fair.
    pub fn learned_until(&self) -> EventTime {
        self.metadata.learned_until
    }

    /// Returns the naive baseline that the model is compared with, the best on its training rows.
    pub fn baseline(&self) -> Baseline {
        self.metadata.baseline
    }

    /// Returns the smearing factor, for a recipe that is fitted to logs of the scored value.
    pub fn smearing(&self) -> Option<f64> {
        (self.recipe() == Recipe::Volatility).then_some(self.metadata.smearing)
    }

    /// Returns the calibration from errors on rows that the model was not fitted to.
    pub fn calibration(&self) -> &Calibration {
        &self.metadata.calibration
    }

    /// Returns the share of each feature in the gain of all splits, by name; empty for a model without a split.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn importance(&self) -> Result<BTreeMap<String, f64>, BoosterError> {
        let columns = columns(self.recipe());
        let shares = self.model().importance(columns.len())?;
        let has_split = shares.iter().any(|&share| share > 0.0);
        let of_name = |(name, share): (&&str, f64)| ((*name).to_owned(), share);
        Ok(columns.iter().zip(shares).map(of_name).filter(|_| has_split).collect())
    }

    /// Returns the version of libxgboost that made the model.
    pub fn library_version(&self) -> String {
        self.model().library_version()
    }

    /// Predicts from a row of features.
    ///
    /// # Errors
    /// XGBoost returns an error.
    ///
    /// # Panics
    /// The row is of another recipe.
    pub fn predict(&self, row: &FeatureRow) -> Result<Predicted, BoosterError> {
        assert_eq!(row.features.len(), self.metadata.learned.len(), "features of the model's own recipe");
        let output = self.model().predict(&row.features, 1)?[0];
        let (last, averages) = (row.last, row.averages.as_ref());
        let reference = target::reference(self.recipe(), last, averages);
        let baseline = self.baseline().predict(last, averages);
        Ok(self.predicted(output, reference, baseline, row.scale, &row.features))
    }

    /// Predicts rows of a dataset of the model's recipe.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn predict_rows(&self, dataset: &Dataset, rows: &[usize]) -> Result<Vec<Predicted>, BoosterError> {
        let features = dataset.features_of(rows);
        let outputs = self.model().predict(&features, rows.len())?;
        let feature_rows = features.chunks_exact(dataset.width());
        let predicted_of = |((&row, output), features): ((&usize, f32), &[f32])| {
            let baseline = dataset.baseline(row, self.baseline());
            self.predicted(output, dataset.reference(row), baseline, dataset.rows[row].scale, features)
        };
        Ok(rows.iter().zip(outputs).zip(feature_rows).map(predicted_of).collect())
    }

    /// Scores the model on rows of a dataset of its recipe, in order of time. The scores are fair only on rows that the
    /// model was not fitted to. Returns `None` without rows.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn evaluate(&self, dataset: &Dataset, rows: &[usize]) -> Result<Option<Scores>, BoosterError> {
        let predicted = self.predict_rows(dataset, rows)?;
        let outcome = |(&row, predicted): (&usize, Predicted)| PredictionOutcome {
            baseline: predicted.baseline,
            actual: dataset.rows[row].actual,
            predicted: predicted.prediction,
        };
        let outcomes: Vec<_> = rows.iter().zip(predicted).map(outcome).collect();
        Ok(evaluate(self.recipe(), self.horizon(), &outcomes))
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn predicted(&self, output: f32, reference: f64, baseline: f64, scale: f64, features: &[f32]) -> Predicted {
        let columns = columns(self.recipe()).iter().zip(features).zip(&self.metadata.learned);
        let is_unlike = columns.into_iter().any(|((name, value), range)| !is_of_time(name) && !range.contains(*value));
        let prediction = target::value(self.recipe(), output, reference) * self.metadata.smearing;
        Predicted { prediction, baseline, scale, is_unlike }
    }
}

/// Joins predictions with their rows, for intervals.
pub(crate) fn timed_predictions(dataset: &Dataset, rows: &[usize], predicted: &[Predicted]) -> Vec<TimedPrediction> {
    let timed = |(&row, predicted): (&usize, &Predicted)| {
        let row = &dataset.rows[row];
        let (made, target_end, actual) = (row.made, row.target_end, row.actual);
        TimedPrediction { made, target_end, predicted: predicted.prediction, actual, scale: predicted.scale }
    };
    rows.iter().zip(predicted).map(timed).collect()
}

#[cfg(test)]
mod tests;
