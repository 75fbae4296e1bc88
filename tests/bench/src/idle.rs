//! Cost of idleness: processor time, messages, and memory under heartbeats alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use bus::Connection;
use bus::topology::{Limits, stream_info};
use pipeline_tests::instance::{Condition, Instance};
use pipeline_tests::process::{cpu_seconds, pss_bytes};
use pipeline_tests::test_pipeline::{LEASE_TTL, LEASE_TTL_VARIABLE, TestPipeline};
use pipeline_tests::ticks;

use super::effort::Effort;
use super::pipeline::NATS;
use super::report::{Figure, Promise};

/// Length of the idle phase.
const IDLE: Duration = Duration::from_secs(60);
/// The same for a quick check.
const IDLE_QUICK: Duration = Duration::from_secs(10);
/// Default number of heartbeat rounds, one a second.
const ROUNDS: u64 = 600;
const ROUNDS_QUICK: u64 = 20;
/// Pause after the start before any measurement.
const SETTLE: Duration = Duration::from_secs(10);
/// Pause between two rounds of heartbeats, each of which advances a live source by a minute.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Interval of process checks.
const STEP: Duration = Duration::from_millis(200);
const MIB: f64 = (1 << 20) as f64;
/// The streams that services write, and the leases bucket.
const STREAMS: [&str; 4] = ["FEED", "MARKET", "STATS", LEASES];
/// The only one written while idle.
const LEASES: &str = "KV_LEASES";

/// Watches two idle stream-processors and two aggregators for a minute, then under `minutes` of heartbeats, one per
/// second and instrument.
///
/// # Errors
/// A process ended by itself.
pub async fn measure(minutes: Option<u64>, effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let idle = effort.pick(IDLE, IDLE_QUICK);
    let rounds = minutes.map_or(effort.pick(ROUNDS, ROUNDS_QUICK), |minutes| minutes * 60);
    let mut rig = Rig::new().await?;
    rig.heartbeats(1).await?;
    rig.pass(SETTLE).await?;
    say(&format!("idle for {} s", idle.as_secs()));
    let (cpu, last) = (rig.cpu()?, rig.last_sequences().await?);
    rig.pass(idle).await?;
    let (cpu_after, last_after) = (rig.cpu()?, rig.last_sequences().await?);
    // Memory that is allocated once in the first rounds is no growth.
    let warm = rounds.div_ceil(5);
    say(&format!("{rounds} rounds of heartbeats for {} instruments", rig.partitions));
    rig.heartbeats(warm).await?;
    let memory = rig.memory()?;
    rig.heartbeats(rounds - warm).await?;
    let memory_after = rig.memory()?;
    let cost_of = |name: &str| {
        let percent = (cpu_after[name] - cpu[name]) / idle.as_secs_f64() * 100.0;
        cost(name, percent, (memory[name], memory_after[name]))
    };
    let [nats_cpu, nats_memory, nats_growth] = cost_of(NATS);
    let mut figures = Vec::new();
    for name in cpu.keys().filter(|name| *name != NATS) {
        let [cpu, memory, growth] = cost_of(name);
        figures.extend([cpu.against(&nats_cpu), memory.against(&nats_memory), growth]);
    }
    figures.extend([nats_cpu, nats_memory, nats_growth]);
    figures.extend(STREAMS.into_iter().map(|stream| written(stream, last_after[stream] - last[stream])));
    Ok(figures)
}

/// Usage of a process: percent of a core while idle, and its bytes before and after the heartbeats.
fn cost(name: &str, cpu: f64, memory: (u64, u64)) -> [Figure; 3] {
    let (before, after) = (memory.0 as f64 / MIB, memory.1 as f64 / MIB);
    let cpu = Figure::new(format!("idle.cpu_percent.{name}"), "%", vec![cpu]);
    let held = Figure::new(format!("idle.memory_mib.{name}"), "MiB", vec![after]);
    let growth = Figure::new(format!("idle.growth_mib.{name}"), "MiB", vec![after - before]).against(&held);
    [cpu, held, growth]
}

/// Messages written while idle: only leases are allowed.
fn written(stream: &str, messages: u64) -> Figure {
    let figure = Figure::new(format!("idle.messages.{}", stream.to_lowercase()), "", vec![messages as f64]);
    if stream == LEASES { figure } else { figure.promise(Promise::AtMost(0.0)) }
}

/// Two instances of each service, with an instrument in every partition.
struct Rig {
    base: TestPipeline,
    partitions: u32,
    instances: BTreeMap<String, Instance>,
    producer: Connection,
    admin: Connection,
    /// Event time of the next heartbeats, in milliseconds.
    event_ms: i64,
}

impl Rig {
    async fn new() -> anyhow::Result<Self> {
        let limits = Limits::default();
        let base = TestPipeline::with_limits(&limits).await;
        let (producer, admin) = (base.server.connect("producer").await, base.server.connect("admin").await);
        let mut instances = BTreeMap::new();
        for service in ["stream-processor", "aggregator"] {
            for number in 0..2 {
                let name = format!("{service}.{number}");
                let mut command = base.program(service);
                command.arg("run");
                command.env(LEASE_TTL_VARIABLE, format!("{}s", LEASE_TTL.as_secs()));
                let instance = Instance::start(&name, base.dir.path(), &mut command)?;
                instances.insert(name, instance);
            }
        }
        let rig = Self { base, partitions: limits.partitions, instances, producer, admin, event_ms: 1_600_000_000_000 };
        rig.publish(|instrument| ticks::tick(instrument, rig.event_ms)).await?;
        Ok(rig)
    }

    async fn publish(
        &self,
        message: impl Fn(&market::Instrument) -> bus::publish::FeedMessage,
    ) -> Result<(), bus::Error> {
        let messages: Vec<_> = ticks::instruments(self.partitions).iter().map(message).collect();
        ticks::publish_each(&self.producer, &messages).await
    }

    async fn heartbeats(&mut self, rounds: u64) -> anyhow::Result<()> {
        for _ in 0..rounds {
            self.event_ms += 60_000;
            self.publish(|instrument| ticks::heartbeat(instrument, self.event_ms)).await?;
            self.pass(HEARTBEAT).await?;
        }
        Ok(())
    }

    /// Lets time pass; no process may end meanwhile.
    async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            tokio::time::sleep(STEP.min(time)).await;
            for (name, instance) in &mut self.instances {
                instance.tend()?;
                if instance.condition() == Condition::Done {
                    bail!("{name} ended by itself");
                }
            }
        }
        Ok(())
    }

    fn processes(&self) -> impl Iterator<Item = (String, u32)> {
        let services = self.instances.iter().map(|(name, instance)| (name.clone(), instance.id()));
        services.chain([(NATS.to_owned(), self.base.server.id())])
    }

    /// Processor seconds of each process.
    fn cpu(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        self.processes().map(|(name, id)| Ok((name, cpu_seconds(id)?))).collect()
    }

    /// PSS of each process in bytes.
    fn memory(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.processes().map(|(name, id)| Ok((name, pss_bytes(id)?))).collect()
    }

    async fn last_sequences(&self) -> anyhow::Result<BTreeMap<&'static str, u64>> {
        let mut last = BTreeMap::new();
        for name in STREAMS {
            last.insert(name, stream_info(&self.admin, name).await?.state.last_seq);
        }
        Ok(last)
    }
}
