//! Full storage: first a stream, then the disk of nats-server.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use bus::topology::Limits;
use pipeline_tests::instance::{Condition, Instance};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;

use super::disk::Disk;
use super::ending::Ending;
use crate::{Audit, output, program, recording};

const PARTITIONS: u32 = 8;
/// Rows of each instrument: much more than fits at first.
const ROWS: usize = 20_000;
/// Size of MARKET in the first case, in bytes.
const MARKET_BYTES: u64 = 4 << 20;
/// Size of the disk in the second case, before and after.
const DISK_MIB: (u64, u64) = (24, 1_024);
/// Message of a step when storage is full.
const FULL: &str = "storage is full";
/// Message of nats-server when its disk is full.
const NO_SPACE: &str = "no space left on device";
/// How long storage stays full once it was reported.
const PAUSE: Duration = Duration::from_secs(3);
/// Longest wait for anything before the case fails.
const NEVER: Duration = Duration::from_secs(120);

/// Fills both; the pipeline must report it, continue when there is room, and lose nothing.
pub(super) async fn full(say: fn(&str)) -> Ending {
    let disk = match Disk::tmpfs(DISK_MIB.0) {
        Ok(disk) => disk,
        Err(error) => return Ending::NotPossible(format!("{error:#}")),
    };
    let both = async {
        let stream = stream().await?;
        say(&format!("MARKET full: {stream}"));
        let disk = self::disk(&disk).await?;
        say(&format!("disk full: {disk}"));
        anyhow::Ok(format!("MARKET full: {stream}; disk full: {disk}"))
    };
    match both.await {
        Ok(detail) => Ending::Good(detail),
        Err(error) => Ending::Bad(format!("{error:#}")),
    }
}

async fn stream() -> anyhow::Result<String> {
    let limits = Limits { partitions: PARTITIONS, market_bytes: MARKET_BYTES, ..Limits::default() };
    let mut pipeline = Pipeline::start(TestPipeline::with_limits(&limits).await)?;
    pipeline.wait_until(FULL, |pipeline| pipeline.instances.iter().any(|one| !one.lines_with(FULL).is_empty())).await?;
    tokio::time::sleep(PAUSE).await;
    output(program(&pipeline.base, "topology", &["apply", "--partitions", &PARTITIONS.to_string()])).await?;
    pipeline.finish().await
}

async fn disk(disk: &Disk) -> anyhow::Result<String> {
    let server = Server::start_in(&disk.path(), |conf| conf);
    server.create_streams(&Limits { partitions: PARTITIONS, ..Limits::default() }).await;
    let mut pipeline = Pipeline::start(TestPipeline::at(server))?;
    pipeline.wait_until(NO_SPACE, |pipeline| pipeline.base.server.log().contains(NO_SPACE)).await?;
    tokio::time::sleep(PAUSE).await;
    disk.resize(DISK_MIB.1)?;
    // After a failed write the server stops JetStream until its restart, as its log says.
    pipeline.base.server.kill();
    pipeline.base.server.start_again();
    pipeline.finish().await
}

/// A replay at full speed through one process of each step.
struct Pipeline {
    base: TestPipeline,
    /// Processor, aggregator, producer.
    instances: [Instance; 3],
}

impl Pipeline {
    fn start(base: TestPipeline) -> anyhow::Result<Self> {
        let dir = base.dir.path();
        let recording = recording::write(dir, PARTITIONS, ROWS)?;
        let start = |name: &str, arguments: &[&str]| Instance::start(name, dir, &mut program(&base, name, arguments));
        let mut replay = vec!["run", "--source", "recording", "--grain", "1m"];
        replay.extend(recording.files.iter().flat_map(|file| ["--file", file]));
        let instances =
            [start("stream-processor", &["run"])?, start("aggregator", &["run"])?, start("producer", &replay)?];
        Ok(Self { base, instances })
    }

    /// Waits until an instance has reported something.
    async fn wait_until(&mut self, what: &str, is_said: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !is_said(self) {
            self.tend()?;
            ensure!(start.elapsed() < NEVER, "no instance logged {what:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn tend(&mut self) -> anyhow::Result<()> {
        for (idx, instance) in self.instances.iter_mut().enumerate() {
            instance.tend()?;
            if instance.condition() == Condition::Done && idx < 2 {
                bail!("a step ended by itself");
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<String> {
        let start = Instant::now();
        while self.instances[2].condition() != Condition::Done {
            self.tend()?;
            ensure!(start.elapsed() < NEVER, "the replay did not continue when there was room");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        output(program(&self.base, "topology", &["wait"])).await?;
        let audit = Audit::take(&self.base).await?;
        let accepted = self.base.count("accepted");
        let Audit { windows, different, missing, extra, .. } = audit;
        let detail =
            format!("{accepted} ticks, {windows} windows, {different} different, {missing} missing, {extra} extra");
        ensure!(audit.is_clean() && accepted == u64::from(PARTITIONS) * ROWS as u64, "{detail}");
        Ok(detail)
    }
}
