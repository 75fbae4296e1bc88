//! Duration of a takeover: from the signal to a partition's owner to the first stored result of the other instance.
//!
//! Two stream-processors share the partitions while ticks arrive steadily, with one more for each partition of the
//! victim at the instant of the signal. Results republished on `live.price.>` are stored, and their batch id shows
//! their owner.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_nats::Subscriber;
use async_nats::header::NATS_BATCH_ID;
use bus::topology::Limits;
use bus::{Connection, subject};
use futures::StreamExt;
use market::Instrument;
use pipeline_tests::instance::{Condition, Instance};
use pipeline_tests::test_pipeline::{LEASE_TTL_VARIABLE, TestPipeline};
use pipeline_tests::ticks;

use super::report::Figure;
use super::times::Times;

const PARTITIONS: u32 = 8;
/// Pause between two ticks of an instrument.
const TICK: Duration = Duration::from_millis(40);
/// How long both must have been committing before one of them is hit.
const STEADY: Duration = Duration::from_millis(300);
/// Longest wait beyond the lease time to live.
const NEVER: Duration = Duration::from_secs(30);

/// The way in which the owner goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// SIGTERM: it releases its partitions.
    Graceful,
    /// kill -9: instances on the same machine see that its process is gone.
    Crash,
    /// SIGSTOP: it falls silent, like a machine without power or network.
    Silent,
}

impl How {
    /// Name in figures and texts.
    fn name(self) -> &'static str {
        match self {
            Self::Graceful => "sigterm",
            Self::Crash => "kill",
            Self::Silent => "silence",
        }
    }
}

/// Measures takeovers of each kind this often, with one lease time to live. `group` prefixes the names of the figures.
///
/// # Errors
/// A process ended by itself, or a takeover never happened.
pub async fn measure(
    group: &str,
    lease_ttl: Duration,
    kinds: &[(How, usize)],
    say: fn(&str),
) -> anyhow::Result<Vec<Figure>> {
    let mut rig = Rig::new(lease_ttl).await?;
    let mut measured: Vec<Figure> = Vec::new();
    for &(how, count) in kinds {
        let mut times = Vec::new();
        for round in 0..count {
            rig.settle().await?;
            times.push(rig.take_over(round % 2, how).await?);
        }
        say(&format!("{count} takeovers after {} with a lease of {:.1} s", how.name(), lease_ttl.as_secs_f64()));
        let name = format!("{group}.{}", how.name());
        let found = figures(&name, &times.into_iter().collect(), measured.first());
        measured.extend(found);
    }
    Ok(measured)
}

/// The median is relative to that of the graceful kind, which comes first.
fn figures(name: &str, times: &Times, gentlest: Option<&Figure>) -> [Figure; 3] {
    let ms = |what: &str, time: Duration| Figure::ms(format!("{name}.{what}_ms"), &[time]);
    let p50 = ms("p50", times.of_thousand(500));
    let p99 = ms("p99", times.of_thousand(990)).against(&p50);
    let max = ms("max", times.max()).against(&p50);
    [gentlest.map_or(p50.clone(), |gentlest| p50.against(gentlest)), p99, max]
}

/// Two instances, a source of ticks, and a subscriber that observes the owners.
struct Rig {
    base: TestPipeline,
    lease_ttl: Duration,
    instances: Vec<Instance>,
    producer: Connection,
    instruments: Vec<Instrument>,
    live: Subscriber,
    /// By partition: the batch id prefix of the newest commit.
    owners: BTreeMap<u32, String>,
    /// Event time of the next ticks, in milliseconds.
    event_ms: i64,
    ticked: Instant,
}

impl Rig {
    async fn new(lease_ttl: Duration) -> anyhow::Result<Self> {
        let base = TestPipeline::with_limits(&Limits { partitions: PARTITIONS, ..Limits::default() }).await;
        let producer = base.server.connect("producer").await;
        let admin = base.server.connect("admin").await;
        let live = admin.client().subscribe("live.price.>").await?;
        let mut rig = Self {
            base,
            lease_ttl,
            instances: Vec::new(),
            producer,
            instruments: ticks::instruments(PARTITIONS),
            live,
            owners: BTreeMap::new(),
            event_ms: 1_600_000_000_000,
            ticked: Instant::now(),
        };
        for number in 0..2 {
            let instance =
                Instance::start(&format!("stream-processor.{number}"), rig.base.dir.path(), &mut rig.command())?;
            rig.instances.push(instance);
        }
        Ok(rig)
    }

    fn command(&self) -> std::process::Command {
        let mut command = self.base.program("stream-processor");
        let lease_ttl = format!("{}ms", self.lease_ttl.as_millis());
        command.arg("run").env(LEASE_TTL_VARIABLE, lease_ttl).env("CANDLEWIRE_LOG", "info");
        command
    }

    /// Waits until each instance has been committing half of the partitions for a while.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.lease_ttl + NEVER;
        let mut since = None;
        while since.is_none_or(|since: Instant| since.elapsed() < STEADY) {
            if Instant::now() > deadline {
                bail!("the instances did not come to share the partitions: {:?}", self.owners);
            }
            self.step().await?;
            let shares = [self.owned(0).len(), self.owned(1).len()];
            if shares == [PARTITIONS as usize / 2; 2] {
                since.get_or_insert_with(Instant::now);
            } else {
                since = None;
            }
        }
        Ok(())
    }

    /// Kills or freezes an instance; returns the time until the other has committed all of its partitions.
    async fn take_over(&mut self, victim: usize, how: How) -> anyhow::Result<Duration> {
        let orphans = self.owned(victim);
        let other = self.instances[1 - victim].prefix().context("it has committed")?.to_owned();
        let start = Instant::now();
        match how {
            How::Graceful => self.instances[victim].terminate(Duration::ZERO),
            How::Crash => self.instances[victim].kill(Duration::ZERO),
            How::Silent => self.instances[victim].freeze(self.lease_ttl + NEVER),
        }
        self.tick(&orphans).await?;
        let is_taken = |owners: &BTreeMap<u32, String>| {
            orphans.iter().all(|partition| owners.get(partition).is_some_and(|owner| *owner == other))
        };
        while !is_taken(&self.owners) {
            if start.elapsed() > self.lease_ttl + NEVER {
                bail!("after {}, {orphans:?} were not taken over: {:?}", how.name(), self.owners);
            }
            self.observe().await?;
        }
        let time = start.elapsed();
        if how == How::Silent {
            self.instances[victim].wake();
        }
        Ok(time)
    }

    /// One iteration: restarts stopped instances, publishes ticks, observes commits.
    async fn step(&mut self) -> anyhow::Result<()> {
        for idx in 0..self.instances.len() {
            if self.instances[idx].tend()? {
                let mut command = self.command();
                self.instances[idx].start_again(&mut command)?;
            }
            if self.instances[idx].condition() == Condition::Done {
                bail!("stream-processor.{idx} ended by itself");
            }
        }
        self.observe().await
    }

    /// Publishes ticks when due, and records owners until then.
    async fn observe(&mut self) -> anyhow::Result<()> {
        if self.ticked.elapsed() >= TICK {
            let all: Vec<u32> = (0..PARTITIONS).collect();
            self.tick(&all).await?;
        }
        let next = tokio::time::timeout(TICK.saturating_sub(self.ticked.elapsed()), self.live.next());
        if let Ok(message) = next.await {
            let message = message.context("the subscription ended")?;
            let mut tokens = message.subject.split('.').skip(2);
            let (coin, quote) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default());
            let partition = subject::partition(coin, quote, PARTITIONS);
            let batch = message.headers.as_ref().and_then(|headers| headers.get(NATS_BATCH_ID)).cloned();
            let batch = batch.context("a live price of no owner")?;
            let prefix = batch.as_str().split_once('-').map_or(batch.as_str(), |(prefix, _)| prefix);
            self.owners.insert(partition, prefix.to_owned());
        }
        Ok(())
    }

    /// Publishes one tick in each of these partitions.
    async fn tick(&mut self, partitions: &[u32]) -> anyhow::Result<()> {
        self.event_ms += 1_000;
        let messages =
            partitions.iter().map(|&partition| ticks::tick(&self.instruments[partition as usize], self.event_ms));
        let messages: Vec<_> = messages.collect();
        ticks::publish_each(&self.producer, &messages).await?;
        self.ticked = Instant::now();
        Ok(())
    }

    /// The partitions whose newest commit is by a current process.
    fn owned(&mut self, idx: usize) -> Vec<u32> {
        let Some(prefix) = self.instances[idx].prefix() else { return Vec::new() };
        self.owners.iter().filter(|(_, owner)| *owner == prefix).map(|(&partition, _)| partition).collect()
    }
}
