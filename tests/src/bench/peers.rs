//! Others at the same work on the same machine: Spark, which the original program was built on, Flink, and Polars in one
//! batch as the floor.

mod tools;
mod windows;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use serde::Deserialize;

use self::tools::{Tool, outcome_of};
use self::windows::Windows;
use super::learning;
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::workload::{TICKS, Workload};

/// How many times as long as ours the others take for a replay, at least.
const SPARK_RATIO_MIN: f64 = 10.0;
const FLINK_RATIO_MIN: f64 = 6.0;
/// Ticks of a file that the others read, and of a micro-batch of Spark: as many as we store in one transaction.
const FILE_TICKS: usize = 32_000;
/// Ticks whose way through Spark is measured, and how many come in a second.
const LATENCY_TICKS: usize = 3_000;
const LATENCY_RATE: usize = 100;

/// A replay by one of the others.
#[derive(Debug, Deserialize)]
struct Replays {
    seconds: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct SparkReplays {
    seconds: Vec<f64>,
    /// With all files in one micro-batch.
    one_batch_seconds: Vec<f64>,
    /// The Python program and its JVM, after one replay.
    memory_bytes: f64,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    /// Seconds from a tick's file to its micro-batch.
    latencies: Vec<f64>,
}

/// Lets each of them that is installed work so often.
///
/// # Errors
/// One fails, or makes other windows than we do.
pub async fn measure(runs: usize, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let workload = Workload::one(dir.path(), TICKS)?;
    split(&workload, &dir.path().join("ticks"))?;
    learning::write_hours(&dir.path().join("hours.csv"))?;

    let (seconds, reference) = replay_ours(&workload, runs).await?;
    let ours = Figure::new("peers.candlewire.replay_s", "s", seconds);
    say(&format!("{runs} replays of {TICKS} ticks (candlewire)"));
    let mut figures = vec![ours.clone()];
    figures.extend(polars(dir.path(), runs, &reference, &ours).await?);
    say(&format!("{runs} batches of {TICKS} ticks (Polars)"));
    figures.extend(spark(dir.path(), runs, &reference, &ours, say).await?);
    if Tool::Flink.is_installed() {
        figures.extend(flink(dir.path(), runs, &reference, &ours).await?);
        say(&format!("{runs} replays of {TICKS} ticks (Flink)"));
    } else {
        say("Flink is not installed here (see scripts/setup --peers): no figure of it");
    }
    Ok(figures)
}

/// Returns seconds of each replay, and the windows that the last one made.
async fn replay_ours(workload: &Workload, runs: usize) -> anyhow::Result<(Vec<f64>, Windows)> {
    let (mut seconds, mut windows) = (Vec::with_capacity(runs), Windows::default());
    for _ in 0..runs {
        let pipeline = Pipeline::start(1).await?;
        seconds.push(pipeline.replay(workload).await?.stats.as_secs_f64());
        windows = Windows::ours(pipeline.admin()).await?;
    }
    Ok((seconds, windows))
}

async fn polars(dir: &Path, runs: usize, reference: &Windows, ours: &Figure) -> anyhow::Result<Vec<Figure>> {
    let replays: Replays = outcome_of(Tool::Polars, "polars_replay.py", dir, &[runs]).await?;
    reference.compare(&Windows::read(dir)?).context("Polars")?;
    Ok(vec![Figure::new("peers.polars.replay_s", "s", replays.seconds).against(ours)])
}

async fn flink(dir: &Path, runs: usize, reference: &Windows, ours: &Figure) -> anyhow::Result<Vec<Figure>> {
    let replays: Replays = outcome_of(Tool::Flink, "flink_replay.py", dir, &[runs]).await?;
    reference.compare(&Windows::read(dir)?).context("Flink")?;
    let replay = Figure::new("peers.flink.replay_s", "s", replays.seconds);
    let ratio = times_ours("peers.flink.ratio", &replay, ours).promise(Promise::AtLeast(FLINK_RATIO_MIN));
    Ok(vec![replay.against(ours), ratio])
}

async fn spark(
    dir: &Path,
    runs: usize,
    reference: &Windows,
    ours: &Figure,
    say: fn(&str),
) -> anyhow::Result<Vec<Figure>> {
    let replays: SparkReplays = outcome_of(Tool::Spark, "spark_replay.py", dir, &[runs]).await?;
    reference.compare(&Windows::read(dir)?).context("Spark")?;
    say(&format!("{runs} replays of {TICKS} ticks (Spark)"));
    let replay = Figure::new("peers.spark.replay_s", "s", replays.seconds);
    let ratio = times_ours("peers.spark.ratio", &replay, ours).promise(Promise::AtLeast(SPARK_RATIO_MIN));
    let one_batch = Figure::new("peers.spark.one_batch_s", "s", replays.one_batch_seconds).against(ours);
    let memory = Figure::new("peers.spark.memory_mb", "MB", vec![replays.memory_bytes / 1e6]);

    let fits: Replays = outcome_of(Tool::Spark, "spark_learning.py", dir, &[runs]).await?;
    let own_fits = learn_ours(dir, runs)?;
    let learning = Figure::new("peers.spark.learning_s", "s", fits.seconds).against(&own_fits);
    say(&format!("{runs} trainings on {} rows (Spark)", learning::CALENDAR_ROWS));

    let paced = [LATENCY_TICKS, LATENCY_RATE];
    let Latencies { mut latencies } = outcome_of(Tool::Spark, "spark_latency.py", dir, &paced).await?;
    latencies.sort_unstable_by(f64::total_cmp);
    let latency =
        |what: &str, seconds: f64| Figure::new(format!("peers.spark.latency_{what}_ms"), "ms", vec![seconds * 1e3]);
    let p50 = latency("p50", latencies[latencies.len() / 2]);
    let max = latency("max", latencies[latencies.len() - 1]);
    say(&format!("{LATENCY_TICKS} ticks at {LATENCY_RATE} a second (Spark)"));
    Ok(vec![replay.against(ours), ratio, one_batch, memory, own_fits, learning, p50, max])
}

fn times_ours(name: &str, theirs: &Figure, ours: &Figure) -> Figure {
    Figure::new(name, "×", vec![theirs.median() / ours.median()])
}

/// The same recipe on the same rows, the whole process each time.
fn learn_ours(dir: &Path, runs: usize) -> anyhow::Result<Figure> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        learning::train(dir, &dir.join("hours.csv"))?;
        times.push(start.elapsed());
    }
    Ok(Figure::seconds("peers.candlewire.learning_s", &times))
}

/// Deals the rows to files without a heading, in order, as streams of files come.
fn split(workload: &Workload, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(to)?;
    let (_, recording) = workload.recordings.first().context("no recording")?;
    let mut rows = BufReader::new(File::open(recording)?).lines().skip(1).peekable();
    let mut number = 0;
    while rows.peek().is_some() {
        let mut file = BufWriter::new(File::create(to.join(format!("{number:04}.csv")))?);
        for row in rows.by_ref().take(FILE_TICKS) {
            writeln!(file, "{}", row?)?;
        }
        file.flush()?;
        number += 1;
    }
    Ok(())
}
