//! The model card of a training.

use std::collections::BTreeMap;

use market::{EventTime, Tick};
use sha2::{Digest, Sha256};
use store::archive::catalog::SeqRange;
use store::model_card::{
    CARD_VERSION, FoldScores, ModelCard, Parameters, PartScores, Rows, SequenceRange, TimeRange, Versions,
};

use crate::booster::{BoosterError, OBJECTIVE, TREE_METHOD};
use crate::config::LearnConfig;
use crate::fit::{FitConfig, Fitted};
use crate::prepare::Prepared;
use crate::split::RowSplit;
use crate::verdict::{ScoredModel, verdict};

/// Everything that a training fitted and scored.
pub(super) struct TrainingResult {
    pub(super) outer: RowSplit,
    pub(super) fit_config: FitConfig,
    pub(super) fitted: Fitted,
    pub(super) holdout: PartScores,
    pub(super) folds: Vec<FoldScores>,
}

/// Returns the card, without the model's id and the duration.
///
/// # Errors
/// XGBoost returns an error.
pub(super) fn card(
    ticks: &[Tick],
    range: Option<SeqRange>,
    config: &LearnConfig,
    prepared: &Prepared,
    result: TrainingResult,
) -> Result<ModelCard, BoosterError> {
    let TrainingResult { outer, fit_config, fitted, holdout, folds } = result;
    let (first, last) = (&ticks[0], &ticks[ticks.len() - 1]);
    let dataset = &prepared.dataset;
    let boosting = &config.boosting;
    let baseline = fitted.forecaster.baseline();
    let scored_model = ScoredModel { recipe: config.recipe, baseline, split: config.split };
    Ok(ModelCard {
        model: String::new(),
        coin: config.instrument.coin().to_owned(),
        quote: config.instrument.quote().to_owned(),
        recipe: config.recipe,
        interval: prepared.interval(),
        horizon: config.horizon,
        min_coverage: fit_config.min_coverage,
        baseline,
        split: config.split.label().to_owned(),
        threads: boosting.threads,
        seed: boosting.seed,
        parameters: Parameters {
            rounds: fitted.rounds,
            rounds_max: boosting.rounds_max,
            depth: boosting.depth,
            learning_rate: boosting.learning_rate,
            leaf_rows_min: boosting.leaf_rows_min,
            objective: OBJECTIVE.to_owned(),
            tree_method: TREE_METHOD.to_owned(),
            holdout: config.holdout,
            origin_ms: fit_config.origin.map(EventTime::ms),
            smearing: fitted.forecaster.smearing(),
        },
        features: crate::features::columns(config.recipe).iter().map(|name| (*name).to_owned()).collect(),
        importance: fitted.forecaster.importance()?,
        sequence: range.map(|range| SequenceRange { first: range.first, last: range.last }),
        time: TimeRange {
            first_ms: first.event.ms(),
            last_ms: last.event.ms(),
            holdout_from_ms: dataset.rows[outer.validation[0]].made.ms(),
        },
        rows: Rows {
            ticks: ticks.len(),
            candles: prepared.candles,
            train: outer.train.len(),
            holdout: outer.validation.len(),
            purged: dataset.rows.len() - outer.train.len() - outer.validation.len(),
            skipped: dataset.skipped,
        },
        versions: Versions {
            candlewire: env!("CARGO_PKG_VERSION").to_owned(),
            xgboost: fitted.forecaster.library_version(),
            card: CARD_VERSION,
        },
        verdict: verdict(&holdout.scores, scored_model),
        holdout,
        folds,
        files: BTreeMap::new(),
        duration_ms: 0,
    })
}

/// Returns the model's id: 16 hexadecimal digits of a digest of the model, its data and its scores. It does not depend
/// on the stream sequences of its ticks.
pub(super) fn model_id(card: &ModelCard, model: &[u8]) -> String {
    let anywhere = ModelCard { sequence: None, ..card.clone() };
    let digest = Sha256::new().chain_update(anywhere.to_json()).chain_update(model).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
