//! `trainer train`: one model, from the archive or from a recording.

use std::time::Instant;

use anyhow::anyhow;
use bus::{Connection, NatsArgs};
use learn::training::{Learned, learn_against};
use market::Instrument;
use service::{Code, WithCode};
use store::archive::{Archive, ArchiveError};

use crate::archive_writer::bring_up_to_date;
use crate::args::{LearnArgs, TrainArgs};
use crate::artifacts::{Artifacts, prepare_folder};
use crate::data::Data;
use crate::output;
use crate::progress::Progress;

/// Brings the archive up to date, trains, prints the scores and writes the files.
///
/// # Errors
/// With exit code 4 when there is too little to train on (then no file is written), 5 when the files stand but the
/// object store or the bucket refused them, 2 and 3 for what the user or the operator must mend.
pub async fn train(args: TrainArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    // Before anything long: contradictions in the flags, and places for the result.
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
        let progress = Progress::start();
        let started = Instant::now();
        let data = args.data.read(&progress)?;
        let learned = learn_and_write(&data, &args, started, &progress);
        Ok((data.instrument, data.note, learned))
    });
    let (instrument, note, learned) = trained.await??;
    // Before any failure: what was left out of a recording may be why there is too little.
    output::print_note(note.as_deref());
    let (learned, artifacts) = learned?;
    output::print_card(&learned.card, &out);
    let mut refusals = Vec::new();
    if let Some(connection) = connection
        && let Err(error) = artifacts.publish(&connection, &instrument, &learned.card).await
    {
        refusals.push(format!("the object store did not take them: {error}"));
    }
    match bucket {
        None => output::print_upload_skipped(),
        Some(bucket) => match artifacts.upload(&bucket, &instrument, &learned.card).await {
            Ok(()) => output::print_uploaded(&bucket, &instrument, &learned.card),
            Err(error) => refusals.push(format!("the bucket {} did not take them: {error}", bucket.name())),
        },
    }
    if refusals.is_empty() {
        return Ok(());
    }
    let error = anyhow!("the files stand in {}, but {}", out.display(), refusals.join("; and "));
    Err(error).exit_code(Code::UploadFailed)
}

/// Learns, and writes the files.
fn learn_and_write(
    data: &Data,
    args: &TrainArgs,
    started: Instant,
    progress: &Progress,
) -> anyhow::Result<(Learned, Artifacts)> {
    let learned = learn_timed(data, &args.learn, started, progress)?;
    progress.step("writing the files");
    let artifacts = Artifacts::new(&learned)?;
    artifacts.write(&args.out)?;
    Ok((learned, artifacts))
}

/// Learns, and puts on the card how long it took since `started`.
fn learn_timed(data: &Data, args: &LearnArgs, started: Instant, progress: &Progress) -> anyhow::Result<Learned> {
    let config = args.config(data.instrument.clone()).exit_code(Code::BadConfig)?;
    let learned = learn_against(&data.ticks, data.range, &config, None, |step| progress.learning(step))?;
    Ok(learned.timed(started.elapsed()))
}

/// Brings the archive up to date. None without a server, which is no error: the archive may be all there is.
pub(crate) async fn update(archive: &Archive, nats: &NatsArgs) -> anyhow::Result<Option<Connection>> {
    let at_once = NatsArgs { connect_timeout: 0, ..nats.clone() };
    let connection = match Connection::open(&at_once, Some("trainer")).await {
        Ok(connection) => connection,
        Err(error @ bus::Error::NoServer { .. }) if archive.last_seq()?.is_some() => {
            tracing::warn!("{error}; training on the archive as it stands");
            return Ok(None);
        }
        Err(bus::Error::NoServer { .. }) => Connection::open(nats, Some("trainer")).await?,
        Err(error) => return Err(error.into()),
    };
    match bring_up_to_date(&connection, archive).await {
        Ok(_) => Ok(Some(connection)),
        Err(error) if is_locked(&error) => {
            tracing::warn!("{error}; training on it as it stands");
            Ok(Some(connection))
        }
        Err(error) => Err(error),
    }
}

/// Whether the archive is being written by a running service.
pub(crate) fn is_locked(error: &anyhow::Error) -> bool {
    is_of_archive(error, ArchiveError::is_locked)
}

/// Whether the archive is in a bucket that cannot be reached now.
pub(crate) fn is_outage(error: &anyhow::Error) -> bool {
    is_of_archive(error, ArchiveError::is_outage)
}

/// Whether writing to the archive can go on later, with nothing changed but room or a way to its bucket.
pub(crate) fn can_wait(error: &anyhow::Error) -> bool {
    is_of_archive(error, |error| error.is_outage() || error.is_full())
}

fn is_of_archive(error: &anyhow::Error, is: fn(&ArchiveError) -> bool) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is))
}

#[cfg(test)]
mod shortage_tests;
#[cfg(test)]
mod tests;
