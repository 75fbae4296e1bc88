//! Trains and loads models for the forecasting step: the interface, apart from where ticks and models are kept.

use futures::future::BoxFuture;
use learn::forecaster::Forecaster;
use market::Instrument;
use store::archive::Through;

use super::model::{ModelRef, TrainedModel};

/// A training: the instrument, the ticks up to a line of MARKET, and the model in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingJob {
    /// The instrument.
    pub instrument: Instrument,
    /// The newest line of MARKET that it learns from.
    pub through: Through,
    /// The model in use, which the new one is compared with.
    pub incumbent: Option<ModelRef>,
}

/// The result of a training.
pub enum TrainingOutcome {
    /// A model.
    Trained(Box<TrainedModel>),
    /// No model, because there is not enough to learn from.
    NoModel,
}

/// Trains models and loads them.
pub trait ModelTrainer: Send + Sync + 'static {
    /// Trains a model and stores it where [`Self::load`] finds it. The same job gives the same model.
    fn train(&self, job: TrainingJob) -> BoxFuture<'static, anyhow::Result<TrainingOutcome>>;

    /// Reads a stored model. A file other than the one that `model` names is refused.
    fn load(&self, instrument: Instrument, model: ModelRef) -> BoxFuture<'static, anyhow::Result<Forecaster>>;
}
