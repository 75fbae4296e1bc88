//! `trainer train`: one model, from the archive as it stands.

use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;
use bus::{Connection, NatsArgs};
use market::Instrument;
use service::{Code, WithCode};
use store::archive::{Archive, ArchiveError, Through};

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
    let connection = if args.offline { None } else { update(&args.archive.archive, nats).await? };
    let archive = Archive::new(&args.archive.archive);
    let (learn_args, out) = (args.learn, args.out.clone());
    let trained = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let instrument = choose_instrument(&archive, named)?;
        let learned = learn_from(&archive, &instrument, Through::ALL, &learn_args)?;
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
pub(crate) fn is_locked(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(ArchiveError::Locked { .. })))
}

#[cfg(test)]
mod tests {
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
        writer.append(SeqRange { first: 1, last: 9 }, rows).expect("written");
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
