//! `trainer train`: one model, from the archive or from a recording.

use std::time::Instant;

use anyhow::anyhow;
use bus::{Connection, NatsArgs};
use market::Instrument;
use service::{Code, WithCode};
use store::archive::{Archive, ArchiveError, Through};

use crate::archive::bring_up_to_date;
use crate::args::{LearnArgs, TrainArgs};
use crate::artifacts::{Artifacts, prepare_folder};
use crate::data::{Data, read_archive};
use crate::learn::{Learned, learn};
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
        let learned = learn_timed(&data, &args.learn, started)?;
        progress.step("writing the files");
        let artifacts = Artifacts::new(&learned)?;
        artifacts.write(&args.out)?;
        Ok((data.instrument, data.note, learned, artifacts))
    });
    let (instrument, note, learned, artifacts) = trained.await??;
    output::print_note(note.as_deref());
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

/// Learns from what the archive holds of an instrument up to a place in MARKET, and says how long it took.
///
/// # Errors
/// With exit code 4 when there is too little; whatever reading the archive and learning can meet.
pub fn learn_from(
    archive: &Archive,
    instrument: &Instrument,
    through: Through,
    args: &LearnArgs,
) -> anyhow::Result<Learned> {
    let started = Instant::now();
    learn_timed(&read_archive(archive, instrument, through)?, args, started)
}

/// Learns, and puts on the card how long it took since `started`.
fn learn_timed(data: &Data, args: &LearnArgs, started: Instant) -> anyhow::Result<Learned> {
    let config = args.config(data.instrument.clone()).exit_code(Code::BadConfig)?;
    let mut learned = learn(&data.ticks, data.range, &config)?;
    learned.card.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(learned)
}

/// Brings the archive up to date. None without a server, which is no error: the archive may be all there is.
async fn update(archive: &Archive, nats: &NatsArgs) -> anyhow::Result<Option<Connection>> {
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
    error.chain().any(|cause| cause.downcast_ref().is_some_and(ArchiveError::is_locked))
}

/// Whether the archive is in a bucket that cannot be reached now.
pub(crate) fn is_outage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(ArchiveError::is_outage))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use market::{EventTime, Span, Tick};
    use store::archive::ArchiveWriter;
    use store::layout::MODEL_FILES;
    use store::listing::SeqRange;
    use store::ticks::TickRows;

    use super::*;
    use crate::Args;

    /// An archive of minutes, of as many instruments as prices are given.
    fn archive(folder: &Path, minutes: i64, coins: &[&str]) {
        let mut rows = TickRows::default();
        for (coin, idx) in coins.iter().flat_map(|coin| (0..minutes).map(move |idx| (coin, idx))) {
            let close = 100.0 + (idx as f64 / 9.0).sin() + (idx as f64 / 2.3).cos();
            let (event, grain) = (EventTime(idx * Span::MINUTE.ms()), Span::MINUTE);
            let (high, low) = (close + 0.1, close - 0.1);
            let tick = Tick { event, grain, id: None, open: close, high, low, close, volume: None, feed_seq: 1 };
            rows.push(&Instrument::new(coin, "usd").expect("valid"), &tick, 7);
        }
        let mut writer = ArchiveWriter::open(folder, "MARKET").expect("writable");
        writer.append(SeqRange { first: 1, last: 9 }, &rows.into_batch()).expect("written");
    }

    /// Trains from the archive with the given flags; the exit code when it fails.
    fn run(folder: &Path, flags: &[&str]) -> Result<(), Option<Code>> {
        let place = |name: &str| folder.join(name).display().to_string();
        let fixed =
            ["trainer", "train", "--offline", "--threads", "1", "--archive", &place("archive"), "--out", &place("out")];
        let args = Args::try_parse_from([&fixed, flags].concat()).expect("valid flags");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let done = runtime.block_on(crate::run(args, service::Shutdown::new()));
        done.map_err(|error| {
            error.downcast_ref::<service::Coded>().map(service::Coded::code).or_else(|| crate::exit_code(&error))
        })
    }

    #[test]
    fn a_training_leaves_its_files_and_the_next_one_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        archive(&folder.path().join("archive"), 400, &["bitcoin"]);
        run(folder.path(), &[]).expect("trained");
        let read = |file: &str| std::fs::read(folder.path().join("out").join(file)).expect("a file");
        let before = MODEL_FILES.map(read);
        assert_eq!(std::fs::read_dir(folder.path().join("out")).expect("a folder").count(), MODEL_FILES.len());
        run(folder.path(), &[]).expect("trained");
        let card = MODEL_FILES.len() - 1;
        assert_eq!(MODEL_FILES.map(read)[..card], before[..card]);
    }

    #[test]
    fn what_ends_without_a_model_leaves_no_file_and_says_why_by_its_code() {
        type Case = (&'static str, i64, &'static [&'static str], &'static [&'static str], Code);
        let cases: [Case; 6] = [
            ("no archive", 0, &[], &[], Code::NotEnoughData),
            ("too few rows", 60, &["bitcoin"], &[], Code::NotEnoughData),
            ("another coin", 400, &["bitcoin"], &["--coin", "dogecoin", "--quote", "usd"], Code::NotEnoughData),
            ("which of two", 400, &["bitcoin", "ethereum"], &[], Code::BadConfig),
            ("no coin's name", 400, &["bitcoin"], &["--coin", "a.b", "--quote", "usd"], Code::BadConfig),
            ("contradiction", 400, &["bitcoin"], &["--recipe", "calendar", "--interval", "1h"], Code::BadConfig),
        ];
        for (name, minutes, coins, flags, code) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            if minutes > 0 {
                archive(&folder.path().join("archive"), minutes, coins);
            }
            assert_eq!(run(folder.path(), flags), Err(Some(code)), "{name}");
            let files = std::fs::read_dir(folder.path().join("out")).map_or(0, Iterator::count);
            assert_eq!(files, 0, "{name}");
        }
    }
}
