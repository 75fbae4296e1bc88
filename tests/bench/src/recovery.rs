//! Recovery time of a step with a large state: from the start of its process, after the previous one was killed, to its
//! first stored result.

use std::time::{Duration, Instant};

use anyhow::Context;
use async_nats::Subscriber;
use bus::stream::{MARKET_STEP, STATS_STEP, Step};
use bus::topology::Limits;
use bus::{Connection, subject};
use futures::StreamExt;
use market::Instrument;
use pipeline_tests::programs::NEVER;
use pipeline_tests::ticks;

use super::effort::Effort;
use super::pipeline::Pipeline;
use super::report::Figure;
use super::workload::{TICKS, Workload};

const INSTRUMENTS: usize = 10_000;
/// Event time between two rounds: every window of STATS closes.
const ROUND_MS: i64 = 86_400_000;
/// 2024-01-01, after all replayed ticks.
const FIRST_MS: i64 = 1_704_067_200_000;

/// Times until the first and until all partitions had stored a result, and the usual time of a running step.
struct Recovery {
    first: Duration,
    all: Duration,
    usual: Duration,
}

/// Replays 10,000 instruments, then kills and restarts each step this often.
///
/// # Errors
/// A program fails, or a commit is missing.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let workload = Workload::side_by_side(dir.path(), effort.pick(TICKS, TICKS / 10), INSTRUMENTS)?;
    let mut pipeline = Pipeline::start(1).await?;
    pipeline.replay(&workload).await?;
    let touched = one_in_each_partition(&workload);
    let producer = pipeline.base.server.connect("producer").await;
    let mut figures = Vec::new();
    let mut event_ms = FIRST_MS;
    for (step, live) in [(MARKET_STEP, "live.price.>"), (STATS_STEP, "live.stats.5m.>")] {
        let mut recoveries = Vec::new();
        for _ in 0..effort.runs {
            // The window of a tick closes with the next round's tick: after two rounds the step has work.
            event_ms += ROUND_MS;
            publish_ticks(&producer, &touched, event_ms).await?;
            pipeline.until_committed(MARKET_STEP).await?;
            pipeline.until_committed(STATS_STEP).await?;
            event_ms += ROUND_MS;
            let usual = usual(&pipeline, live, &producer, &touched, event_ms).await?;
            pipeline.until_committed(STATS_STEP).await?;
            event_ms += ROUND_MS;
            let (first, all) = recover(&mut pipeline, step, live, &producer, &touched, event_ms).await?;
            recoveries.push(Recovery { first, all, usual });
        }
        say(&format!("{} recoveries of the {} with {INSTRUMENTS} instruments", effort.runs, step.service));
        figures.extend(figures_of(step, &recoveries));
    }
    Ok(figures)
}

fn figures_of(step: Step, recoveries: &[Recovery]) -> [Figure; 3] {
    let name = if step.service == MARKET_STEP.service { String::new() } else { format!("{}_", step.service) };
    let times = |value: fn(&Recovery) -> Duration| recoveries.iter().map(value).collect::<Vec<_>>();
    let first = Figure::seconds(format!("recovery.{name}first_commit_s"), &times(|recovery| recovery.first));
    let all = Figure::seconds(format!("recovery.{name}all_partitions_s"), &times(|recovery| recovery.all));
    let usual = Figure::seconds(format!("recovery.{name}usual_s"), &times(|recovery| recovery.usual));
    let all = all.against(&first);
    [first.against(&usual), all, usual]
}

/// The time until every partition has stored a result when all processes run.
async fn usual(
    pipeline: &Pipeline,
    live: &str,
    producer: &Connection,
    touched: &[Instrument],
    event_ms: i64,
) -> anyhow::Result<Duration> {
    let mut results = results(pipeline, live).await?;
    let start = Instant::now();
    publish_ticks(producer, touched, event_ms).await?;
    let (_, all) = until_all(&mut results, touched, start).await?;
    Ok(all)
}

async fn results(pipeline: &Pipeline, live: &str) -> anyhow::Result<Subscriber> {
    let results = pipeline.admin().client().subscribe(live.to_owned()).await?;
    pipeline.admin().client().flush().await?;
    Ok(results)
}

/// Kills a step, publishes input for every partition, and restarts it. Returns the times until the first and until all
/// partitions had stored a result.
async fn recover(
    pipeline: &mut Pipeline,
    step: Step,
    live: &str,
    producer: &Connection,
    touched: &[Instrument],
    event_ms: i64,
) -> anyhow::Result<(Duration, Duration)> {
    let mut killed = pipeline.services.remove(step.service).context("it runs")?;
    killed.process.kill();
    let mut results = results(pipeline, live).await?;
    publish_ticks(producer, touched, event_ms).await?;
    if step.service != MARKET_STEP.service {
        pipeline.until_committed(MARKET_STEP).await?;
    }
    let mut command = pipeline.program(step.service);
    let start = Instant::now();
    pipeline.add(step.service, command.arg("run"));
    let times = until_all(&mut results, touched, start).await?;
    pipeline.until_ready().await?;
    Ok(times)
}

/// Waits for a result of each of these instruments; returns the times of the first and of the last.
async fn until_all(
    results: &mut Subscriber,
    instruments: &[Instrument],
    start: Instant,
) -> anyhow::Result<(Duration, Duration)> {
    let mut left: Vec<&str> = instruments.iter().map(Instrument::coin).collect();
    let mut first = None;
    while !left.is_empty() {
        let coin = next_coin(results).await?;
        first.get_or_insert_with(|| start.elapsed());
        left.retain(|wanted| *wanted != coin);
    }
    Ok((first.context("there is an instrument")?, start.elapsed()))
}

/// The coin of the next result.
async fn next_coin(results: &mut Subscriber) -> anyhow::Result<String> {
    let next = tokio::time::timeout(NEVER, results.next()).await.context("no result came")?;
    let message = next.context("the subscription has ended")?;
    Ok(message.subject.rsplit('.').nth(1).unwrap_or_default().to_owned())
}

async fn publish_ticks(producer: &Connection, instruments: &[Instrument], event_ms: i64) -> Result<(), bus::Error> {
    let messages: Vec<_> = instruments.iter().map(|instrument| ticks::tick(instrument, event_ms)).collect();
    ticks::publish_each(producer, &messages).await
}

/// An instrument of the workload in each partition.
fn one_in_each_partition(workload: &Workload) -> Vec<Instrument> {
    let partitions = Limits::default().partitions;
    let of = |wanted: u32| {
        let mut instruments = workload.recordings.iter().map(|(instrument, _)| instrument);
        instruments.find(|found| subject::partition(found.coin(), found.quote(), partitions) == wanted).cloned()
    };
    let found: Vec<_> = (0..partitions).filter_map(of).collect();
    assert_eq!(found.len(), partitions as usize, "a partition without an instrument");
    found
}
