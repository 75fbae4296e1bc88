//! Replay of recordings: files of many formats are published into FEED in order, once, at any speed.
//!
//! [`store::recording`] reads and judges rows, and `inspect` says how, without publishing them. `pack` converts them to messages, `pace` times them, `reading` runs both
//! on a thread, `publishing` publishes the messages, `flush` ends each instrument, and `replay` combines these.
//! `resume` compares a recording with FEED before the first publish, and `downstream` follows the messages after the
//! last one.

mod downstream;
mod downstream_rejects;
mod flush;
pub mod inspect;
mod opened;
mod pace;
mod pack;
mod progress;
mod published;
mod publishing;
mod reading;
mod replay;
#[cfg(test)]
mod replay_tests;
mod resume;
mod summary;
mod summary_text;
mod window_fit;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bus::{Connection, NatsArgs};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use market::Instrument;
use service::{Code, Health, Shutdown, WithCode};
use store::recording::{LayoutWords, ReadingOptions, Rejects};

use self::downstream::{Downstream, DownstreamWatch};
use self::downstream_rejects::DownstreamRejects;
use self::opened::Recording;
pub use self::pace::Speed;
use self::published::PublishedMessages;
use self::replay::{Ending, Replay, ReplayPlan, Replayed};
pub use self::resume::OlderRows;
use self::summary::{REFUSED_MAX_PERCENT, Summary};
use crate::metrics::ProducerMetrics;

/// Configuration of a replay.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Files of each instrument.
    pub files: Vec<(Instrument, Vec<PathBuf>)>,
    /// How the files are read.
    pub reading: ReadingOptions,
    /// Speed of event time.
    pub speed: Speed,
    /// Whether holes become gap records.
    pub gaps: bool,
    /// Whether each instrument ends with a flush.
    pub flush: bool,
    /// Treatment of rows that are not newer than FEED's last tick.
    pub older: OlderRows,
    /// File of refused rows.
    pub rejects: PathBuf,
    /// File of the summary.
    pub summary: Option<PathBuf>,
    /// Time to wait for the stream-processor after the last row; zero does not wait.
    pub downstream_wait: Duration,
    /// Whether any share of refused rows counts as a success.
    pub allow_rejects: bool,
}

/// Replays recordings into FEED: surveys all files, waits for FEED, publishes, and prints a summary.
///
/// # Errors
/// A file is unusable (before the first publish, or where it breaks off), no row counts, FEED has other settings, or an
/// output file cannot be written.
pub async fn run(config: ReplayConfig, nats: &NatsArgs, health: &Health, shutdown: &Shutdown) -> anyhow::Result<()> {
    for path in config.summary.iter().chain([&config.rejects]) {
        check_folder(path).exit_code(Code::BadConfig)?;
    }
    let progress = ProgressBar::hidden();
    let (files, reading, bar) = (config.files.clone(), config.reading.clone(), progress.clone());
    let recordings =
        tokio::task::spawn_blocking(move || opened::open(files, &reading, &bar)).await?.exit_code(Code::BadConfig)?;
    let layouts = layouts(&recordings);
    let Some(connection) = crate::feed::connect(nats, health, shutdown).await? else { return Ok(()) };
    health.ready();
    let metrics = ProducerMetrics::new(health.metrics());
    let watch = DownstreamWatch::begin(&connection, config.downstream_wait, shutdown).await;

    let bytes = recordings.iter().flat_map(|recording| recording.rows.files()).map(|(input, _)| input.bytes()).sum();
    let show = || show(&progress, bytes);
    let plan = config.plan(watch.feed_end());
    let is_begun = Arc::default();
    let rejects = config.rejects(&is_begun);
    let replay = Replay { feed: &connection, plan, metrics: &metrics, shutdown };
    let replayed = replay.run(recordings, rejects, show).await;
    progress.finish_and_clear();
    let Replayed { mut summary, mut ending, published } = replayed?;
    summary.layouts = layouts;
    if matches!(ending, Ending::Done | Ending::Cut(_)) {
        let name_of = |instrument_idx, file| config.file(instrument_idx, file);
        let mut keep = DownstreamRejects::new(&config.rejects, is_begun.load(Ordering::Relaxed), &name_of);
        summary.downstream = follow(&connection, &watch, &published, &summary, &mut keep, shutdown).await;
        let kept = keep.finish();
        ending = kept.map_or_else(Ending::Rejects, |()| ending);
    }
    report(&config, &summary)?;
    conclude(&config, &summary, ending)
}

/// Returns the layout of each file, with the name of the file.
fn layouts(recordings: &[Recording]) -> Vec<(String, LayoutWords)> {
    let layouts = recordings.iter().flat_map(|recording| recording.rows.layouts());
    layouts.map(|(name, words)| (name.to_owned(), words)).collect()
}

/// Determines the outcome of the replay downstream; `keep` receives the rejected records.
async fn follow(
    connection: &Connection,
    watch: &DownstreamWatch,
    published: &PublishedMessages,
    summary: &Summary,
    keep: &mut DownstreamRejects<'_>,
    shutdown: &Shutdown,
) -> Downstream {
    let instruments: Vec<_> = summary.instruments.iter().map(|(instrument, _)| instrument).collect();
    let waiting = waiting();
    let downstream = watch.check(connection, published, &instruments, keep, shutdown).await;
    waiting.finish_and_clear();
    downstream
}

impl ReplayConfig {
    /// Returns the name of a file by the index of its instrument and its own index.
    fn file(&self, instrument_idx: usize, file: u32) -> Option<String> {
        let (_, paths) = self.files.get(instrument_idx)?;
        Some(paths.get(file as usize)?.display().to_string())
    }

    fn plan(&self, feed_end: u64) -> ReplayPlan {
        ReplayPlan { gaps: self.gaps, speed: self.speed, older: self.older, flush: self.flush, feed_end }
    }

    /// Returns the writer of refused rows; `is_begun` is set when the first one comes.
    fn rejects(&self, is_begun: &Arc<AtomicBool>) -> Rejects {
        let (path, is_begun) = (self.rejects.clone(), Arc::clone(is_begun));
        Rejects::new(move || {
            is_begun.store(true, Ordering::Relaxed);
            Ok(Box::new(BufWriter::new(File::create(path)?)))
        })
    }
}

/// Checks that the folder of an output file exists, before anything is published. The file itself is created only when
/// there is something to write.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(folder.is_dir(), "cannot write {}: there is no folder {}", path.display(), folder.display());
    Ok(())
}

/// Shows the progress bar, if standard error is a terminal.
fn show(progress: &ProgressBar, bytes: u64) {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}").unwrap_or(ProgressStyle::default_bar());
    progress.set_style(style);
    progress.set_length(bytes);
    progress.reset();
    progress.set_draw_target(ProgressDrawTarget::stderr());
    progress.enable_steady_tick(Duration::from_millis(200));
}

/// Shows on a terminal what the replay waits for.
fn waiting() -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_message("published; waiting until the stream-processor has read it");
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

fn report(config: &ReplayConfig, summary: &Summary) -> anyhow::Result<()> {
    service::output::print(|out| out.write_all(summary.to_text(&config.rejects).as_bytes()))?;
    if let Some(path) = &config.summary {
        summary
            .write(path)
            .with_context(|| format!("cannot write the summary {}: choose another file with --summary", path.display()))
            .exit_code(Code::BadConfig)?;
    }
    Ok(())
}

fn conclude(config: &ReplayConfig, summary: &Summary, ending: Ending) -> anyhow::Result<()> {
    match ending {
        Ending::Rejects(error) => Err(error)
            .with_context(|| format!("cannot write the refused rows to {}: choose another file with --rejects", config.rejects.display()))
            .exit_code(Code::BadConfig),
        Ending::Cut(cut) => Err(anyhow::anyhow!(
            "{cut}: the rows before it are published, without a flush; repair the file and run the same command again, which \
             skips what FEED has"
        ))
        .exit_code(Code::BadConfig),
        Ending::Stopped => {
            tracing::info!("stopped before the end; run the same command again to continue, it skips the rows that FEED has");
            Ok(())
        }
        Ending::Done => judge(config, summary),
    }
}

/// Decides whether a complete replay is a failure: no row counts, or too many are refused.
fn judge(config: &ReplayConfig, summary: &Summary) -> anyhow::Result<()> {
    let (total, refused) = (summary.total(), summary.refused());
    let rejects = config.rejects.display();
    if total.row_counts.range.is_none() {
        let error = anyhow::anyhow!("no row can be used, of {} in all: see {rejects}", total.row_counts.rows);
        return Err(error).exit_code(Code::NotEnoughData);
    }
    if refused.is_too_many() && !config.allow_rejects {
        let error = anyhow::anyhow!(
            "{}, more than {REFUSED_MAX_PERCENT} %: see {rejects}; the other rows are published, and --allow-rejects makes that \
             a success",
            refused.in_words()
        );
        return Err(error).exit_code(Code::Failed);
    }
    Ok(())
}
