//! The command `reporter plot`: reads predictions and model card, writes the plot.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use service::{Code, WithCode};
use store::atomic_file::atomic_write;
use store::model_card::{FileDigest, ModelCard};
use store::paths;
use store::predictions::{self, Prediction};

use super::canvas::Image;
use super::drawing;
use crate::output;

/// Draws actual and predicted prices into a PNG file.
#[derive(Debug, Clone, clap::Args)]
pub struct PlotArgs {
    /// Predictions, as `trainer train` writes them
    #[arg(long, env = "CANDLEWIRE_PREDICTIONS", default_value = "out/predictions.parquet", value_name = "FILE")]
    pub predictions: PathBuf,

    /// Model card of the same training
    #[arg(long, env = "CANDLEWIRE_MODEL_CARD", default_value = "out/model-card.json", value_name = "FILE")]
    pub model_card: PathBuf,

    /// File of the plot; an older one is replaced when the new one is complete
    #[arg(long, env = "CANDLEWIRE_PLOT", default_value = "out/output_plot.png", value_name = "FILE")]
    pub out: PathBuf,
}

/// Draws the plot.
///
/// # Errors
/// Exit code 2 if an input is unusable or the plot cannot be written; exit code 4 if there is no prediction, after a
/// plot that says so.
pub fn run(args: &PlotArgs) -> anyhow::Result<()> {
    let rows = read_predictions(&args.predictions).exit_code(Code::BadConfig)?;
    if rows.is_empty() {
        write(&args.out, &drawing::no_data())?;
        let error =
            anyhow::anyhow!("{} holds no row, so {} shows \"no data\"", args.predictions.display(), args.out.display());
        return Err(error).exit_code(Code::NotEnoughData);
    }
    let card = read_card(&args.model_card).exit_code(Code::BadConfig)?;
    check_same_training(&card, &rows, args).exit_code(Code::BadConfig)?;
    write(&args.out, &drawing::draw(&card, &rows))?;
    output::line(&format!("{}: {} predictions of {}/{}", args.out.display(), rows.len(), card.coin, card.quote))?;
    Ok(())
}

fn read_predictions(path: &Path) -> anyhow::Result<Vec<Prediction>> {
    predictions::read(path).with_context(|| {
        format!(
            "cannot read predictions from {}; run `trainer train`, or choose another file with --predictions",
            path.display()
        )
    })
}

fn read_card(path: &Path) -> anyhow::Result<ModelCard> {
    ModelCard::read(path).with_context(|| {
        format!(
            "cannot read a model card from {}; run `trainer train`, or choose another file with --model-card",
            path.display()
        )
    })
}

/// Checks that card and predictions are of one training. A plot with the scores of another model would look right.
fn check_same_training(card: &ModelCard, rows: &[Prediction], args: &PlotArgs) -> anyhow::Result<()> {
    let unseen = rows.iter().filter(|row| row.fold.is_held_out()).count();
    if unseen != card.holdout.scores.rows {
        bail!(
            "{} scores {} rows but {} holds {unseen}: they belong to different trainings",
            args.model_card.display(),
            card.holdout.scores.rows,
            args.predictions.display()
        );
    }
    // Cards of early versions hold no digests.
    if let Some(digest) = card.files.get(paths::PREDICTIONS) {
        let content = std::fs::read(&args.predictions)?;
        if FileDigest::of(&content) != *digest {
            bail!(
                "{} is the card of other predictions than {}: pass files of one training",
                args.model_card.display(),
                args.predictions.display()
            );
        }
    }
    Ok(())
}

fn write(path: &Path, image: &Image) -> anyhow::Result<()> {
    let png = image.to_png().context("cannot encode the plot")?;
    atomic_write(path, |file| file.write_all(&png))
        .map_err(|error: io::Error| {
            anyhow::anyhow!("cannot write {}: {error}; choose another place with --out", path.display())
        })
        .exit_code(Code::BadConfig)
}
