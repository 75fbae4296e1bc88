//! Cost of an audit of a pipeline that was fed live: one tick per message, from a thousand instruments.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bus::Stream;
use bus::publish::publish_all;
use bus::stream::{MARKET_STEP, STATS_STEP};
use bus::topology::stream_info;
use market::Instrument;
use pipeline_tests::process::{has_ended, peak_bytes};
use pipeline_tests::programs::Running;
use pipeline_tests::ticks;

use super::effort::Effort;
use super::pipeline::Pipeline;
use super::report::Figure;

const INSTRUMENTS: usize = 1_000;
/// Rounds of one tick per instrument.
const ROUNDS: usize = 1_000;
const ROUNDS_QUICK: usize = 21;
/// Event time between two ticks of an instrument: four ticks make a candle.
const STEP_MS: i64 = 15_000;
/// 2023-01-01.
const FIRST_MS: i64 = 1_672_531_200_000;
/// Interval of memory samples.
const LOOK: Duration = Duration::from_millis(5);

/// Feeds both steps, then audits this often.
///
/// # Errors
/// A program fails, or the audit finds a difference.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let pipeline = Pipeline::start(1).await?;
    feed(&pipeline, effort.pick(ROUNDS, ROUNDS_QUICK)).await?;
    let mut messages = 0;
    for stream in [Stream::Feed, Stream::Market, Stream::Stats] {
        messages += stream_info(pipeline.admin(), stream.name()).await?.state.messages;
    }
    let (mut times, mut peaks) = (Vec::new(), Vec::new());
    for run in 1..=effort.runs {
        let (time, peak) = audit(&pipeline).await?;
        times.push(time);
        peaks.push(peak as f64 / 1e6);
        say(&format!("audit: run {run} of {}", effort.runs));
    }
    Ok(vec![
        Figure::seconds("audit.seconds", &times),
        Figure::new("audit.peak_mb", "MB", peaks),
        Figure::new("audit.messages", "", vec![messages as f64]),
    ])
}

/// Publishes this many rounds, and returns when everything is committed.
async fn feed(pipeline: &Pipeline, rounds: usize) -> anyhow::Result<()> {
    let producer = pipeline.base.server.connect("producer").await;
    let names = (0..INSTRUMENTS).map(|number| Instrument::new(&format!("coin-{number}"), "usd"));
    let instruments = names.collect::<Result<Vec<_>, _>>()?;
    for round in 0..rounds {
        let event_ms = FIRST_MS + round as i64 * STEP_MS;
        let messages: Vec<_> = instruments.iter().map(|instrument| ticks::tick(instrument, event_ms)).collect();
        publish_all(&producer, &messages).await?;
    }
    pipeline.until_committed(MARKET_STEP).await?;
    pipeline.until_committed(STATS_STEP).await
}

/// Duration and peak memory of an audit.
async fn audit(pipeline: &Pipeline) -> anyhow::Result<(Duration, u64)> {
    let start = Instant::now();
    let mut audit = Running::start(pipeline.program("aggregator").arg("audit").stdout(Stdio::null()));
    let mut peak = 0;
    while !has_ended(audit.id())? {
        // It may end between the two checks.
        peak = peak_bytes(audit.id()).unwrap_or(peak);
        tokio::time::sleep(LOOK).await;
    }
    let time = start.elapsed();
    ensure!(audit.wait() == Some(0), "the audit has failed, or found something");
    Ok((time, peak))
}
