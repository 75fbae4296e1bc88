//! A model that is ready to predict, made only from the bytes of its file.
//!
//! Beside the trees the file holds an imprint: what the model predicts and from what, what it is compared with, how
//! wrong it was, and what it has learned from. So a model and what is said of it cannot be parted, and a service needs
//! nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use market::{Baseline, EventTime, Recipe, Scores, Window};
use serde::{Deserialize, Serialize};

use crate::booster::{BoosterError, Model};
use crate::dataset::Dataset;
use crate::evaluation::{Outcome, evaluate};
use crate::features::{columns, is_of_time};
use crate::interval::{Calibration, Dated};
use crate::lookback::Known;
use crate::target;

/// Under which name the imprint stands in the file.
const IMPRINT: &str = "candlewire";
/// The layout of the imprint and the meaning of the features: another number is another model.
pub const FORMAT: u32 = 2;

/// What a model file says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Imprint {
    /// What it predicts, and from what.
    pub(crate) recipe: Recipe,
    /// Length of the candles; none for a recipe that works on ticks.
    pub(crate) interval: Option<Window>,
    /// How many candles ahead.
    pub(crate) horizon: usize,
    /// Candles of less coverage counted as missing; none for a recipe that works on ticks.
    pub(crate) min_coverage: Option<f64>,
    /// Where time begins, for a recipe that counts it.
    pub(crate) origin: Option<EventTime>,
    /// When the last truth was known that it was fitted to.
    pub(crate) learned_until: EventTime,
    /// What it is compared with.
    pub(crate) baseline: Baseline,
    /// Factor on what the trees say. A model of logs predicts the middle; the mean, which squared errors ask for, lies
    /// above it by the mean of e^residual ("smearing": Duan, "A nonparametric retransformation method", 1983).
    pub(crate) smearing: f64,
    /// How wrong it was on rows that it had not learned from.
    pub(crate) calibration: Calibration,
    /// What it has learned from, feature by feature.
    pub(crate) learned: Vec<Learned>,
}

/// What a model has learned from in one feature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// Smallest and largest value; none when it was always missing.
    within: Option<(f32, f32)>,
    /// Whether it was ever missing.
    is_missing: bool,
}

impl Learned {
    /// Of the rows of a table with `width` columns, column by column.
    pub(crate) fn of(features: &[f32], width: usize) -> Vec<Self> {
        let mut columns = vec![Self { within: None, is_missing: false }; width];
        for row in features.chunks_exact(width) {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.take(*value));
        }
        columns
    }

    fn take(&mut self, value: f32) {
        if value.is_nan() {
            self.is_missing = true;
        } else {
            let (low, high) = self.within.unwrap_or((value, value));
            self.within = Some((low.min(value), high.max(value)));
        }
    }

    fn knows(&self, value: f32) -> bool {
        if value.is_nan() {
            self.is_missing
        } else {
            self.within.is_some_and(|(low, high)| (low..=high).contains(&value))
        }
    }
}

/// The imprint as it stands in the file: the version and the columns can be read whatever else has changed.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    format: u32,
    features: Vec<String>,
    #[serde(flatten)]
    rest: T,
}

/// Why a file is no model that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ForecasterError {
    /// Not a model, or not all of it.
    #[error("the model file is damaged or cut short: copy it again, or train a new model ({0})")]
    Damaged(BoosterError),
    /// A model of something else.
    #[error("the model file is not one of candlewire's: use a model.ubj that `trainer train` has written")]
    Foreign,
    /// Made by another version.
    #[error(
        "the model file has format {found}, this version reads format {FORMAT}, which says what coverage candles need: train \
         a new model with this version"
    )]
    OtherFormat {
        /// What the file says.
        found: u32,
    },
    /// Made for other features.
    #[error(
        "the model file is of a recipe or of features that this version does not make ({found}): train a new model with \
         this version"
    )]
    OtherFeatures {
        /// What the file says.
        found: String,
    },
    /// XGBoost refused.
    #[error(transparent)]
    Booster(#[from] BoosterError),
}

/// A prediction, before its truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted {
    /// What the model says: a close, or log(high ÷ low). Positive.
    pub prediction: f64,
    /// What doing nothing says.
    pub baseline: f64,
    /// Errors in log are measured in units of this. See [`crate::dataset::Row::scale`].
    pub scale: f64,
    /// Whether a feature is beyond what the model has learned from, or missing and never was; but for the time, which
    /// always goes on.
    pub is_unlike: bool,
}

/// A model, with all that is needed to use it.
pub struct Forecaster {
    /// XGBoost predicts for one thread at a time.
    model: Mutex<Model>,
    imprint: Imprint,
}

impl Forecaster {
    /// Joins a model with what is to be said of it, in its file too.
    pub(crate) fn new(mut model: Model, imprint: Imprint) -> Result<Self, BoosterError> {
        let columns = crate::features::columns(imprint.recipe);
        let features = columns.iter().map(|name| (*name).to_owned()).collect();
        let stored = Stored { format: FORMAT, features, rest: &imprint };
        let json = serde_json::to_string(&stored).expect("an imprint has only keys of text");
        model.inscribe(IMPRINT, &json, columns)?;
        Ok(Self { model: Mutex::new(model), imprint })
    }

    /// Reads a model file, for use on so many threads.
    ///
    /// # Errors
    /// When the bytes are no model, not all of it, or one that this version cannot use.
    pub fn load(bytes: &[u8], threads: usize) -> Result<Self, ForecasterError> {
        let model = Model::from_bytes(bytes, threads).map_err(ForecasterError::Damaged)?;
        let json = model.note(IMPRINT)?.ok_or(ForecasterError::Foreign)?;
        let of_any_version: Stored<serde_json::Value> =
            serde_json::from_str(&json).map_err(|_| ForecasterError::Foreign)?;
        if of_any_version.format != FORMAT {
            return Err(ForecasterError::OtherFormat { found: of_any_version.format });
        }
        let other = |features: &[String]| ForecasterError::OtherFeatures { found: features.join(", ") };
        let Stored::<Imprint> { features, rest: imprint, .. } =
            serde_json::from_str(&json).map_err(|_| other(&of_any_version.features))?;
        if features != crate::features::columns(imprint.recipe) || imprint.learned.len() != features.len() {
            return Err(other(&features));
        }
        Ok(Self { model: Mutex::new(model), imprint })
    }

    /// The model's file. The same model gives the same bytes.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BoosterError> {
        self.model().to_bytes()
    }

    /// What it predicts, and from what.
    pub fn recipe(&self) -> Recipe {
        self.imprint.recipe
    }

    /// Length of the candles that it works on; none for a recipe that works on ticks.
    pub fn interval(&self) -> Option<Window> {
        self.imprint.interval
    }

    /// How many candles ahead it predicts.
    pub fn horizon(&self) -> usize {
        self.imprint.horizon
    }

    /// Candles of less coverage counted as missing when it was fitted, and count so for its forecasts; none for a recipe
    /// that works on ticks.
    pub fn min_coverage(&self) -> Option<f64> {
        self.imprint.min_coverage
    }

    /// When the last truth was known that it was fitted to: only what is predicted from here on is fair to it.
    pub fn learned_until(&self) -> EventTime {
        self.imprint.learned_until
    }

    /// What it is compared with: the best that was known when it was trained.
    pub fn baseline(&self) -> Baseline {
        self.imprint.baseline
    }

    /// The factor on what its trees say, for a recipe that is fitted to logs and scored on what they are logs of.
    pub fn smearing(&self) -> Option<f64> {
        (self.recipe() == Recipe::Volatility).then_some(self.imprint.smearing)
    }

    /// How wrong it was on rows that it had not learned from.
    pub fn calibration(&self) -> &Calibration {
        &self.imprint.calibration
    }

    /// The version of libxgboost that made it.
    pub fn library_version(&self) -> String {
        self.model().library_version()
    }

    /// Predicts from what is known.
    ///
    /// # Errors
    /// When XGBoost refuses.
    ///
    /// # Panics
    /// When what is known is of another recipe.
    pub fn predict(&self, known: &Known) -> Result<Predicted, BoosterError> {
        assert_eq!(known.features.len(), self.imprint.learned.len(), "features of the model's own recipe");
        let output = self.model().predict(&known.features, 1)?[0];
        let (last, averages) = (known.last, known.averages.as_ref());
        let anchor = target::anchor(self.recipe(), last, averages);
        let baseline = self.baseline().predict(last, averages);
        Ok(self.predicted(output, anchor, baseline, known.scale, &known.features))
    }

    /// Predicts rows of a dataset of the model's recipe.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn predict_rows(&self, dataset: &Dataset, rows: &[usize]) -> Result<Vec<Predicted>, BoosterError> {
        let features = dataset.features_of(rows);
        let outputs = self.model().predict(&features, rows.len())?;
        let told = features.chunks_exact(dataset.width());
        let predicted_of = |((&row, output), features): ((&usize, f32), &[f32])| {
            let baseline = dataset.baseline(row, self.baseline());
            self.predicted(output, dataset.anchor(row), baseline, dataset.rows[row].scale, features)
        };
        Ok(rows.iter().zip(outputs).zip(told).map(predicted_of).collect())
    }

    /// Scores the model on rows of a dataset of its recipe, in order of time. Fair only on rows that it was not fitted
    /// to; None without rows.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn evaluate(&self, dataset: &Dataset, rows: &[usize]) -> Result<Option<Scores>, BoosterError> {
        let predicted = self.predict_rows(dataset, rows)?;
        let outcome = |(&row, predicted): (&usize, Predicted)| Outcome {
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

    fn predicted(&self, output: f32, anchor: f64, baseline: f64, scale: f64, features: &[f32]) -> Predicted {
        let columns = columns(self.recipe()).iter().zip(features).zip(&self.imprint.learned);
        let is_unlike = columns.into_iter().any(|((name, value), learned)| !is_of_time(name) && !learned.knows(*value));
        let prediction = target::value(self.recipe(), output, anchor) * self.imprint.smearing;
        Predicted { prediction, baseline, scale, is_unlike }
    }
}

/// Predictions of rows beside their truths, for intervals.
pub(crate) fn dated(dataset: &Dataset, rows: &[usize], predicted: &[Predicted]) -> Vec<Dated> {
    let dated = |(&row, predicted): (&usize, &Predicted)| {
        let row = &dataset.rows[row];
        let (known, target_end, actual) = (row.known, row.target_end, row.actual);
        Dated { known, target_end, predicted: predicted.prediction, actual, scale: predicted.scale }
    };
    rows.iter().zip(predicted).map(dated).collect()
}

#[cfg(test)]
mod tests;
