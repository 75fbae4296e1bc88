//! Other software with the same work on the same machine: Spark, which the original program used, Flink, and Polars in
//! one batch as a lower bound.

mod tools;
mod windows;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pipeline_tests::process::pss_bytes;
use serde::Deserialize;

use self::tools::{Tool, outcome_of};
use self::windows::Windows;
use super::learning;
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::workload::{TICKS, Workload};

/// Promises: minimum ratios of their times to ours.
const SPARK_RATIO_MIN: f64 = 15.0;
const SPARK_ONE_BATCH_RATIO_MIN: f64 = 1.5;
const SPARK_LEARNING_RATIO_MIN: f64 = 100.0;
const FLINK_RATIO_MIN: f64 = 4.5;
/// Ticks of a file for the others, and of a micro-batch of Spark: as many as one transaction stores here.
const FILE_TICKS: usize = 32_000;
/// The recording to train on, for both sides.
const HOURS: &str = "hours.csv";
/// Ticks whose latency through Spark is measured, and their rate per second.
const LATENCY_TICKS: usize = 3_000;
const LATENCY_RATE: usize = 100;

/// Measurements of one process of another program.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Measured {
    /// The first run, like ours: by processes that are ready but have not worked yet.
    seconds: f64,
    /// A second run in the same process, with compiled code.
    again_seconds: f64,
    /// A run with all files in one micro-batch: nothing is stored before the end.
    one_batch_seconds: f64,
    /// Memory of the program and its JVM after the first run.
    memory_bytes: f64,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    /// Seconds from the creation of a tick's file to its micro-batch.
    latencies: Vec<f64>,
}

/// Measures each installed program this often.
///
/// # Errors
/// A program fails, or its windows differ from ours.
pub async fn measure(runs: usize, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let workload = Workload::one(dir.path(), TICKS)?;
    write_ticks(&workload, dir.path())?;
    learning::write_hours(&dir.path().join(HOURS))?;

    let Ours { seconds: ours, memory, windows: reference } = replay_ours(&workload, runs).await?;
    say(&format!("{runs} replays of {TICKS} ticks (candlewire)"));
    let mut figures = vec![ours.clone(), memory.clone()];
    figures.extend(polars(dir.path(), runs, &reference, &ours).await?);
    say(&format!("{runs} batches of {TICKS} ticks (Polars)"));
    if Tool::Flink.is_installed() {
        figures.extend(flink(dir.path(), runs, &reference, &ours).await?);
        say(&format!("{runs} replays of {TICKS} ticks (Flink)"));
    } else {
        say("Flink is not installed (see scripts/setup --peers): no figure for it");
    }
    figures.extend(spark(dir.path(), runs, &reference, [&ours, &memory]).await?);
    say(&format!("{runs} replays of {TICKS} ticks (Spark)"));
    figures.extend(learn(dir.path(), runs).await?);
    say(&format!("{runs} trainings on {} rows (Spark)", learning::CALENDAR_ROWS));
    figures.extend(latency(dir.path(), runs).await?);
    say(&format!("{runs} times {LATENCY_TICKS} ticks at {LATENCY_RATE} a second (Spark)"));
    Ok(figures)
}

/// Our replays, and the windows of the last one.
struct Ours {
    seconds: Figure,
    /// Memory of nats-server and both steps, right after a replay.
    memory: Figure,
    windows: Windows,
}

async fn replay_ours(workload: &Workload, runs: usize) -> anyhow::Result<Ours> {
    let (mut seconds, mut megabytes, mut windows) = (Vec::new(), Vec::new(), Windows::default());
    for _ in 0..runs {
        let pipeline = Pipeline::start(1).await?;
        seconds.push(pipeline.replay(workload).await?.stats.as_secs_f64());
        let memory = pipeline.processes().map(|(_, id)| pss_bytes(id)).sum::<anyhow::Result<u64>>()?;
        megabytes.push(memory as f64 / 1e6);
        windows = Windows::ours(pipeline.admin()).await?;
    }
    let seconds = Figure::new("peers.candlewire.replay_s", "s", seconds);
    Ok(Ours { seconds, memory: Figure::new("peers.candlewire.memory_mb", "MB", megabytes), windows })
}

/// Replays in a new process each time, and compares the windows each time.
async fn replay(tool: Tool, program: &str, dir: &Path, runs: usize, ours: &Windows) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::with_capacity(runs);
    for _ in 0..runs {
        measured.push(outcome_of(tool, program, dir, &[]).await?);
        ours.compare(&Windows::read(dir)?).with_context(|| format!("{tool:?}"))?;
    }
    Ok(measured)
}

async fn polars(dir: &Path, runs: usize, reference: &Windows, ours: &Figure) -> anyhow::Result<Vec<Figure>> {
    let replays = replay(Tool::Polars, "polars_replay.py", dir, runs, reference).await?;
    Ok(vec![figure("peers.polars.replay_s", "s", &replays, |one| one.seconds).against(ours)])
}

async fn flink(dir: &Path, runs: usize, reference: &Windows, ours: &Figure) -> anyhow::Result<Vec<Figure>> {
    let replays = replay(Tool::Flink, "flink_replay.py", dir, runs, reference).await?;
    let first = figure("peers.flink.replay_s", "s", &replays, |one| one.seconds);
    let again = figure("peers.flink.again_s", "s", &replays, |one| one.again_seconds);
    let ratio = first.in_parts_of(ours, "peers.flink.ratio", "×").promise(Promise::AtLeast(FLINK_RATIO_MIN));
    Ok(vec![first.against(ours), again.against(ours), ratio])
}

/// Relative to our time and our memory.
async fn spark(
    dir: &Path,
    runs: usize,
    reference: &Windows,
    [ours, our_memory]: [&Figure; 2],
) -> anyhow::Result<Vec<Figure>> {
    let replays = replay(Tool::Spark, "spark_replay.py", dir, runs, reference).await?;
    let first = figure("peers.spark.replay_s", "s", &replays, |one| one.seconds);
    let again = figure("peers.spark.again_s", "s", &replays, |one| one.again_seconds);
    let one_batch = figure("peers.spark.one_batch_s", "s", &replays, |one| one.one_batch_seconds);
    let memory = figure("peers.spark.memory_mb", "MB", &replays, |one| one.memory_bytes / 1e6);
    let ratio = first.in_parts_of(ours, "peers.spark.ratio", "×").promise(Promise::AtLeast(SPARK_RATIO_MIN));
    let one_batch_ratio = one_batch.in_parts_of(ours, "peers.spark.one_batch_ratio", "×");
    let one_batch_ratio = one_batch_ratio.promise(Promise::AtLeast(SPARK_ONE_BATCH_RATIO_MIN));
    let times = [first.against(ours), again.against(ours), one_batch.against(ours)];
    Ok(times.into_iter().chain([ratio, one_batch_ratio, memory.against(our_memory)]).collect())
}

/// The original's recipe: the whole process on our side, without the session start on theirs.
async fn learn(dir: &Path, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut own, mut theirs): (Vec<Duration>, Vec<Measured>) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let start = Instant::now();
        learning::train(dir, &dir.join(HOURS))?;
        own.push(start.elapsed());
        theirs.push(outcome_of(Tool::Spark, "spark_learning.py", dir, &[]).await?);
    }
    let own = Figure::seconds("peers.candlewire.learning_s", &own);
    let theirs = figure("peers.spark.learning_s", "s", &theirs, |one| one.seconds).against(&own);
    let ratio = theirs.in_parts_of(&own, "peers.spark.learning_ratio", "×");
    Ok(vec![own, theirs, ratio.promise(Promise::AtLeast(SPARK_LEARNING_RATIO_MIN))])
}

async fn latency(dir: &Path, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let paced = [LATENCY_TICKS, LATENCY_RATE];
    let (mut medians, mut slowest) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let Latencies { mut latencies } = outcome_of(Tool::Spark, "spark_latency.py", dir, &paced).await?;
        ensure!(latencies.len() == LATENCY_TICKS, "{} ticks came out of Spark", latencies.len());
        latencies.sort_unstable_by(f64::total_cmp);
        medians.push(latencies[latencies.len() / 2] * 1e3);
        slowest.push(latencies[latencies.len() - 1] * 1e3);
    }
    let figure = |what: &str, ms: Vec<f64>| Figure::new(format!("peers.spark.latency_{what}_ms"), "ms", ms);
    Ok(vec![figure("p50", medians), figure("max", slowest)])
}

fn figure(name: &str, unit: &'static str, measured: &[Measured], value: fn(&Measured) -> f64) -> Figure {
    Figure::new(name, unit, measured.iter().map(value).collect())
}

/// Writes the rows without heading, in order: into one file, and split into many, as streams of files are.
fn write_ticks(workload: &Workload, dir: &Path) -> anyhow::Result<()> {
    let (_, recording) = workload.recordings.first().context("no recording")?;
    let mut rows = BufReader::new(File::open(recording)?).lines().skip(1).peekable();
    let mut all = BufWriter::new(File::create(dir.join("ticks.csv"))?);
    let folder = dir.join("ticks");
    std::fs::create_dir(&folder)?;
    let mut number = 0;
    while rows.peek().is_some() {
        let mut part = BufWriter::new(File::create(folder.join(format!("{number:04}.csv")))?);
        for row in rows.by_ref().take(FILE_TICKS) {
            let row = row?;
            writeln!(part, "{row}")?;
            writeln!(all, "{row}")?;
        }
        part.flush()?;
        number += 1;
    }
    Ok(all.flush()?)
}
