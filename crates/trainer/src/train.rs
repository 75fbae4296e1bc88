//! `trainer train`: trains one model, on the archive or on a recording.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::anyhow;
use bus::NatsArgs;
use learn::training::{Learned, learn_against};
use market::Instrument;
use service::{Code, WithCode};

use crate::archive_update::update;
use crate::args::LearnArgs;
use crate::artifacts::{Artifacts, prepare_folder};
use crate::data::{Data, DataArgs};
use crate::output;
use crate::progress::ProgressDisplay;
use crate::upload::UploadArgs;

/// Flags of `train`.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainArgs {
    /// The ticks to learn from.
    #[command(flatten)]
    pub data: DataArgs,

    /// Folder for predictions.parquet, its zip, model.ubj and model-card.json, created if it does not exist
    #[arg(long, env = "CANDLEWIRE_OUT", default_value = "out", value_name = "DIR")]
    pub out: PathBuf,

    /// Learning options.
    #[command(flatten)]
    pub learn: LearnArgs,

    /// A bucket that the model is uploaded to.
    #[command(flatten)]
    pub upload: UploadArgs,
}

/// Brings the archive up to date, trains, prints the scores and writes the files.
///
/// # Errors
/// Exit code 4: too few data to train on; no file is written. 5: the files are written, but the object store or the
/// bucket refused them. 2 and 3: an error that the user or the operator must correct.
pub async fn train(args: TrainArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    // Errors of flags and of places for the result come before any long work.
    args.data.instrument.instrument().exit_code(Code::BadConfig)?;
    args.learn.config(Instrument::new("any", "any")?).exit_code(Code::BadConfig)?;
    prepare_folder(&args.out)?;
    let bucket = args.upload.bucket()?;
    let connection = match args.data.archive_to_update() {
        Some(archive) => update(&archive.open()?, nats).await?,
        None => None,
    };
    let out = args.out.clone();
    let trained = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let progress = ProgressDisplay::start();
        let started = Instant::now();
        let data = args.data.read(&progress)?;
        let learned = learn_and_write(&data, &args, started, &progress);
        Ok((data.instrument, data.note, learned))
    });
    let (instrument, note, learned) = trained.await??;
    // Printed before an error, because rows that were left out may be the reason for it.
    output::print_note(note.as_deref());
    let (learned, artifacts) = learned?;
    output::print_card(&learned.card, &out);
    let mut refusals = Vec::new();
    if let Some(connection) = connection
        && let Err(error) = artifacts.publish(&connection, &instrument, &learned.card).await
    {
        refusals.push(format!("the object store refused them: {error}"));
    }
    match bucket {
        None => output::print_upload_skipped(),
        Some(bucket) => match artifacts.upload(&bucket, &instrument, &learned.card).await {
            Ok(()) => output::print_uploaded(&bucket, &instrument, &learned.card),
            Err(error) => refusals.push(format!("the bucket {} refused them: {error}", bucket.name())),
        },
    }
    if refusals.is_empty() {
        return Ok(());
    }
    let error = anyhow!("the files are in {}, but {}", out.display(), refusals.join("; and "));
    Err(error).exit_code(Code::UploadFailed)
}

/// Trains the model and writes its files.
fn learn_and_write(
    data: &Data,
    args: &TrainArgs,
    started: Instant,
    progress: &ProgressDisplay,
) -> anyhow::Result<(Learned, Artifacts)> {
    let learned = learn_timed(data, &args.learn, started, progress)?;
    progress.step("writing the files");
    let artifacts = Artifacts::new(&learned)?;
    artifacts.write(&args.out)?;
    Ok((learned, artifacts))
}

/// Trains the model, and notes on its card the time since `started`.
fn learn_timed(data: &Data, args: &LearnArgs, started: Instant, progress: &ProgressDisplay) -> anyhow::Result<Learned> {
    let config = args.config(data.instrument.clone()).exit_code(Code::BadConfig)?;
    let learned = learn_against(&data.ticks, data.range, &config, None, |stage| progress.learning(stage))?;
    Ok(learned.timed(started.elapsed()))
}

#[cfg(test)]
mod shortage_tests;
#[cfg(test)]
mod tests;
