//! Predictions and model card of one training, as `trainer train` writes them to a folder.

use std::path::Path;

use anyhow::{Context, bail};
use store::model_card::{FileDigest, ModelCard};
use store::paths;
use store::predictions::{self, Prediction};

/// Predictions and model card of one training.
#[derive(Debug, Clone)]
pub(crate) struct TrainingFiles {
    /// The model card; `None` if there is no prediction, so that no card is needed.
    pub(crate) card: Option<ModelCard>,
    /// The predictions.
    pub(crate) predictions: Vec<Prediction>,
}

impl TrainingFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// A file is missing or damaged, or the two belong to different trainings.
    pub(crate) fn read(of_predictions: &Path, of_card: &Path) -> anyhow::Result<Self> {
        let advice = |what: &str, path: &Path, flag: &str| {
            format!(
                "cannot read {what} from {}; run `trainer train`, or choose another file with {flag}",
                path.display()
            )
        };
        let unreadable = || advice("predictions", of_predictions, "--predictions");
        let content = std::fs::read(of_predictions).with_context(unreadable)?;
        let digest = FileDigest::of(&content);
        let predictions = predictions::from_bytes(content).with_context(unreadable)?;
        if predictions.is_empty() {
            return Ok(Self { card: None, predictions });
        }
        let card = ModelCard::read(of_card).with_context(|| advice("a model card", of_card, "--model-card"))?;
        check_same_training(&card, &predictions, &digest)
            .with_context(|| format!("{} and {} do not fit together", of_card.display(), of_predictions.display()))?;
        Ok(Self { card: Some(card), predictions })
    }
}

/// Checks that card and predictions are of one training. A plot with the scores of another model would look right.
///
/// # Errors
/// They are of different trainings.
pub(crate) fn check_same_training(card: &ModelCard, rows: &[Prediction], digest: &FileDigest) -> anyhow::Result<()> {
    let unseen = rows.iter().filter(|row| row.fold.is_held_out()).count();
    if unseen != card.holdout.scores.rows {
        bail!(
            "the card scores {} rows but the predictions hold {unseen}: they belong to different trainings",
            card.holdout.scores.rows
        );
    }
    // Cards of early versions hold no digests.
    if card.files.get(paths::PREDICTIONS).is_some_and(|named| named != digest) {
        bail!("the card is that of other predictions: pass files of one training");
    }
    Ok(())
}
