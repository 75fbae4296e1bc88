//! `scripts/bench`: see its `--help`.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use pipeline_tests::bench::learning::{self, fit};
use pipeline_tests::bench::report::{self, Figure};
use pipeline_tests::bench::takeover::{self, How, Takeovers};
use pipeline_tests::bench::{archive, idle, peers, replay};
use pipeline_tests::chaos::LEASE_TTL;
use pipeline_tests::interrupt;
use serde_json::{Map, Value};

/// Measures what ARCHITECTURE.md states
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// Only this part; all by default
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Also the part `peers`, which needs large downloads
    #[arg(long)]
    peers: bool,
    /// Minutes of heartbeats of the part `idle`
    #[arg(long, default_value = "10", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Takeovers of each kind
    #[arg(long, default_value = "50", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    takeovers: u32,
    /// Repetitions of what has no number of its own; the median counts
    #[arg(long, default_value = "5", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// Also write the figures as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fit the matrix in this folder, print what it took, and do nothing else: a process of its own for that
    #[arg(long, value_name = "DIR", hide = true)]
    fit: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A recording through the whole pipeline
    Replay,
    /// How long a partition stands still when its owner goes
    Takeover,
    /// What idle services cost
    Idle,
    /// What archiving costs
    Archive,
    /// What learning costs
    Learning,
    /// Spark, Flink and Polars at the same work
    Peers,
}

/// A lease that is short enough to wait for 50 times.
const LEASE_TTL_SHORT: Duration = Duration::from_millis(500);
/// Takeovers with the usual time to live, which take their time.
const SLOW_TAKEOVERS: usize = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match interrupt::or(run(args)).await {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            line(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
        None => ExitCode::from(130),
    }
}

/// Returns whether every figure keeps its promise.
async fn run(args: Args) -> anyhow::Result<bool> {
    if let Some(folder) = args.fit {
        line(&serde_json::to_string(&fit::fit(&folder)?)?);
        return Ok(true);
    }
    let runs = args.runs as usize;
    let mut measured: Vec<Figure> = Vec::new();
    if args.only.is_none_or(|part| part == Part::Replay) {
        let replays = replay::measure(runs, line).await?;
        measured.extend(replays.iter().flat_map(replay::Replays::figures));
    }
    if args.only.map_or(args.peers, |part| part == Part::Peers) {
        measured.extend(peers::measure(runs, line).await?);
    }
    line(&report::table(&measured));
    let mut figures = match report::json(&measured) {
        Value::Object(figures) => figures,
        _ => Map::new(),
    };
    let mut is_good = report::is_good(&measured);
    if args.only.is_none_or(|part| part == Part::Takeover) {
        let takeovers = takeovers(args.takeovers as usize).await?;
        is_good &= takeovers.iter().all(Takeovers::is_good);
        line(Takeovers::HEADING);
        takeovers.iter().for_each(|one| line(&one.row()));
        figures.insert("takeover".to_owned(), takeovers.iter().map(Takeovers::json).collect());
    }
    if args.only.is_none_or(|part| part == Part::Idle) {
        let idleness = idle::measure(args.minutes, line).await?;
        is_good &= idleness.is_good();
        idleness.rows().iter().for_each(|row| line(row));
        figures.insert("idle".to_owned(), idleness.json());
    }
    if args.only.is_none_or(|part| part == Part::Archive) {
        let archiving = tokio::task::spawn_blocking(|| archive::measure(line)).await??;
        is_good &= archiving.is_good();
        archiving.rows().iter().for_each(|row| line(row));
        figures.insert("archive".to_owned(), archiving.json());
    }
    if args.only.is_none_or(|part| part == Part::Learning) {
        let learning = tokio::task::spawn_blocking(|| learning::measure(line)).await??;
        is_good &= learning.is_good();
        learning.rows().iter().for_each(|row| line(row));
        figures.insert("learning".to_owned(), learning.json());
    }
    if let Some(path) = args.json {
        let text = format!("{:#}\n", Value::Object(figures));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(is_good)
}

async fn takeovers(count: usize) -> anyhow::Result<Vec<Takeovers>> {
    let kinds = [(How::Graceful, count), (How::Crash, count), (How::Silent, count)];
    let mut measured = takeover::measure(LEASE_TTL_SHORT, &kinds, line).await?;
    let slow = SLOW_TAKEOVERS.min(count);
    let kinds = [(How::Graceful, slow), (How::Crash, slow), (How::Silent, slow)];
    measured.extend(takeover::measure(LEASE_TTL, &kinds, line).await?);
    Ok(measured)
}

/// A reader that has seen enough (`| head`) is no error.
fn line(text: &str) {
    drop(writeln!(stdout(), "{text}"));
}
