//! `model-card.json`: what a model is, what it learned from, and how good it is beside doing nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use market::recipe::Recipe;
use market::{Baseline, Scores};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How the label of every score from a random split begins: such a score says nothing about the future.
pub const RANDOM_LABEL: &str = "random: leaks the future";

/// The layout of the card, which a change of it raises.
pub const CARD_VERSION: u32 = 3;

/// What is known of a model. Two trainings on the same archive differ in `duration_ms` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The model's id: the first 16 hexadecimal digits of the SHA-256 of this card without `model`, `sequence`, `files` and
    /// `duration_ms`, and of its file. Equal ticks, settings and libraries give an equal id.
    pub model: String,
    /// Coin.
    pub coin: String,
    /// Quote currency.
    pub quote: String,
    /// What it predicts, and from what.
    pub recipe: Recipe,
    /// Length of the candles that it learned from, such as `15m`; `tick` for a recipe that works on ticks.
    pub interval: String,
    /// How many intervals ahead it predicts.
    pub horizon: usize,
    /// Candles of less coverage counted as missing, 0 to 1: in its training, its scores and its forecasts. Absent for a
    /// recipe that works on ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_coverage: Option<f64>,
    /// What it is compared with: `last`, or for `volatility` the best of that and running averages (`ewma-12`: with a
    /// half-life of 12 candles) on the training rows.
    pub baseline: Baseline,
    /// How rows were held out: `time`, or `random: leaks the future`.
    pub split: String,
    /// Threads that it was trained with: another number may round sums otherwise.
    pub threads: usize,
    /// Seed of the split and of the learner.
    pub seed: u64,
    /// How it was fitted.
    pub parameters: Parameters,
    /// Columns of its features, in order.
    pub features: Vec<String>,
    /// MARKET sequences of which its ticks were taken; absent when they are not of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceRange>,
    /// Event times of its ticks.
    pub time: TimeRange,
    /// How many of what.
    pub rows: Rows,
    /// What made it.
    pub versions: Versions,
    /// Scores on rows that no fit and no choice has seen. Errors are in quote currency, or in log(high ÷ low).
    pub holdout: PartScores,
    /// Scores of rolling-origin folds inside the training part, in order of time.
    pub folds: Vec<FoldScores>,
    /// Whether it beats doing nothing, in one sentence.
    pub verdict: String,
    /// The model's other files, by name, so that a copy of them can be checked. Not a part of the id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileDigest>,
    /// How long the training took.
    pub duration_ms: u64,
}

/// What a file's content is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, as 64 hexadecimal digits.
    pub sha256: String,
}

impl FileDigest {
    /// The digest of a content.
    pub fn of(content: &[u8]) -> Self {
        let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: content.len() as u64, sha256 }
    }
}

/// How a model was fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Boosting rounds of the model: as asked for, or fewer where more stopped helping inside the training part.
    pub rounds: u32,
    /// Boosting rounds that it might have had.
    pub rounds_max: u32,
    /// Most levels of a tree.
    pub depth: u32,
    /// How much of each tree's correction is taken over, 0 to 1.
    pub learning_rate: f64,
    /// Fewest rows on either side of a cut.
    pub leaf_rows_min: u32,
    /// The objective, in XGBoost's words.
    pub objective: String,
    /// How cuts are found, in XGBoost's words.
    pub tree_method: String,
    /// Share of the rows held out.
    pub holdout: f64,
    /// For recipes that count time from a beginning: the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_ms: Option<i64>,
    /// For recipes that are fitted to logs and scored on what they are logs of: the factor between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smearing: Option<f64>,
}

/// Stream sequences, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRange {
    /// First one.
    pub first: u64,
    /// Last one.
    pub last: u64,
}

/// Event times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// Event time of the first tick.
    pub first_ms: i64,
    /// Event time of the last tick.
    pub last_ms: i64,
    /// When the first prediction of the holdout is made.
    pub holdout_from_ms: i64,
}

/// What gave no row, by cause: candles, or ticks for a recipe that works on them. Each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Candles that less is known of than `min_coverage`. They count as missing.
    pub thin: usize,
    /// Candles without bars and of too few points for a range, which the recipe is about. They count as missing.
    pub few_points: usize,
    /// The trailing window begins before the data or crosses a missing candle.
    pub trailing_window: usize,
    /// The horizon ends after the data or crosses a missing candle.
    pub horizon: usize,
    /// Candles whose window had not ended yet.
    pub open: usize,
    /// Bars (not candles) that no window of this length holds all of, so that they are in no candle.
    pub long_bars: usize,
}

/// How many of what a training had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Ticks of the instrument.
    pub ticks: usize,
    /// Candles made of them; equal to the ticks for a recipe that works on ticks.
    pub candles: usize,
    /// Rows that the model was fitted to.
    pub train: usize,
    /// Rows held out.
    pub holdout: usize,
    /// Rows left out between the two, so that no training row's truth reaches into the holdout.
    pub purged: usize,
    /// What gave no row, by cause.
    pub skipped: Skipped,
}

/// What made a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This project's.
    pub candlewire: String,
    /// The learner's library.
    pub xgboost: String,
    /// The layout of this card.
    pub card: u32,
}

/// Scores of one part, with the coverage and the width of its intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartScores {
    /// Scores of the model and of the baseline.
    #[serde(flatten)]
    pub scores: Scores,
    /// Share of the truths inside the interval, by its level in percent: `{"50":…,"80":…,"90":…,"95":…}`.
    pub coverage: BTreeMap<String, f64>,
    /// Mean width of the interval in units of what is predicted, by its level in percent.
    pub width: BTreeMap<String, f64>,
    /// Mean of the interval's width ÷ the baseline, by its level in percent: for prices, relative to the last price.
    pub width_relative: BTreeMap<String, f64>,
    /// Rows with a feature beyond what the model has learned from.
    pub unlike_training: usize,
}

/// Scores of one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldScores {
    /// The fold's number, from 1.
    pub fold: usize,
    /// Rows that its model was fitted to.
    pub train_rows: usize,
    /// Boosting rounds of its model.
    pub rounds: u32,
    /// What it is compared with, chosen on the rows that its model was fitted to.
    pub baseline: Baseline,
    /// When its first prediction is made.
    pub from_ms: i64,
    /// When the truth of its last prediction is known.
    pub to_ms: i64,
    /// How good its model was.
    #[serde(flatten)]
    pub part: PartScores,
}

/// Why a model card cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelCardError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not a model card.
    #[error("not a model card: {0}")]
    Json(#[from] serde_json::Error),
    /// A card of another version.
    #[error(
        "the model card has layout {found}, this version reads layout {CARD_VERSION}: train a new model with this version"
    )]
    OtherVersion {
        /// What the card says.
        found: u64,
    },
}

impl ModelCard {
    /// The card as JSON, for people and programs, with a line end.
    ///
    /// # Panics
    /// Never: every key of the card is text.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a card has only keys of text");
        json.push(b'\n');
        json
    }

    /// Reads a card.
    ///
    /// # Errors
    /// When the file is missing, or holds something else or a card of another version.
    pub fn read(path: &Path) -> Result<Self, ModelCardError> {
        let json = std::fs::read(path)?;
        let of_any_version: serde_json::Value = serde_json::from_slice(&json)?;
        match of_any_version["versions"]["card"].as_u64() {
            Some(found) if found != u64::from(CARD_VERSION) => Err(ModelCardError::OtherVersion { found }),
            _ => Ok(serde_json::from_slice(&json)?),
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
    fn a_card_comes_back_as_it_was_with_scores_where_readers_look() {
        let json = card().to_json();
        assert_eq!(serde_json::from_slice::<ModelCard>(&json).expect("a card"), card());
        let value: serde_json::Value = serde_json::from_slice(&json).expect("json");
        assert_eq!(value["recipe"], "returns");
        assert_eq!(value["holdout"]["rmse"], 1.0);
        assert_eq!(value["holdout"]["coverage"]["90"], 0.91);
        assert_eq!(value["folds"][0]["baseline_rmse"], 2.0);
        assert_eq!(value["files"]["model.ubj"]["bytes"], 3);
        let sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(value["files"]["model.ubj"]["sha256"], sha256_of_abc);
        // What is undefined is absent, not null.
        assert!(!value["holdout"].as_object().expect("scores").contains_key("r2_return"));
    }

    #[test]
    fn a_card_of_another_version_is_refused_with_advice() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model-card.json");
        std::fs::write(&path, card().to_json()).expect("written");
        assert_eq!(ModelCard::read(&path).expect("a card"), card());
        let older = String::from_utf8(card().to_json()).expect("text").replace("\"card\": 3", "\"card\": 2");
        std::fs::write(&path, older.replace("\"thin\"", "\"coarse\"")).expect("written");
        let error = ModelCard::read(&path).expect_err("older");
        assert!(error.to_string().contains("layout 2") && error.to_string().contains("train a new model"), "{error}");
    }
}
