//! Gradient-boosted trees. No other file uses XGBoost.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use xgb::parameters::{BoosterParameters, BoosterParametersBuilder, BoosterType, learning, tree};
use xgb::{Booster, DMatrix, XGBError};

use crate::ubjson;

/// The objective, as XGBoost names it.
pub const OBJECTIVE: &str = "reg:squarederror";
/// The method that finds splits, as XGBoost names it.
pub const TREE_METHOD: &str = "hist";

/// Boosting ends after this many rounds without a smaller error on unseen rows.
const EARLY_STOPPING_ROUNDS: u32 = 30;

/// Parameters of the trees. Equal parameters and rows give equal models, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    /// Maximum number of boosting rounds, one tree each. At least 1.
    pub rounds_max: u32,
    /// Maximum depth of a tree. At least 1.
    pub depth: u32,
    /// Share of each tree's correction that counts: above 0, at most 1.
    pub learning_rate: f64,
    /// Minimum number of rows on either side of a split. At least 1.
    pub leaf_rows_min: u32,
    /// The prediction before the first tree.
    pub base_score: BaseScore,
    /// Seed of XGBoost.
    pub seed: u64,
    /// Threads. Sums are split over them, so another number of threads may round differently. At least 1.
    pub threads: usize,
}

/// The prediction of a model without trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BaseScore {
    /// The mean of the labels.
    Mean,
    /// 0.
    Zero,
}

/// Rows to learn from or to score on.
#[derive(Debug, Clone, Copy)]
pub struct LabeledRows<'a> {
    /// Row-major, one group of features a row; NaN is a missing value.
    pub features: &'a [f32],
    /// One label a row.
    pub labels: &'a [f32],
}

/// Errors of fitting, loading and predicting.
#[derive(Debug, thiserror::Error)]
pub enum BoosterError {
    /// XGBoost returned an error.
    #[error("XGBoost: {0}")]
    Refused(String),
    /// The bytes of a model end too early or too late.
    #[error("{bytes} bytes are not one whole model")]
    CutShort {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The process is ending: see [`interrupt`].
    #[error("the fit was stopped before its end")]
    Interrupted,
    /// A parameter outside the range of XGBoost.
    #[error("XGBoost does not take these parameters: {0}")]
    Parameters(String),
}

impl From<XGBError> for BoosterError {
    /// Keeps the first line; the others are a stack trace.
    fn from(error: XGBError) -> Self {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Self::Refused(first.trim_start_matches("XGBoost error: ").to_owned())
    }
}

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every fit of this process after its present round, and lets no other one begin. A process that exits while a
/// thread is inside XGBoost would unload the library under it.
pub fn interrupt() {
    IS_INTERRUPTED.store(true, Ordering::Relaxed);
}

fn grow(booster: &mut Booster, matrix: &DMatrix, round: u32) -> Result<(), BoosterError> {
    if IS_INTERRUPTED.load(Ordering::Relaxed) {
        return Err(BoosterError::Interrupted);
    }
    Ok(booster.update(matrix, round as i32)?)
}

/// A model that was fitted or loaded.
pub struct Model {
    booster: Booster,
}

/// The result of a search for the number of rounds with the smallest error on unseen rows.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStop {
    /// The number of rounds.
    pub rounds: u32,
    /// Predictions of the unseen rows by the model of that many rounds.
    pub predictions: Vec<f32>,
}

impl Model {
    /// Fits a model of exactly `rounds` trees, at least one.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn fit(train: LabeledRows<'_>, boosting: &Boosting, rounds: u32) -> Result<Self, BoosterError> {
        let matrix = to_matrix(train)?;
        let mut booster = new_booster(boosting, train.labels, &[&matrix])?;
        for round in 0..rounds {
            grow(&mut booster, &matrix, round)?;
        }
        Ok(Self { booster })
    }

    /// Grows trees as long as they reduce the error on the rows `unseen`, and returns the best number of them.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn stop_early(
        train: LabeledRows<'_>,
        unseen: LabeledRows<'_>,
        boosting: &Boosting,
    ) -> Result<EarlyStop, BoosterError> {
        let (matrix, unseen_matrix) = (to_matrix(train)?, to_matrix(unseen)?);
        let mut booster = new_booster(boosting, train.labels, &[&matrix, &unseen_matrix])?;
        let mut best: Option<(f64, EarlyStop)> = None;
        for rounds in 1..=boosting.rounds_max {
            grow(&mut booster, &matrix, rounds - 1)?;
            let predictions = booster.predict(&unseen_matrix)?;
            let error = squared_error(&predictions, unseen.labels);
            match &best {
                Some((least, stopped)) if error >= *least => {
                    if rounds - stopped.rounds >= EARLY_STOPPING_ROUNDS {
                        break;
                    }
                }
                _ => best = Some((error, EarlyStop { rounds, predictions })),
            }
        }
        let (_, stopped) = best.ok_or_else(|| BoosterError::Parameters("no rounds".to_owned()))?;
        Ok(stopped)
    }

    /// Predicts `rows` rows of features.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn predict(&self, features: &[f32], rows: usize) -> Result<Vec<f32>, BoosterError> {
        if rows == 0 {
            return Ok(Vec::new());
        }
        Ok(self.booster.predict(&DMatrix::from_dense(features, rows)?)?)
    }

    /// Stores metadata in the model, which its file keeps, and names its features.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn set_metadata(&mut self, key: &str, metadata: &str, features: &[&str]) -> Result<(), BoosterError> {
        self.booster.set_attribute(key, metadata)?;
        Ok(self.booster.set_feature_names(&features.to_vec())?)
    }

    /// Returns metadata that was stored in the model.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn metadata(&self, key: &str) -> Result<Option<String>, BoosterError> {
        Ok(self.booster.get_attribute(key)?)
    }

    /// Returns the content of a model file, in XGBoost's binary JSON (`.ubj`).
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BoosterError> {
        Ok(self.booster.save_buffer(true)?)
    }

    /// Reads a model file. It does not hold the number of `threads`.
    ///
    /// # Errors
    /// The bytes are not a model, or not all of one.
    pub fn from_bytes(bytes: &[u8], threads: usize) -> Result<Self, BoosterError> {
        if !ubjson::is_whole_object(bytes) {
            return Err(BoosterError::CutShort { bytes: bytes.len() });
        }
        let mut booster = Booster::load_buffer(bytes)?;
        booster.set_param("nthread", &threads.to_string())?;
        Ok(Self { booster })
    }

    /// Returns the share of each of `features` features in the gain of all splits, that is in the reduction of the squared
    /// error on the training rows. The shares add up to 1; all are 0 for a model without a split.
    ///
    /// # Errors
    /// XGBoost returns an error.
    pub fn importance(&self, features: usize) -> Result<Vec<f64>, BoosterError> {
        #[derive(Default, Deserialize)]
        struct Tree {
            /// Left child of each node, below 0 for a leaf.
            left_children: Vec<i64>,
            split_indices: Vec<usize>,
            loss_changes: Vec<f64>,
        }
        let model: serde_json::Value = serde_json::from_slice(&self.booster.save_buffer(false)?).unwrap_or_default();
        let trees = &model["learner"]["gradient_booster"]["model"]["trees"];
        let trees: Vec<Tree> = Deserialize::deserialize(trees).unwrap_or_default();
        let mut gains = vec![0.0; features];
        for tree in &trees {
            for ((child, feature), gain) in tree.left_children.iter().zip(&tree.split_indices).zip(&tree.loss_changes) {
                if *child >= 0
                    && let Some(sum) = gains.get_mut(*feature)
                {
                    *sum += gain;
                }
            }
        }
        let total: f64 = gains.iter().sum();
        let share = |gain: f64| if total > 0.0 { gain / total } else { 0.0 };
        Ok(gains.into_iter().map(share).collect())
    }

    /// Returns the version of libxgboost that made the model, such as `3.4.1`; `unknown` when the model has none.
    pub fn library_version(&self) -> String {
        let json = self.booster.save_buffer(false).unwrap_or_default();
        let model: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        let numbers = model["version"].as_array().map(|numbers| numbers.iter().map(ToString::to_string).collect());
        numbers.map_or_else(|| "unknown".to_owned(), |numbers: Vec<_>| numbers.join("."))
    }
}

fn to_matrix(table: LabeledRows<'_>) -> Result<DMatrix, BoosterError> {
    let mut matrix = DMatrix::from_dense(table.features, table.labels.len())?;
    matrix.set_labels(table.labels)?;
    Ok(matrix)
}

fn new_booster(boosting: &Boosting, labels: &[f32], matrices: &[&DMatrix]) -> Result<Booster, BoosterError> {
    let mut booster = Booster::new_with_cached_dmats(&parameters(boosting, labels)?, matrices)?;
    // XGBoost would warn on standard output about parameters that the bindings set and it has dropped.
    booster.set_param("verbosity", "0")?;
    Ok(booster)
}

fn parameters(boosting: &Boosting, labels: &[f32]) -> Result<BoosterParameters, BoosterError> {
    let refused = |error: &dyn std::fmt::Display| BoosterError::Parameters(error.to_string());
    let trees = tree::TreeBoosterParametersBuilder::default()
        .tree_method(tree::TreeMethod::Hist)
        .max_depth(boosting.depth)
        .eta(boosting.learning_rate as f32)
        // With squared errors each row weighs 1.
        .min_child_weight(boosting.leaf_rows_min as f32)
        .build()
        .map_err(|error| refused(&error))?;
    let base_score = match boosting.base_score {
        BaseScore::Zero => 0.0,
        BaseScore::Mean => labels.iter().copied().map(f64::from).sum::<f64>() / labels.len().max(1) as f64,
    };
    let task = learning::LearningTaskParametersBuilder::default()
        .objective(learning::Objective::RegLinear)
        .base_score(base_score as f32)
        .seed(boosting.seed)
        .build()
        .map_err(|error| refused(&error))?;
    BoosterParametersBuilder::default()
        .booster_type(BoosterType::Tree(trees))
        .learning_params(task)
        .threads(Some(boosting.threads as u32))
        .verbose(false)
        .build()
        .map_err(|error| refused(&error))
}

fn squared_error(predictions: &[f32], labels: &[f32]) -> f64 {
    predictions.iter().zip(labels).map(|(predicted, label)| f64::from(predicted - label).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOSTING: Boosting = Boosting {
        rounds_max: 200,
        depth: 3,
        learning_rate: 0.1,
        leaf_rows_min: 5,
        base_score: BaseScore::Zero,
        seed: 42,
        threads: 2,
    };

    /// Two features: the label is a step of the first, and does not depend on the second.
    fn table(rows: usize, noise: f32) -> (Vec<f32>, Vec<f32>) {
        let wave = |idx: usize, factor: f32| (idx as f32 * factor).sin();
        let features: Vec<f32> = (0..rows).flat_map(|idx| [wave(idx, 0.37), wave(idx, 7.1)]).collect();
        let labels = (0..rows).map(|idx| f32::from(features[2 * idx] > 0.2) + noise * wave(idx, 91.3));
        let labels = labels.collect();
        (features, labels)
    }

    fn view<'a>((features, labels): &'a (Vec<f32>, Vec<f32>)) -> LabeledRows<'a> {
        LabeledRows { features, labels }
    }

    /// A model that is fitted again has the same bytes, and a loaded model predicts the same.
    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let data = table(500, 0.1);
        let model = Model::fit(view(&data), &BOOSTING, 40).expect("a model");
        let bytes = model.to_bytes().expect("bytes");
        let again = Model::fit(view(&data), &BOOSTING, 40).expect("a model");
        assert_eq!(again.to_bytes().expect("bytes"), bytes);
        let loaded = Model::from_bytes(&bytes, 2).expect("a model");
        let predictions = model.predict(&data.0, 500).expect("predictions");
        assert_eq!(loaded.predict(&data.0, 500).expect("predictions"), predictions);
        assert!(squared_error(&predictions, &data.1) / 500.0 < 0.02);
        assert!(loaded.library_version().starts_with("3."), "{}", loaded.library_version());
        assert_eq!(loaded.predict(&[], 0).expect("nothing"), Vec::<f32>::new());
    }

    #[test]
    fn boosting_stops_early() {
        let stopped = Model::stop_early(view(&table(500, 0.0)), view(&table(300, 0.0)), &BOOSTING).expect("rounds");
        assert!(stopped.rounds > 20, "{}", stopped.rounds);
        assert_eq!(stopped.predictions.len(), 300);
        // The labels of the unseen rows have no relation to the others.
        let mut other = table(300, 0.0);
        other.1.iter_mut().for_each(|label| *label = 0.5 - *label);
        let stopped = Model::stop_early(view(&table(500, 0.0)), view(&other), &BOOSTING).expect("rounds");
        assert!(stopped.rounds <= 3, "{}", stopped.rounds);
    }

    #[test]
    fn the_gain_belongs_to_the_feature_that_decides() {
        let data = table(500, 0.1);
        let importance = |rounds| {
            let model = Model::fit(view(&data), &BOOSTING, rounds).expect("a model");
            model.importance(2).expect("shares")
        };
        let shares = importance(40);
        assert!(shares[0] > 0.9 && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
        // All rows are equal: no split is possible.
        let still = (vec![1.0; 20], vec![7.0; 20]);
        let model = Model::fit(view(&still), &BOOSTING, 1).expect("a model");
        assert_eq!(model.importance(1).expect("shares"), [0.0]);
    }

    #[test]
    fn a_model_starts_at_its_base_score() {
        // All rows are equal: no split is possible, and the only leaf goes a tenth of the way.
        let data = (vec![1.0; 20], vec![7.0; 20]);
        for (base_score, expected) in [(BaseScore::Mean, 7.0..=7.0), (BaseScore::Zero, 0.6..=0.7)] {
            let model = Model::fit(view(&data), &Boosting { base_score, ..BOOSTING }, 1).expect("a model");
            let predicted = model.predict(&[1.0], 1).expect("a prediction")[0];
            assert!(expected.contains(&predicted), "{base_score:?}: {predicted}");
        }
    }

    #[test]
    fn bytes_that_are_not_a_model_are_refused() {
        assert!(Model::from_bytes(b"no model", 1).is_err());
        let bytes = Model::fit(view(&table(50, 0.0)), &BOOSTING, 3).and_then(|model| model.to_bytes()).expect("bytes");
        // XGBoost alone would read the rest of the model from memory after the cut.
        assert!((0..bytes.len()).step_by(7).all(|cut| Model::from_bytes(&bytes[..cut], 1).is_err()));
    }
}
