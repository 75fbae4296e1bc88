//! How long a step takes that starts on a large state: from the start of its process to its first commit, after the process
//! before it was killed.

use std::time::{Duration, Instant};

use anyhow::Context;
use async_nats::Subscriber;
use bus::topology::{Limits, MARKET_STEP, STATS_STEP, Step};
use bus::{Connection, subject};
use futures::StreamExt;
use market::Instrument;

use super::effort::Effort;
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::workload::{TICKS, Workload};
use crate::programs::NEVER;
use crate::ticks;

const INSTRUMENTS: usize = 10_000;
/// The promise, in seconds.
const FIRST_COMMIT_MAX: f64 = 2.0;
/// From one tick of an instrument to the next one that a round publishes: every window of the statistics closes.
const ROUND_MS: i64 = 86_400_000;
/// 2024-01-01, after everything that was replayed.
const FIRST_MS: i64 = 1_704_067_200_000;

/// When the first partition committed, and when all had.
struct Recovery {
    first: Duration,
    all: Duration,
}

/// Replays 10,000 instruments, then kills and starts each step so often.
///
/// # Errors
/// A program fails, or a commit never comes.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let workload = Workload::side_by_side(dir.path(), effort.pick(TICKS, TICKS / 10), INSTRUMENTS)?;
    let mut pipeline = Pipeline::start(1).await?;
    pipeline.replay(&workload).await?;
    let touched = one_in_each_partition(&workload);
    let producer = pipeline.world.server.connect("producer").await;
    let mut figures = Vec::new();
    let mut event_ms = FIRST_MS;
    for (step, live) in [(MARKET_STEP, "live.price.>"), (STATS_STEP, "live.stats.5m.>")] {
        let mut recoveries = Vec::new();
        for _ in 0..effort.runs {
            // The window of this round's tick closes with the next round's: two rounds, and the step finds work.
            event_ms += ROUND_MS;
            publish_ticks(&producer, &touched, event_ms).await?;
            pipeline.until_committed(MARKET_STEP).await?;
            pipeline.until_committed(STATS_STEP).await?;
            event_ms += ROUND_MS;
            recoveries.push(recover(&mut pipeline, step, live, &producer, &touched, event_ms).await?);
        }
        say(&format!("{} recoveries of the {} with {INSTRUMENTS} instruments", effort.runs, step.service));
        figures.extend(figures_of(step, &recoveries));
    }
    Ok(figures)
}

fn figures_of(step: Step, recoveries: &[Recovery]) -> [Figure; 2] {
    let name = if step.service == MARKET_STEP.service { String::new() } else { format!("{}_", step.service) };
    let times = |value: fn(&Recovery) -> Duration| recoveries.iter().map(value).collect::<Vec<_>>();
    let first = Figure::seconds(format!("recovery.{name}first_commit_s"), &times(|recovery| recovery.first));
    let all = Figure::seconds(format!("recovery.{name}all_partitions_s"), &times(|recovery| recovery.all));
    let all = all.against(&first);
    [first.promise(Promise::AtMost(FIRST_COMMIT_MAX)), all]
}

/// Kills a step, gives every partition of it something to do, and starts it again.
async fn recover(
    pipeline: &mut Pipeline,
    step: Step,
    live: &str,
    producer: &Connection,
    touched: &[Instrument],
    event_ms: i64,
) -> anyhow::Result<Recovery> {
    let mut killed = pipeline.services.remove(step.service).context("it runs")?;
    killed.process.kill();
    let mut commits = pipeline.admin().client().subscribe(live.to_owned()).await?;
    pipeline.admin().client().flush().await?;
    publish_ticks(producer, touched, event_ms).await?;
    if step.service != MARKET_STEP.service {
        pipeline.until_committed(MARKET_STEP).await?;
    }
    let mut command = pipeline.program(step.service);
    let start = Instant::now();
    pipeline.add(step.service, command.arg("run"));
    let mut left: Vec<&str> = touched.iter().map(Instrument::coin).collect();
    let mut first = None;
    while !left.is_empty() {
        let coin = next_coin(&mut commits).await?;
        first.get_or_insert_with(|| start.elapsed());
        left.retain(|wanted| *wanted != coin);
    }
    let all = start.elapsed();
    pipeline.until_ready().await?;
    Ok(Recovery { first: first.context("something was waited for")?, all })
}

/// The coin of the next committed result.
async fn next_coin(commits: &mut Subscriber) -> anyhow::Result<String> {
    let next = tokio::time::timeout(NEVER, commits.next()).await.context("no commit came")?;
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
