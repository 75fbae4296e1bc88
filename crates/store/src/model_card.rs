//! `model-card.json`: a model's settings, its training data, and its scores beside the naive baseline.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use market::recipe::Recipe;
use market::{Baseline, Scores};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Prefix of the label of every score from a random split: such a score says nothing about the future.
pub const RANDOM_LABEL: &str = "random: leaks the future";

/// Version of the card's layout. Every change of the layout raises it.
pub const CARD_VERSION: u32 = 4;

/// Layout versions that are read. A card of layout 3 has no `importance`.
const READABLE: RangeInclusive<u64> = 3..=CARD_VERSION as u64;

/// Description of a model. Two trainings on the same archive differ in `duration_ms` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Id of the model: the first 16 hexadecimal digits of a SHA-256 over this card (without `model`, `sequence`,
    /// `files` and `duration_ms`) and the model file. Equal ticks, settings and libraries give equal ids.
    pub model: String,
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// Recipe: the predicted value and the features.
    pub recipe: Recipe,
    /// Length of the candles that the model was fitted to, such as `15m`; `tick` for a recipe that works on ticks.
    pub interval: String,
    /// Number of intervals that the prediction looks ahead.
    pub horizon: usize,
    /// Coverage, 0 to 1, below which a candle counts as missing in training, scores and forecasts. Absent for a recipe
    /// that works on ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_coverage: Option<f64>,
    /// Naive baseline of the comparison: `last`, or for `volatility` the better of `last` and running averages
    /// (`ewma-12` has a half-life of 12 candles) on the training rows.
    pub baseline: Baseline,
    /// How rows were held out: `time`, or `random: leaks the future`.
    pub split: String,
    /// Threads used for the fit. Another number may round sums differently.
    pub threads: usize,
    /// Seed of the split and of the booster.
    pub seed: u64,
    /// Parameters of the fit.
    pub parameters: Parameters,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// Importance of each feature, by name: its share of the gain of all splits, that is of the reduction of the squared
    /// error on the training rows; the shares add up to 1. Empty for a model without a split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub importance: BTreeMap<String, f64>,
    /// MARKET sequences of its ticks; absent when the ticks do not come from a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceRange>,
    /// Event times of its ticks.
    pub time: TimeRange,
    /// Row counts.
    pub rows: Rows,
    /// Versions of the programs that made it.
    pub versions: Versions,
    /// Scores on the holdout, which no fit and no model choice has used. Errors are in quote currency, or in log(high ÷
    /// low).
    pub holdout: PartScores,
    /// Scores of rolling-origin folds inside the training part, in order of time.
    pub folds: Vec<FoldScores>,
    /// One sentence that says whether the model beats the naive baseline.
    pub verdict: String,
    /// Digests of the model's other files, by name, so that copies can be checked. They are not a part of the id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileDigest>,
    /// Duration of the training, in milliseconds.
    pub duration_ms: u64,
}

/// Size and SHA-256 of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 as 64 hexadecimal digits.
    pub sha256: String,
}

impl FileDigest {
    /// Computes the digest of a file's content.
    pub fn of(content: &[u8]) -> Self {
        let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: content.len() as u64, sha256 }
    }
}

/// Parameters of a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Boosting rounds of the model. Fewer than `rounds_max` when more rounds stopped helping inside the training part.
    pub rounds: u32,
    /// Upper bound of the boosting rounds.
    pub rounds_max: u32,
    /// Maximum depth of a tree.
    pub depth: u32,
    /// Learning rate, 0 to 1.
    pub learning_rate: f64,
    /// Minimum number of rows on either side of a split.
    pub leaf_rows_min: u32,
    /// Objective, as XGBoost names it.
    pub objective: String,
    /// Tree construction algorithm, as XGBoost names it.
    pub tree_method: String,
    /// Share of the rows that is held out, 0 to 1.
    pub holdout: f64,
    /// Origin of time, for recipes that have the elapsed time as a feature. Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_ms: Option<i64>,
    /// Smearing factor that converts a predicted log to the scored unit, for recipes that are fitted to logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smearing: Option<f64>,
}

/// Stream sequences, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRange {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
}

/// Event times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// Event time of the first tick.
    pub first_ms: i64,
    /// Event time of the last tick.
    pub last_ms: i64,
    /// Time at which the first prediction of the holdout is made.
    pub holdout_from_ms: i64,
}

/// Candles that gave no row (ticks, for a recipe that works on ticks), by cause. Each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Candles with less coverage than `min_coverage`. They count as missing.
    pub thin: usize,
    /// Candles without bars and with too few points for a range, for a recipe that predicts the range. They count as
    /// missing.
    pub few_points: usize,
    /// Candles whose trailing window begins before the data or crosses a missing candle.
    pub trailing_window: usize,
    /// Candles whose horizon ends after the data or crosses a missing candle.
    pub horizon: usize,
    /// Candles whose window had not ended yet.
    pub open: usize,
    /// Bars (not candles) that are in no candle, because no window of this length holds the whole bar.
    pub long_bars: usize,
}

/// Row counts of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Ticks of the instrument.
    pub ticks: usize,
    /// Candles made of them; equal to the ticks for a recipe that works on ticks.
    pub candles: usize,
    /// Rows that the model was fitted to.
    pub train: usize,
    /// Rows that were held out.
    pub holdout: usize,
    /// Rows left out between training part and holdout, so that no training row's actual value reaches into the
    /// holdout.
    pub purged: usize,
    /// Candles that gave no row, by cause.
    pub skipped: Skipped,
}

/// Versions of the programs that made a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Version of candlewire.
    pub candlewire: String,
    /// Version of XGBoost.
    pub xgboost: String,
    /// Layout version of this card.
    pub card: u32,
}

/// Scores of one part of the data, with the coverage and width of the prediction intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartScores {
    /// Scores of the model and of the naive baseline.
    #[serde(flatten)]
    pub scores: Scores,
    /// Share of the actual values inside the interval, by level in percent: `{"50":…,"80":…,"90":…,"95":…}`.
    pub coverage: BTreeMap<String, f64>,
    /// Mean width of the interval in the unit of the prediction, by level in percent.
    pub width: BTreeMap<String, f64>,
    /// Mean of width ÷ baseline, by level in percent. For prices, the width relative to the last price.
    pub width_relative: BTreeMap<String, f64>,
    /// Rows with a feature outside the range of the training rows.
    pub unlike_training: usize,
}

/// Scores of one validation fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldScores {
    /// Number of the fold, from 1.
    pub fold: usize,
    /// Rows that the fold's model was fitted to.
    pub train_rows: usize,
    /// Boosting rounds of the fold's model.
    pub rounds: u32,
    /// Naive baseline, chosen on the rows that the fold's model was fitted to.
    pub baseline: Baseline,
    /// Time at which the fold's first prediction is made.
    pub from_ms: i64,
    /// Time at which the actual value of the fold's last prediction is known.
    pub to_ms: i64,
    /// Scores of the fold's model.
    #[serde(flatten)]
    pub part: PartScores,
}

/// Error of reading a model card.
#[derive(Debug, thiserror::Error)]
pub enum ModelCardError {
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not a model card.
    #[error("not a model card: {0}")]
    Json(#[from] serde_json::Error),
    /// The card has another layout version.
    #[error(
        "the model card has layout {found}, this version reads layouts {} to {}: train a new model with this version",
        READABLE.start(),
        READABLE.end()
    )]
    OtherVersion {
        /// Layout version of the card.
        found: u64,
    },
}

impl ModelCard {
    /// Returns the card as indented JSON with a final newline.
    ///
    /// # Panics
    /// Never: every key of the card is text.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a card has only keys of text");
        json.push(b'\n');
        json
    }

    /// Reads a card from a file.
    ///
    /// # Errors
    /// The file is missing, holds other data, or has another layout version.
    pub fn read(path: &Path) -> Result<Self, ModelCardError> {
        Self::from_json(&std::fs::read(path)?)
    }

    /// Reads a card from its JSON.
    ///
    /// # Errors
    /// The bytes are not a model card, or one of another layout version.
    pub fn from_json(json: &[u8]) -> Result<Self, ModelCardError> {
        let of_any_version: serde_json::Value = serde_json::from_slice(json)?;
        match of_any_version["versions"]["card"].as_u64() {
            Some(found) if !READABLE.contains(&found) => Err(ModelCardError::OtherVersion { found }),
            _ => Ok(serde_json::from_slice(json)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use market::scores::DieboldMariano;

    use super::*;

    fn part() -> PartScores {
        let scores = Scores {
            rows: 2,
            r2: Some(0.5),
            r2_return: None,
            rmse: 1.0,
            mae: 1.0,
            baseline_r2: Some(0.25),
            baseline_rmse: 2.0,
            baseline_mae: 2.0,
            skill: Some(0.5),
            direction_hit_rate: Some(1.0),
            diebold_mariano: Some(DieboldMariano { statistic: 2.0, p: 0.02 }),
        };
        let of_level = |figure| BTreeMap::from([("90".to_owned(), figure)]);
        let (coverage, width, width_relative) = (of_level(0.91), of_level(3.0), of_level(0.03));
        PartScores { scores, coverage, width, width_relative, unlike_training: 0 }
    }

    fn card() -> ModelCard {
        ModelCard {
            model: "4be1c1f02b6f2a07".to_owned(),
            coin: "bitcoin".to_owned(),
            quote: "usdt".to_owned(),
            recipe: Recipe::Returns,
            interval: "15m".to_owned(),
            horizon: 1,
            min_coverage: Some(0.5),
            baseline: Baseline::Last,
            split: "time".to_owned(),
            threads: 2,
            seed: 42,
            parameters: Parameters {
                rounds: 7,
                rounds_max: 300,
                depth: 3,
                learning_rate: 0.05,
                leaf_rows_min: 20,
                objective: "reg:squarederror".to_owned(),
                tree_method: "hist".to_owned(),
                holdout: 0.2,
                origin_ms: None,
                smearing: None,
            },
            features: vec!["return_1".to_owned()],
            importance: BTreeMap::from([("return_1".to_owned(), 1.0)]),
            sequence: Some(SequenceRange { first: 1, last: 90 }),
            time: TimeRange { first_ms: 1, last_ms: 2, holdout_from_ms: 2 },
            rows: Rows { ticks: 9, candles: 9, train: 5, holdout: 2, purged: 1, skipped: Skipped::default() },
            versions: Versions { candlewire: "0.1.0".to_owned(), xgboost: "3.4.1".to_owned(), card: CARD_VERSION },
            holdout: part(),
            folds: vec![FoldScores {
                fold: 1,
                train_rows: 3,
                rounds: 7,
                baseline: Baseline::Last,
                from_ms: 1,
                to_ms: 2,
                part: part(),
            }],
            verdict: "it does".to_owned(),
            files: BTreeMap::from([("model.ubj".to_owned(), FileDigest::of(b"abc"))]),
            duration_ms: 12,
        }
    }

    #[test]
    fn a_card_comes_back_with_scores_under_the_documented_keys() {
        let json = card().to_json();
        assert_eq!(serde_json::from_slice::<ModelCard>(&json).expect("a card"), card());
        let value: serde_json::Value = serde_json::from_slice(&json).expect("json");
        assert_eq!(value["recipe"], "returns");
        assert_eq!(value["holdout"]["rmse"], 1.0);
        assert_eq!(value["holdout"]["coverage"]["90"], 0.91);
        assert_eq!(value["folds"][0]["baseline_rmse"], 2.0);
        assert_eq!(value["files"]["model.ubj"]["bytes"], 3);
        assert_eq!(value["importance"]["return_1"], 1.0);
        let sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(value["files"]["model.ubj"]["sha256"], sha256_of_abc);
        // Undefined scores are absent, not null.
        assert!(!value["holdout"].as_object().expect("scores").contains_key("r2_return"));
    }

    #[test]
    fn a_card_of_another_version_is_refused_with_advice() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model-card.json");
        std::fs::write(&path, card().to_json()).expect("written");
        assert_eq!(ModelCard::read(&path).expect("a card"), card());
        let of_layout = |layout: u32| {
            let json = String::from_utf8(card().to_json()).expect("text");
            json.replace(&format!("\"card\": {CARD_VERSION}"), &format!("\"card\": {layout}"))
        };
        std::fs::write(&path, of_layout(2).replace("\"thin\"", "\"coarse\"")).expect("written");
        let error = ModelCard::read(&path).expect_err("older");
        assert!(error.to_string().contains("layout 2") && error.to_string().contains("train a new model"), "{error}");
        let error = ModelCard::from_json(of_layout(CARD_VERSION + 1).as_bytes()).expect_err("newer");
        assert!(error.to_string().contains("reads layouts 3 to 4"), "{error}");
    }

    #[test]
    fn a_card_of_layout_3_has_no_importance() {
        let mut older = ModelCard { importance: BTreeMap::new(), ..card() };
        older.versions.card = 3;
        let json = older.to_json();
        assert!(!String::from_utf8_lossy(&json).contains("importance"));
        assert_eq!(ModelCard::from_json(&json).expect("a card"), older);
    }
}
