//! What idleness costs: processor time, messages, and memory under heartbeats alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use bus::Connection;
use bus::topology::{Limits, stream_info};
use futures::future::join_all;
use serde_json::{Value, json};

use super::process::{cpu_seconds, pss_bytes};
use crate::chaos::{LEASE_TTL, LEASE_TTL_VARIABLE, program};
use crate::instance::{Condition, Instance};
use crate::ticks;
use crate::world::World;

/// How long the idle processes are watched.
const IDLE: Duration = Duration::from_secs(60);
/// How long they get after their start, before anything is measured.
const SETTLE: Duration = Duration::from_secs(10);
/// Pause between two rounds of heartbeats: a minute of a live source passes in each.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the processes are looked after while time passes.
const STEP: Duration = Duration::from_millis(200);
/// A service may use so much of one core when idle.
const CPU_MAX: f64 = 0.01;
/// A service may grow so much, as a part of what it had and in bytes, before it counts as growing.
const GROWTH_MAX: (f64, u64) = (0.05, 1 << 20);
/// The streams that services write, and the bucket of leases.
const STREAMS: [&str; 4] = ["FEED", "MARKET", "STATS", "KV_LEASES"];
const NATS: &str = "nats-server";

/// What one process took.
#[derive(Debug)]
struct Cost {
    name: String,
    /// Share of one core while idle.
    cpu: f64,
    /// Bytes of its own (PSS) before and after the heartbeats.
    memory: (u64, u64),
}

/// What was measured.
#[derive(Debug)]
pub struct Idleness {
    partitions: u32,
    costs: Vec<Cost>,
    /// Messages written while idle, by stream.
    written: BTreeMap<&'static str, u64>,
    heartbeats: u64,
}

/// Watches two stream-processors and two aggregators doing nothing for a minute, then under `minutes` of heartbeats, one
/// a second for each instrument.
///
/// # Errors
/// Something ended by itself.
pub async fn measure(minutes: u64, say: fn(&str)) -> anyhow::Result<Idleness> {
    let mut rig = Rig::new().await?;
    rig.heartbeats(1).await?;
    rig.pass(SETTLE).await?;
    say(&format!("idle for {} s", IDLE.as_secs()));
    let (cpu, last) = (rig.cpu()?, rig.last_sequences().await?);
    rig.pass(IDLE).await?;
    let (cpu_after, last_after) = (rig.cpu()?, rig.last_sequences().await?);
    // What grows to its size in the first rounds is no growth.
    let rounds = minutes * 60;
    let warm = rounds.div_ceil(5);
    say(&format!("{rounds} rounds of heartbeats"));
    rig.heartbeats(warm).await?;
    let memory = rig.memory()?;
    rig.heartbeats(rounds - warm).await?;
    let memory_after = rig.memory()?;
    let cost = |(name, before): (&String, &f64)| Cost {
        name: name.clone(),
        cpu: (cpu_after[name] - before) / IDLE.as_secs_f64(),
        memory: (memory[name], memory_after[name]),
    };
    Ok(Idleness {
        partitions: rig.partitions,
        costs: cpu.iter().map(cost).collect(),
        written: STREAMS.into_iter().map(|name| (name, last_after[name] - last[name])).collect(),
        heartbeats: rounds * u64::from(rig.partitions),
    })
}

impl Idleness {
    /// Whether every service was cheap, wrote nothing but leases, and did not grow.
    pub fn is_good(&self) -> bool {
        let services = self.costs.iter().filter(|cost| cost.name != NATS);
        let is_silent = self.written.iter().all(|(name, &count)| count == 0 || *name == "KV_LEASES");
        is_silent && services.into_iter().all(|cost| cost.cpu < CPU_MAX && !cost.is_growing())
    }

    /// The printed table.
    pub fn rows(&self) -> Vec<String> {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let cost = |cost: &Cost| {
            let (before, after) = (mib(cost.memory.0), mib(cost.memory.1));
            format!("{:<20} {:>7.2} % {before:>9.1} MiB {after:>9.1} MiB", cost.name, cost.cpu * 100.0)
        };
        let written = self.written.iter().map(|(name, count)| format!("{name:<20} {count:>7} messages while idle"));
        let note =
            format!("({} partitions, {} heartbeats between the memory figures)", self.partitions, self.heartbeats);
        let heading = "process                 a core        memory    after beats".to_owned();
        [heading].into_iter().chain(self.costs.iter().map(cost)).chain([note]).chain(written).collect()
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let cost = |cost: &Cost| {
            json!({
                "name": cost.name,
                "core": cost.cpu,
                "memory_before": cost.memory.0,
                "memory_after": cost.memory.1,
            })
        };
        json!({
            "partitions": self.partitions,
            "idle_s": IDLE.as_secs(),
            "heartbeats": self.heartbeats,
            "processes": self.costs.iter().map(cost).collect::<Vec<_>>(),
            "written": self.written,
        })
    }
}

impl Cost {
    fn is_growing(&self) -> bool {
        let (before, after) = self.memory;
        let growth = after.saturating_sub(before);
        growth > GROWTH_MAX.1 && growth as f64 > before as f64 * GROWTH_MAX.0
    }
}

/// Two instances of each service, with an instrument in every partition.
struct Rig {
    world: World,
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
        let world = World::with_limits(&limits).await;
        let (producer, admin) = (world.server.connect("producer").await, world.server.connect("admin").await);
        let mut instances = BTreeMap::new();
        for service in ["stream-processor", "aggregator"] {
            for number in 0..2 {
                let name = format!("{service}.{number}");
                let mut command = program(&world, service, &["run"]);
                command.env(LEASE_TTL_VARIABLE, format!("{}s", LEASE_TTL.as_secs()));
                let instance = Instance::start(&name, world.dir.path(), &mut command)?;
                instances.insert(name, instance);
            }
        }
        let rig = Self { world, partitions: limits.partitions, instances, producer, admin, event_ms: 1_000_000 };
        rig.publish(|instrument| ticks::tick(instrument, rig.event_ms)).await?;
        Ok(rig)
    }

    async fn publish(
        &self,
        message: impl Fn(&market::Instrument) -> bus::publish::FeedMessage,
    ) -> Result<(), bus::Error> {
        let messages: Vec<_> = ticks::instruments(self.partitions).iter().map(message).collect();
        let published = join_all(messages.iter().map(|message| bus::publish::publish(&self.producer, message))).await;
        published.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    async fn heartbeats(&mut self, rounds: u64) -> anyhow::Result<()> {
        for _ in 0..rounds {
            self.event_ms += 60_000;
            self.publish(|instrument| ticks::heartbeat(instrument, self.event_ms)).await?;
            self.pass(HEARTBEAT).await?;
        }
        Ok(())
    }

    /// Lets time pass; nobody may end meanwhile.
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
        services.chain([(NATS.to_owned(), self.world.server.id())])
    }

    /// Seconds of processor time that each process has used.
    fn cpu(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        self.processes().map(|(name, id)| Ok((name, cpu_seconds(id)?))).collect()
    }

    /// Bytes of each process, shared pages counted in part.
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
