//! Gradient-boosted trees. The only file that knows XGBoost.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use xgb::parameters::{BoosterParameters, BoosterParametersBuilder, BoosterType, learning, tree};
use xgb::{Booster, DMatrix, XGBError};

use crate::ubjson;

/// The objective, in XGBoost's words.
pub const OBJECTIVE: &str = "reg:squarederror";
/// How cuts are found, in XGBoost's words.
pub const TREE_METHOD: &str = "hist";

/// Rounds without a better score on unseen rows after which no more are tried.
const PATIENCE: u32 = 30;

/// How trees are grown. Equal settings and rows give equal models, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    /// Most boosting rounds: one tree each. At least 1.
    pub rounds_max: u32,
    /// Most levels of a tree. At least 1.
    pub depth: u32,
    /// How much of each tree's correction is taken over: above 0, at most 1.
    pub learning_rate: f64,
    /// Fewest rows on either side of a cut. At least 1.
    pub leaf_rows_min: u32,
    /// What is predicted before the first tree.
    pub start: Start,
    /// Seed of the learner.
    pub seed: u64,
    /// Threads: sums are split over them, so another number may round otherwise. At least 1.
    pub threads: usize,
}

/// What a model without trees predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// The mean of the labels.
    Mean,
    /// Nothing: 0. Every deviation from it must be earned.
    Zero,
}

/// Rows to learn from or to score on.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Row-major; NaN is missing.
    pub features: &'a [f32],
    /// One a row.
    pub labels: &'a [f32],
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum BoosterError {
    /// XGBoost refused.
    #[error("XGBoost: {0}")]
    Refused(String),
    /// The bytes of a model do not end where they say that they do.
    #[error("{bytes} bytes are not one whole model")]
    CutShort {
        /// How many there are.
        bytes: usize,
    },
    /// The process ends: see [`interrupt`].
    #[error("the fit was stopped before its end")]
    Interrupted,
    /// A setting outside what XGBoost takes.
    #[error("XGBoost does not take these parameters: {0}")]
    Parameters(String),
}

impl From<XGBError> for BoosterError {
    /// Keeps the first line: what follows is a stack trace.
    fn from(error: XGBError) -> Self {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Self::Refused(first.trim_start_matches("XGBoost error: ").to_owned())
    }
}

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has every fit of this process end with its present round, and no other one begin: a process that exits while a thread is
/// inside XGBoost would take the library away from under it.
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

/// A search for the number of rounds that predicts unseen rows best.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// The number of rounds.
    pub rounds: u32,
    /// What the model of that many rounds says of the unseen rows.
    pub predictions: Vec<f32>,
}

impl Model {
    /// Fits a model of exactly `rounds` trees, at least one.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn fit(train: Table<'_>, boosting: &Boosting, rounds: u32) -> Result<Self, BoosterError> {
        let matrix = to_matrix(train)?;
        let mut booster = new_booster(boosting, train.labels, &[&matrix])?;
        for round in 0..rounds {
            grow(&mut booster, &matrix, round)?;
        }
        Ok(Self { booster })
    }

    /// Grows trees as long as they help on the rows `unseen`, and returns the best number of them.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn stop_early(train: Table<'_>, unseen: Table<'_>, boosting: &Boosting) -> Result<Stopped, BoosterError> {
        let (matrix, unseen_matrix) = (to_matrix(train)?, to_matrix(unseen)?);
        let mut booster = new_booster(boosting, train.labels, &[&matrix, &unseen_matrix])?;
        let mut best: Option<(f64, Stopped)> = None;
        for rounds in 1..=boosting.rounds_max {
            grow(&mut booster, &matrix, rounds - 1)?;
            let predictions = booster.predict(&unseen_matrix)?;
            let error = squared_error(&predictions, unseen.labels);
            match &best {
                Some((least, stopped)) if error >= *least => {
                    if rounds - stopped.rounds >= PATIENCE {
                        break;
                    }
                }
                _ => best = Some((error, Stopped { rounds, predictions })),
            }
        }
        let (_, stopped) = best.ok_or_else(|| BoosterError::Parameters("no rounds".to_owned()))?;
        Ok(stopped)
    }

    /// What the model says of `rows` rows of features.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn predict(&self, features: &[f32], rows: usize) -> Result<Vec<f32>, BoosterError> {
        if rows == 0 {
            return Ok(Vec::new());
        }
        Ok(self.booster.predict(&DMatrix::from_dense(features, rows)?)?)
    }

    /// Writes a note into the model, which stays in its file, and names its features.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn inscribe(&mut self, key: &str, note: &str, features: &[&str]) -> Result<(), BoosterError> {
        self.booster.set_attribute(key, note)?;
        Ok(self.booster.set_feature_names(&features.to_vec())?)
    }

    /// A note that was written into the model.
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn note(&self, key: &str) -> Result<Option<String>, BoosterError> {
        Ok(self.booster.get_attribute(key)?)
    }

    /// The model as a file's content, in XGBoost's binary JSON (`.ubj`).
    ///
    /// # Errors
    /// When XGBoost refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BoosterError> {
        Ok(self.booster.save_buffer(true)?)
    }

    /// Reads a model. `threads` are not stored in it.
    ///
    /// # Errors
    /// When the bytes are no model, or not all of one.
    pub fn from_bytes(bytes: &[u8], threads: usize) -> Result<Self, BoosterError> {
        if !ubjson::is_whole_object(bytes) {
            return Err(BoosterError::CutShort { bytes: bytes.len() });
        }
        let mut booster = Booster::load_buffer(bytes)?;
        booster.set_param("nthread", &threads.to_string())?;
        Ok(Self { booster })
    }

    /// The version of libxgboost that made the model, such as `3.4.1`; `unknown` when it does not say.
    pub fn library_version(&self) -> String {
        let json = self.booster.save_buffer(false).unwrap_or_default();
        let model: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        let numbers = model["version"].as_array().map(|numbers| numbers.iter().map(ToString::to_string).collect());
        numbers.map_or_else(|| "unknown".to_owned(), |numbers: Vec<_>| numbers.join("."))
    }
}

fn to_matrix(table: Table<'_>) -> Result<DMatrix, BoosterError> {
    let mut matrix = DMatrix::from_dense(table.features, table.labels.len())?;
    matrix.set_labels(table.labels)?;
    Ok(matrix)
}

fn new_booster(boosting: &Boosting, labels: &[f32], matrices: &[&DMatrix]) -> Result<Booster, BoosterError> {
    let mut booster = Booster::new_with_cached_dmats(&parameters(boosting, labels)?, matrices)?;
    // Quiet: it would write to standard output, about parameters that the bindings send and it no longer knows.
    booster.set_param("verbosity", "0")?;
    Ok(booster)
}

fn parameters(boosting: &Boosting, labels: &[f32]) -> Result<BoosterParameters, BoosterError> {
    let refused = |error: &dyn std::fmt::Display| BoosterError::Parameters(error.to_string());
    let trees = tree::TreeBoosterParametersBuilder::default()
        .tree_method(tree::TreeMethod::Hist)
        .max_depth(boosting.depth)
        .eta(boosting.learning_rate as f32)
        // With squared errors every row weighs 1.
        .min_child_weight(boosting.leaf_rows_min as f32)
        .build()
        .map_err(|error| refused(&error))?;
    let start = match boosting.start {
        Start::Zero => 0.0,
        Start::Mean => labels.iter().copied().map(f64::from).sum::<f64>() / labels.len().max(1) as f64,
    };
    let task = learning::LearningTaskParametersBuilder::default()
        .objective(learning::Objective::RegLinear)
        .base_score(start as f32)
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
        start: Start::Zero,
        seed: 42,
        threads: 2,
    };

    /// Two features and, of the first one, a step; the second is beside the point.
    fn table(rows: usize, noise: f32) -> (Vec<f32>, Vec<f32>) {
        let wave = |idx: usize, factor: f32| (idx as f32 * factor).sin();
        let features: Vec<f32> = (0..rows).flat_map(|idx| [wave(idx, 0.37), wave(idx, 7.1)]).collect();
        let labels = (0..rows).map(|idx| f32::from(features[2 * idx] > 0.2) + noise * wave(idx, 91.3));
        let labels = labels.collect();
        (features, labels)
    }

    fn view<'a>((features, labels): &'a (Vec<f32>, Vec<f32>)) -> Table<'a> {
        Table { features, labels }
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_and_a_loaded_model_predicts_the_same() {
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
    fn rounds_end_where_they_stop_helping() {
        let stopped = Model::stop_early(view(&table(500, 0.0)), view(&table(300, 0.0)), &BOOSTING).expect("rounds");
        assert!(stopped.rounds > 20, "{}", stopped.rounds);
        assert_eq!(stopped.predictions.len(), 300);
        // Nothing to be learned: labels of the unseen rows have nothing to do with the others.
        let mut other = table(300, 0.0);
        other.1.iter_mut().for_each(|label| *label = 0.5 - *label);
        let stopped = Model::stop_early(view(&table(500, 0.0)), view(&other), &BOOSTING).expect("rounds");
        assert!(stopped.rounds <= 3, "{}", stopped.rounds);
    }

    #[test]
    fn a_model_starts_where_it_was_told_to() {
        // One value throughout: no cut is possible, and the only leaf goes a tenth of the way.
        let data = (vec![1.0; 20], vec![7.0; 20]);
        for (start, expected) in [(Start::Mean, 7.0..=7.0), (Start::Zero, 0.6..=0.7)] {
            let model = Model::fit(view(&data), &Boosting { start, ..BOOSTING }, 1).expect("a model");
            let predicted = model.predict(&[1.0], 1).expect("a prediction")[0];
            assert!(expected.contains(&predicted), "{start:?}: {predicted}");
        }
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        assert!(Model::from_bytes(b"no model", 1).is_err());
        let bytes = Model::fit(view(&table(50, 0.0)), &BOOSTING, 3).and_then(|model| model.to_bytes()).expect("bytes");
        // XGBoost would find the rest of the model behind the cut.
        assert!((0..bytes.len()).step_by(7).all(|cut| Model::from_bytes(&bytes[..cut], 1).is_err()));
    }
}
