//! The card of a model that was just learned.

use std::collections::BTreeMap;

use market::{EventTime, Tick};
use sha2::{Digest, Sha256};
use store::archive::catalog::SeqRange;
use store::model_card::{CARD_VERSION, ModelCard, Parameters, Rows, SequenceRange, TimeRange, Versions};

use super::{LearnConfig, Prepared, Trained};
use crate::booster::{OBJECTIVE, TREE_METHOD};
use crate::verdict::{Subject, verdict};

/// Everything that is known of a model but its id and the time that it took.
pub(super) fn card(
    ticks: &[Tick],
    range: Option<SeqRange>,
    config: &LearnConfig,
    prepared: &Prepared,
    trained: Trained,
) -> ModelCard {
    let Trained { outer, task, fitted, holdout, folds } = trained;
    let (first, last) = (&ticks[0], &ticks[ticks.len() - 1]);
    let dataset = &prepared.dataset;
    let boosting = &config.boosting;
    let baseline = fitted.forecaster.baseline();
    let subject = Subject { recipe: config.recipe, baseline, split: config.split };
    ModelCard {
        model: String::new(),
        coin: config.instrument.coin().to_owned(),
        quote: config.instrument.quote().to_owned(),
        recipe: config.recipe,
        interval: prepared.interval(),
        horizon: config.horizon,
        min_coverage: task.min_coverage,
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
            origin_ms: task.origin.map(EventTime::ms),
            smearing: fitted.forecaster.smearing(),
        },
        features: crate::features::columns(config.recipe).iter().map(|name| (*name).to_owned()).collect(),
        sequence: range.map(|range| SequenceRange { first: range.first, last: range.last }),
        time: TimeRange {
            first_ms: first.event.ms(),
            last_ms: last.event.ms(),
            holdout_from_ms: dataset.rows[outer.validation[0]].known.ms(),
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
        verdict: verdict(&holdout.scores, subject),
        holdout,
        folds,
        files: BTreeMap::new(),
        duration_ms: 0,
    }
}

/// 16 hexadecimal digits that stand for the model, its data and its scores, wherever in a stream its ticks stood.
pub(super) fn model_id(card: &ModelCard, model: &[u8]) -> String {
    let anywhere = ModelCard { sequence: None, ..card.clone() };
    let digest = Sha256::new().chain_update(anywhere.to_json()).chain_update(model).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
