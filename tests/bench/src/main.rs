//! `scripts/bench`: see its `--help`.

use std::io::{Write, stdout};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bench::effort::Effort;
use bench::learning::{self, fit};
use bench::machine::{self, Machine};
use bench::report::{self, Figure};
use bench::takeover::{self, How};
use bench::{
    archive, attack, audit, footprint, growth, idle, latency, markdown, overload, page_speed, peers, picture, recovery,
    replay,
};
use clap::{Parser, ValueEnum};
use futures::FutureExt;
use pipeline_tests::interrupt;
use pipeline_tests::test_pipeline::LEASE_TTL;

/// Measures the pipeline: what docs/benchmarks.md states
#[derive(Debug, Clone, Parser)]
#[command(name = "bench")]
struct Args {
    /// Only this part; all by default
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Also the part `peers`, which needs large downloads
    #[arg(long)]
    peers: bool,
    /// Every part once or nearly, with less to do
    #[arg(long)]
    quick: bool,
    /// Minutes of heartbeats of the part `idle`: 10, or a third of one with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: Option<u64>,
    /// Takeovers of each kind: 50, or 5 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    takeovers: Option<u32>,
    /// Repetitions of what has no number of its own, the median counts: 5, or 1 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: Option<u32>,
    /// Also write the figures as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw them into this PNG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Also write them into this page, a section for each part: docs/benchmarks.md unless another is named
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "docs/benchmarks.md")]
    markdown: Option<PathBuf>,
    /// Fit the matrix in this folder, print what it took, and do nothing else: a process of its own for that
    #[arg(long, value_name = "DIR", hide = true)]
    fit: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A recording through the whole pipeline, and what nats-server alone takes for its bytes
    #[value(alias = "raw")]
    Replay,
    /// How long a live tick takes
    Latency,
    /// Live prices while strangers without a password attack
    Attack,
    /// More live messages than the machine can take
    Overload,
    /// Growth with instruments, instances and ticks
    Growth,
    /// Memory, sizes, and how long each service takes to get ready
    Footprint,
    /// How long a step takes that starts on a large state
    Recovery,
    /// The time without an owner when the owner of a partition goes
    Takeover,
    /// The cost of idle services
    Idle,
    /// The cost of archiving
    Archive,
    /// The cost of learning
    Learning,
    /// The cost of an audit
    Audit,
    /// The page in a browser, and its live events under 500 readers
    Page,
    /// Spark, Flink and Polars at the same work
    Peers,
}

/// A lease that is short enough to wait for 50 times.
const LEASE_TTL_SHORT: Duration = Duration::from_millis(500);
/// Takeovers with the usual time to live, which take their time.
const SLOW_TAKEOVERS: usize = 5;

/// Figures of one part that say more beside one of another.
const ACROSS_PARTS: [(&str, &str); 5] = [
    ("footprint.replay_s", "replay.w1.seconds"),
    ("growth.instruments.1.ticks_per_s", "replay.w1.ticks_per_s"),
    ("peers.candlewire.replay_s", "replay.w1.seconds"),
    ("peers.spark.latency_p50_ms", "latency.100.price_p50_ms"),
    ("peers.spark.latency_max_ms", "latency.100.price_max_ms"),
];

/// The figures so far. They are kept when a later part fails.
type Found = Arc<Mutex<Vec<Figure>>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            line(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures and shows the figures, also those that were found before a failure or an interrupt.
async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = args.fit {
        line(&serde_json::to_string(&fit::fit(&folder)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let machine = machine::describe()?;
    line(&machine.to_string());
    let found = Found::default();
    let work = interrupt::or(measure(args.clone(), Arc::clone(&found)));
    // The panic message is printed already.
    let ended = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Some(Err(anyhow!("a part panicked"))));
    let mut figures = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    report::compare(&mut figures, &ACROSS_PARTS);
    let missing = match &ended {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(format!("{error:#}")),
        None => Some("interrupted".to_owned()),
    };
    // Nothing takes the place of an earlier result.
    let shown = if figures.is_empty() { Ok(()) } else { show(&args, &machine, &figures, missing.as_deref()) };
    match ended {
        Some(measured) => measured.and(shown)?,
        None => return Ok(ExitCode::from(130)),
    }
    Ok(if report::is_good(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the figures, and writes and draws them as asked; `missing` is why they are not all that were asked for.
fn show(args: &Args, machine: &Machine, figures: &[Figure], missing: Option<&str>) -> anyhow::Result<()> {
    line(&report::table(figures));
    if let Some(path) = &args.json {
        let mut found = report::json(figures);
        found["machine"] = machine.json();
        if let Some(why) = missing {
            found["failed"] = why.into();
        }
        std::fs::write(path, format!("{found:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = args.markdown.as_ref().filter(|_| missing.is_none()) {
        markdown::write(figures, machine, path)?;
    }
    if let Some(path) = &args.plot {
        let note = missing.map(|_| "; incomplete").unwrap_or_default();
        picture::draw(figures, &format!("{machine}{note}"), path)?;
    }
    Ok(())
}

async fn measure(args: Args, found: Found) -> anyhow::Result<()> {
    let add = |figures: Vec<Figure>| found.lock().unwrap_or_else(PoisonError::into_inner).extend(figures);
    let is_asked = |part| args.only.is_none_or(|only| only == part);
    let mut effort = Effort { runs: 0, is_quick: args.quick };
    effort.runs = args.runs.map_or(effort.pick(5, 1), |runs| runs as usize);
    if is_asked(Part::Replay) {
        add(replay::measure(effort, line).await?);
    }
    if is_asked(Part::Latency) {
        add(latency::measure(effort, line).await?);
    }
    if is_asked(Part::Attack) {
        add(attack::measure(effort, line).await?);
    }
    if is_asked(Part::Overload) {
        add(overload::measure(effort, line).await?);
    }
    if is_asked(Part::Growth) {
        add(growth::measure(effort, line).await?);
    }
    if is_asked(Part::Footprint) {
        add(footprint::measure(effort, line).await?);
    }
    if is_asked(Part::Recovery) {
        add(recovery::measure(effort, line).await?);
    }
    if is_asked(Part::Takeover) {
        add(takeovers(args.takeovers.map_or(effort.pick(50, 5), |count| count as usize)).await?);
    }
    if is_asked(Part::Idle) {
        add(idle::measure(args.minutes, effort, line).await?);
    }
    if is_asked(Part::Archive) {
        add(tokio::task::spawn_blocking(move || archive::measure(effort, line)).await??);
    }
    if is_asked(Part::Learning) {
        add(tokio::task::spawn_blocking(move || learning::measure(effort, line)).await??);
    }
    if is_asked(Part::Audit) {
        add(audit::measure(effort, line).await?);
    }
    if is_asked(Part::Page) {
        add(page_speed::measure(effort, line).await?);
    }
    if args.peers || args.only == Some(Part::Peers) {
        add(peers::measure(effort.runs, line).await?);
    }
    Ok(())
}

/// With a short lease as often as asked for, and a few times with the usual one.
async fn takeovers(count: usize) -> anyhow::Result<Vec<Figure>> {
    let kinds = |count| [(How::Graceful, count), (How::Crash, count), (How::Silent, count)];
    let mut measured = takeover::measure("takeover", LEASE_TTL_SHORT, &kinds(count), line).await?;
    let slow = kinds(SLOW_TAKEOVERS.min(count));
    measured.extend(takeover::measure("takeover.usual_lease", LEASE_TTL, &slow, line).await?);
    Ok(measured)
}

/// A reader that has seen enough (`| head`) is no error.
fn line(text: &str) {
    drop(writeln!(stdout(), "{text}"));
}
