//! A server with a fresh store and the services of one measurement, started like users start them.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use bus::progress::standings;
use bus::protocol::positions;
use bus::stream::{MARKET_STEP, STATS_STEP, Step};
use bus::{Connection, Stream};
use pipeline_tests::health::Watched;
use pipeline_tests::process::{cpu_seconds, has_ended};
use pipeline_tests::programs::{NEVER, Running};
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::Value;

use super::workload::Workload;

/// Interval of progress checks; each is one small request.
const LOOK: Duration = Duration::from_millis(2);
/// Longest time without progress of a replay.
const STALLED: Duration = Duration::from_secs(60);
/// Name of the server among the processes.
pub const NATS: &str = "nats-server";
const PRODUCER: &str = "producer";

/// A running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// Server and folder.
    pub base: TestPipeline,
    /// The services by name, such as `aggregator` or `aggregator.1`.
    pub services: BTreeMap<String, Watched>,
    admin: Connection,
    /// Warnings logged by the services.
    warnings: Arc<Mutex<Vec<String>>>,
}

/// Times of a replay, from the start of the producer's process.
#[derive(Debug)]
pub struct Replay {
    /// Until FEED was complete and the producer had ended.
    pub produced: Duration,
    /// Until MARKET had committed all of FEED.
    pub market: Duration,
    /// Until STATS had committed all of MARKET: the total.
    pub stats: Duration,
    /// Processor seconds by process.
    pub cpu: BTreeMap<String, f64>,
}

impl Pipeline {
    /// Starts server and streams, and this many instances of both steps; returns when all are ready.
    ///
    /// # Errors
    /// A service does not get ready.
    pub async fn start(instances: usize) -> anyhow::Result<Self> {
        let base = TestPipeline::new().await;
        let admin = base.server.connect("admin").await;
        let mut pipeline = Self { base, services: BTreeMap::new(), admin, warnings: Arc::default() };
        for number in 0..instances {
            for step in [MARKET_STEP, STATS_STEP] {
                let name = if number == 0 { step.service.to_owned() } else { format!("{}.{number}", step.service) };
                pipeline.add(&name, pipeline.program(step.service).arg("run"));
            }
        }
        pipeline.until_ready().await?;
        Ok(pipeline)
    }

    /// A program of this project, without the settings of tests.
    pub fn program(&self, name: &str) -> Command {
        let mut command = self.base.program(name);
        command.env_remove(pipeline_tests::test_pipeline::LEASE_TTL_VARIABLE);
        command
    }

    /// Starts a service under this name, with its health on a free port.
    pub fn add(&mut self, name: &str, command: &mut Command) {
        let warnings = self.warnings.clone();
        let note = move |line: &str| {
            if line.contains("WARN") {
                warnings.lock().unwrap().push(line.to_owned());
            }
        };
        self.services.insert(name.to_owned(), Watched::start(command, note));
    }

    /// Whether a service has logged a warning with this text.
    pub fn has_warned(&self, words: &str) -> bool {
        self.warnings.lock().unwrap().iter().any(|line| line.contains(words))
    }

    /// Returns when every service is ready.
    ///
    /// # Errors
    /// A service does not get ready.
    pub async fn until_ready(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        for (name, service) in &self.services {
            while !service.is_ready() {
                ensure!(start.elapsed() < NEVER, "{name} does not get ready: {}", service.page("/readyz").1);
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// The ids of the server's process and the services'.
    pub fn processes(&self) -> impl Iterator<Item = (&str, u32)> {
        let services = self.services.iter().map(|(name, service)| (name.as_str(), service.process.id()));
        services.chain([(NATS, self.base.server.id())])
    }

    /// The producer command for a replay at full speed.
    pub fn producer(&self, workload: &Workload) -> Command {
        let mut command = self.program(PRODUCER);
        command.args(["run", "--source", "recording", "--gaps", "off"]);
        let grain = workload.grain.map(|grain| format!("{}s", grain.ms() / 1_000));
        command.args(["--grain", grain.as_deref().unwrap_or("trades")]);
        for file in workload.files() {
            command.args(["--file", &file]);
        }
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    }

    /// Replays at full speed and returns when everything is committed.
    ///
    /// # Errors
    /// A program fails, or there is no progress.
    pub async fn replay(&self, workload: &Workload) -> anyhow::Result<Replay> {
        let before = self.cpu()?;
        let start = Instant::now();
        let mut producer = Running::start(&mut self.producer(workload));
        while !has_ended(producer.id())? {
            tokio::time::sleep(LOOK).await;
        }
        let produced = start.elapsed();
        let producer_cpu = cpu_seconds(producer.id())?;
        ensure!(producer.wait() == Some(0), "the producer failed");
        self.until_committed(MARKET_STEP).await?;
        let market = start.elapsed();
        self.until_committed(STATS_STEP).await?;
        let stats = start.elapsed();
        let mut cpu = self.cpu()?;
        cpu.iter_mut().for_each(|(name, seconds)| *seconds -= before.get(name).copied().unwrap_or_default());
        cpu.insert(PRODUCER.to_owned(), producer_cpu);
        Ok(Replay { produced, market, stats, cpu })
    }

    /// Processor seconds of each process.
    ///
    /// # Errors
    /// A process has ended.
    pub fn cpu(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        self.processes().map(|(name, id)| Ok((name.to_owned(), cpu_seconds(id)?))).collect()
    }

    /// Bytes of all files of a stream.
    ///
    /// # Errors
    /// Its folder cannot be read.
    pub fn bytes_on_disk(&self, stream: Stream) -> anyhow::Result<u64> {
        Ok(bytes_in(&self.base.server.store_of(stream.name()))?)
    }

    /// Ticks that the stream-processor has accepted.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn accepted(&self) -> anyhow::Result<u64> {
        let positions = positions::<Value>(&self.admin, MARKET_STEP.output).await?;
        Ok(positions.iter().filter_map(|(_, position)| position.counts["accepted"].as_u64()).sum())
    }

    /// Returns when a step has committed all input that exists now.
    ///
    /// # Errors
    /// There is no progress.
    pub async fn until_committed(&self, step: Step) -> anyhow::Result<()> {
        let wanted: BTreeMap<u32, u64> =
            standings(&self.admin, step).await?.iter().map(|one| (one.partition, one.input_last)).collect();
        let mut progress = (0, Instant::now());
        loop {
            let found: BTreeMap<u32, u64> = positions::<Value>(&self.admin, step.output)
                .await?
                .into_iter()
                .map(|(partition, position)| (partition, position.position))
                .collect();
            let at = |partition: &u32| found.get(partition).copied().unwrap_or_default();
            if wanted.iter().all(|(partition, last)| at(partition) >= *last) {
                return Ok(());
            }
            let sum = found.values().sum();
            if sum != progress.0 {
                progress = (sum, Instant::now());
            }
            ensure!(progress.1.elapsed() < STALLED, "the {} has stalled", step.service);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A connection as `admin`.
    pub fn admin(&self) -> &Connection {
        &self.admin
    }
}

impl Replay {
    /// Ticks per second over the total time.
    pub fn rate(&self, workload: &Workload) -> f64 {
        workload.ticks as f64 / self.stats.as_secs_f64()
    }
}

/// Bytes of all files in a folder and below. Files removed meanwhile do not count.
///
/// # Errors
/// The folder cannot be read.
pub fn bytes_in(folder: &Path) -> std::io::Result<u64> {
    let bytes_of = |entry: DirEntry| match entry.metadata()? {
        metadata if metadata.is_dir() => bytes_in(&entry.path()),
        metadata => Ok(metadata.len()),
    };
    let counted = |entry: std::io::Result<DirEntry>| match entry.and_then(bytes_of) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        bytes => bytes,
    };
    std::fs::read_dir(folder)?.map(counted).sum()
}
