//! `trainer train`: one model, from the archive as it stands.

use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;
use bus::{Connection, NatsArgs};
use market::Instrument;
use service::{Code, WithCode};
use store::archive::{Archive, ArchiveError};

use crate::archive::{bring_up_to_date, choose_instrument};
use crate::args::{LearnArgs, TrainArgs};
use crate::artifacts::{Artifacts, prepare_folder};
use crate::learn::{Learned, learn};
use crate::output;

/// Brings the archive up to date, trains, prints the scores and writes the files.
///
/// # Errors
/// With exit code 4 when there is too little to train on (then no file is written), 5 when the files stand but the
/// object store refused them, 2 and 3 for what the user or the operator must mend.
pub async fn train(args: TrainArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    let named = args.instrument.instrument().exit_code(Code::BadConfig)?;
    // Before anything long: contradictions in the flags, and a place for the result.
    args.learn.config(Instrument::new("any", "any")?).exit_code(Code::BadConfig)?;
    prepare_folder(&args.out)?;
    let connection = match args.offline {
        true => None,
        false => update(&args.archive.archive, nats).await?,
    };
    let archive = Archive::new(&args.archive.archive);
    let (learn_args, out) = (args.learn, args.out.clone());
    let trained = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let instrument = choose_instrument(&archive, named)?;
        let learned = learn_from(&archive, &instrument, u64::MAX, &learn_args)?;
        let artifacts = Artifacts::new(&learned)?;
        artifacts.write(&out)?;
        Ok((instrument, learned, artifacts))
    });
    let (instrument, learned, artifacts) = trained.await??;
    output::print_card(&learned.card, &args.out);
    if let Some(connection) = connection {
        let published = artifacts.publish(&connection, &instrument, &learned.card).await;
        published
            .map_err(|error| {
                anyhow!("the files stand in {}, but the object store did not take them: {error}", args.out.display())
            })
            .exit_code(Code::UploadFailed)?;
    }
    Ok(())
}

/// Learns from what the archive holds of an instrument up to a MARKET sequence, and says how long it took.
///
/// # Errors
/// With exit code 4 when there is too little; whatever reading the archive and learning can meet.
pub fn learn_from(
    archive: &Archive,
    instrument: &Instrument,
    through: u64,
    args: &LearnArgs,
) -> anyhow::Result<Learned> {
    let config = args.config(instrument.clone()).exit_code(Code::BadConfig)?;
    let started = Instant::now();
    let series = archive.series(instrument, through)?;
    if series.ticks.is_empty() {
        let held: Vec<_> = archive.holdings()?.keys().map(ToString::to_string).collect();
        let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
        let folder = archive.folder().display();
        let error = anyhow!("not enough data to train on {instrument}: the archive {folder} holds {held}");
        return Err(error).exit_code(Code::NotEnoughData);
    }
    let mut learned = learn(&series.ticks, series.range, &config)?;
    learned.card.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(learned)
}

/// Brings the archive up to date. None without a server, which is no error: the archive may be all there is.
async fn update(folder: &Path, nats: &NatsArgs) -> anyhow::Result<Option<Connection>> {
    let at_once = NatsArgs { connect_timeout: 0, ..nats.clone() };
    let connection = match Connection::open(&at_once, Some("trainer")).await {
        Ok(connection) => connection,
        Err(error @ bus::Error::NoServer { .. }) if Archive::new(folder).last_seq()?.is_some() => {
            tracing::warn!("{error}; training on the archive as it stands");
            return Ok(None);
        }
        Err(bus::Error::NoServer { .. }) => Connection::open(nats, Some("trainer")).await?,
        Err(error) => return Err(error.into()),
    };
    match bring_up_to_date(&connection, folder).await {
        Ok(_) => Ok(Some(connection)),
        Err(error) if is_locked(&error) => {
            tracing::warn!("{error}; training on it as it stands");
            Ok(Some(connection))
        }
        Err(error) => Err(error),
    }
}

/// Whether the archive is being written by a running service.
fn is_locked(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(ArchiveError::Locked { .. })))
}
