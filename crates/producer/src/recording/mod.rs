//! Recordings: CSV files, plain or gzip, replayed into FEED in order, once, at any speed.
//!
//! [`store::recording`] reads and judges rows; `pack` makes messages of them, `pace` says when, `replay` publishes, and
//! `flush` ends each instrument.

mod flush;
mod older;
mod pace;
mod pack;
mod replay;
#[cfg(test)]
mod replay_tests;
mod summary;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::NatsArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use market::Instrument;
use service::{Code, Health, Shutdown, WithCode};
use store::recording::{Input, OnRead, Rejects, Rules, Track, Unusable};

pub use self::older::Older;
pub use self::pace::Speed;
use self::replay::{Ending, Plan};
use self::summary::Summary;
use crate::metrics::ProducerMetrics;
use crate::output;

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// The files of each instrument.
    pub files: Vec<(Instrument, Vec<PathBuf>)>,
    /// How their rows are read.
    pub rules: Rules,
    /// How fast event time passes.
    pub speed: Speed,
    /// Whether holes become gap records.
    pub gaps: bool,
    /// Whether each instrument ends with a flush.
    pub flush: bool,
    /// What happens to rows that are not newer than what FEED has.
    pub older: Older,
    /// Where refused rows are kept.
    pub rejects: PathBuf,
    /// Where the summary is written.
    pub summary: Option<PathBuf>,
}

/// The files of one instrument, looked at and not read yet.
pub(crate) struct Recording {
    pub(crate) instrument: Instrument,
    pub(crate) track: Track,
}

/// Replays recordings into FEED: checks all files, waits for FEED, publishes, reports.
///
/// # Errors
/// Unusable files (before the first publish, or where one breaks off), nothing that counts in them, FEED of another
/// form, paths that cannot be written.
pub async fn run(config: Config, nats: &NatsArgs, health: &Health, shutdown: &Shutdown) -> anyhow::Result<()> {
    for path in config.summary.iter().chain([&config.rejects]) {
        check_folder(path).exit_code(Code::BadConfig)?;
    }
    let progress = ProgressBar::hidden();
    let (files, rules, bar) = (config.files.clone(), config.rules, progress.clone());
    let recordings = tokio::task::spawn_blocking(move || open(files, rules, &bar)).await?.exit_code(Code::BadConfig)?;
    let Some(connection) = crate::feed::connect(nats, health, shutdown).await? else { return Ok(()) };
    health.ready();
    let metrics = ProducerMetrics::new(health.metrics());

    let bytes = recordings.iter().flat_map(|recording| recording.track.files()).map(|(input, _)| input.bytes()).sum();
    let show = || show(&progress, bytes);
    let replayed =
        replay::replay(&connection, recordings, config.plan(), config.rejects(), show, &metrics, shutdown).await;
    progress.finish_and_clear();
    let (summary, ending) = replayed?;
    report(&config, &summary)?;
    conclude(&config, &summary, ending)
}

impl Config {
    fn plan(&self) -> Plan {
        Plan { gaps: self.gaps, speed: self.speed, older: self.older, flush: self.flush }
    }

    fn rejects(&self) -> Rejects {
        let path = self.rejects.clone();
        Rejects::new(move || Ok(Box::new(BufWriter::new(File::create(path)?))))
    }
}

/// Looks at all files of all instruments, so that nothing is published when one of them is refused.
fn open(
    files: Vec<(Instrument, Vec<PathBuf>)>,
    rules: Rules,
    progress: &ProgressBar,
) -> Result<Vec<Recording>, Unusable> {
    let bar = progress.clone();
    let on_read: OnRead = Arc::new(move |bytes| bar.inc(bytes));
    let open = |(instrument, paths): (Instrument, Vec<PathBuf>)| {
        let inputs = paths.iter().map(|path| Input::at(path, Arc::clone(&on_read))).collect::<Result<Vec<_>, _>>()?;
        let track = Track::open(inputs, &instrument, rules)?;
        Ok(Recording { instrument, track })
    };
    files.into_iter().map(open).collect()
}

/// The folder must be there before anything is published; the file is made only when there is something to write.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(folder.is_dir(), "cannot write {}: there is no folder {}", path.display(), folder.display());
    Ok(())
}

/// Draws the bar on standard error if that is a terminal.
fn show(progress: &ProgressBar, bytes: u64) {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}").unwrap_or(ProgressStyle::default_bar());
    progress.set_style(style);
    progress.set_length(bytes);
    progress.reset();
    progress.set_draw_target(ProgressDrawTarget::stderr());
    progress.enable_steady_tick(Duration::from_millis(200));
}

fn report(config: &Config, summary: &Summary) -> anyhow::Result<()> {
    output::print(&summary.to_text(&config.rejects))?;
    if let Some(path) = &config.summary {
        summary
            .write(path)
            .with_context(|| format!("cannot write the summary {}: name another file with --summary", path.display()))
            .exit_code(Code::BadConfig)?;
    }
    Ok(())
}

fn conclude(config: &Config, summary: &Summary, ending: Ending) -> anyhow::Result<()> {
    match ending {
        Ending::Rejects(error) => Err(error)
            .with_context(|| format!("cannot write the refused rows to {}: name another file with --rejects", config.rejects.display()))
            .exit_code(Code::BadConfig),
        Ending::Cut(cut) => Err(anyhow::anyhow!(
            "{cut}: the rows before were published, without a flush; mend the file and run it again, what FEED has is skipped"
        ))
        .exit_code(Code::BadConfig),
        Ending::Stopped => {
            tracing::info!("stopped before the end: run it again to go on, what FEED has is skipped");
            Ok(())
        }
        Ending::Done if summary.total().tally.range.is_none() => {
            let rows = summary.total().tally.rows;
            Err(anyhow::anyhow!("no row can be used, of {rows} in all: {} says why", config.rejects.display()))
                .exit_code(Code::NotEnoughData)
        }
        Ending::Done => Ok(()),
    }
}
