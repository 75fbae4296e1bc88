//! A trained model as the forecasting step knows it.

use std::sync::Arc;

use anyhow::Context;
use learn::forecaster::Forecaster;
use learn::training::Comparison;
use market::{EventTime, Instrument, Scores};
use serde::{Deserialize, Serialize};
use service::{Code, WithCode};
use store::model_card::{FileDigest, ModelCard};

use super::error::REBUILD_ADVICE;

/// Threads that predict one row: more would cost more than they save.
const PREDICT_THREADS: usize = 1;

/// Names a model and its one valid file: the object store takes any file under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Its id.
    pub id: String,
    /// SHA-256 of its file, as 64 hexadecimal digits.
    pub sha256: String,
}

impl ModelRef {
    /// Names a model by its id and the content of its file.
    pub fn new(id: impl Into<String>, file: &[u8]) -> Self {
        Self { id: id.into(), sha256: FileDigest::of(file).sha256 }
    }
}

/// A model and its scores.
pub struct TrainedModel {
    /// Its id and the digest of its file.
    pub model: ModelRef,
    /// The model, ready to predict.
    pub forecaster: Arc<Forecaster>,
    /// Event time of the first tick that it learned from.
    pub first: EventTime,
    /// Event time of the last tick that it learned from.
    pub last: EventTime,
    /// How many ticks it learned from.
    pub ticks: u64,
    /// Its scores on its holdout.
    pub scores: Scores,
    /// Scores of this model and of the incumbent on rows that neither has learned from.
    pub comparison: Option<Comparison>,
}

impl TrainedModel {
    /// Takes from a model card and a model file what the step needs.
    ///
    /// # Errors
    /// When the model cannot be read back from its own bytes.
    pub fn new(card: &ModelCard, model: &[u8], comparison: Option<Comparison>) -> anyhow::Result<Self> {
        Ok(Self {
            model: ModelRef::new(&card.model, model),
            forecaster: Arc::new(Forecaster::load(model, PREDICT_THREADS)?),
            first: EventTime(card.time.first_ms),
            last: EventTime(card.time.last_ms),
            ticks: card.rows.ticks as u64,
            scores: card.holdout.scores,
            comparison,
        })
    }
}

/// Reads the model in use from the content of its file.
///
/// # Errors
/// When the content is not a model that this version can use; the exit code is that of a server to be repaired.
pub(super) fn load_model(content: &[u8], instrument: &Instrument) -> anyhow::Result<Forecaster> {
    let unusable = || format!("the model in use of {instrument} cannot be used: {REBUILD_ADVICE}");
    Forecaster::load(content, PREDICT_THREADS).with_context(unusable).exit_code(Code::Server)
}
