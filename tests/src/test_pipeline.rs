//! A pipeline for one test: server, streams, a folder, and the commands of its user.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use bus::reader::{Selection, read_to_end};
use bus::topology::Limits;
use bus::{Connection, RecordKind, Stream, codec, subject};
use flate2::read::GzDecoder;
use market::{EventTime, Span, Tick};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::programs::{Running, eventually, program_at, succeed};
use crate::server::{Server, checkout, nats_args};

/// Default lease time to live.
pub const LEASE_TTL: Duration = Duration::from_secs(5);
/// The environment variable of the services' flag `--lease-ttl`.
pub const LEASE_TTL_VARIABLE: &str = "CANDLEWIRE_LEASE_TTL";

/// The tables that `aggregator show` prints.
pub const TABLES: [&str; 5] = ["candles-1m", "hourly", "daily", "moving-average", "hour-of-day"];

/// A server or cluster with streams, and a working folder.
#[derive(Debug)]
pub struct TestPipeline<S = Server> {
    /// The server or cluster.
    pub server: S,
    /// The folder.
    pub dir: TempDir,
}

impl TestPipeline {
    /// Starts a server and creates the streams.
    pub async fn new() -> Self {
        Self::with_limits(&Limits::default()).await
    }

    /// Starts a server with streams of these limits.
    pub async fn with_limits(limits: &Limits) -> Self {
        Self::at(Server::with_limits(limits).await)
    }

    /// Wraps a server that has its streams.
    pub fn at(server: Server) -> Self {
        Self { server, dir: tempfile::tempdir().unwrap() }
    }
}

impl TestPipeline<Cluster> {
    /// Starts three servers and creates the streams, one copy on each.
    pub async fn clustered() -> Self {
        Self { server: Cluster::with_streams().await, dir: tempfile::tempdir().unwrap() }
    }
}

impl<S: Host> TestPipeline<S> {
    /// A program connected to this pipeline.
    pub fn program(&self, name: &str) -> Command {
        program_at(name, self.dir.path(), &self.server)
    }

    /// Starts a service.
    pub fn start(&self, name: &str) -> Running {
        Running::start(self.program(name).arg("run"))
    }

    /// The replay of a recording as bitcoin/usdt.
    pub fn replay(&self, file: &Path, grain: &str) -> Command {
        let mut command = self.program("producer");
        command.args(["run", "--source", "recording", "--file"]).arg(file);
        command.args(["--coin", "bitcoin", "--quote", "usdt", "--grain", grain]);
        command
    }

    /// A running replay of a sample as bitcoin/usdt, independent of the start time of the services: its first rows are
    /// committed by every step, and the rest follows at this speed.
    pub fn replay_in_the_middle(&self, name: &str, rows: u64, speed: &str) -> Running {
        let first = self.dir.path().join("first.csv");
        let lines = sample_lines(name).unwrap().take(1 + rows as usize).map(|line| line.unwrap() + "\n");
        std::fs::write(&first, lines.collect::<String>()).unwrap();
        succeed(self.replay(&first, "1m").args(["--flush", "off"]));
        self.wait();
        let mut replay = Running::start(self.replay(&sample(name), "1m").args(["--speed", speed]));
        eventually("the replay continues", || self.count("accepted") > rows);
        assert!(replay.is_running(), "the replay ended too early");
        replay
    }

    /// All records of a kind in FEED, in order.
    pub async fn feed(&self, kind: RecordKind) -> Vec<Value> {
        let connection = Connection::open(&nats_args(self.server.url(), "stream-processor"), None).await.unwrap();
        let filters = vec![subject::of_kind(Stream::Feed, kind, None)];
        let mut records = Vec::new();
        read_to_end(&connection, Selection { stream: Stream::Feed, filters, from: 1 }, |delivery| {
            records.extend(
                codec::lines(&delivery.payload).map(|(_, line)| serde_json::from_slice::<Value>(line).unwrap()),
            );
            Ok::<_, bus::Error>(())
        })
        .await
        .unwrap();
        records
    }

    /// Waits until every step has committed all of its input.
    pub fn wait(&self) {
        succeed(self.program("topology").arg("wait"));
    }

    /// Waits until the stream-processor has committed all of its input.
    pub fn wait_for_market(&self) {
        eventually("MARKET is up to date", || self.standing()["steps"]["stream-processor"]["done"] == true);
    }

    /// All tables as CSV, by name.
    pub fn tables(&self) -> BTreeMap<&'static str, String> {
        let csv = |table| succeed(self.program("aggregator").args(["show", table, "--all", "--format", "csv"]));
        TABLES.into_iter().map(|table| (table, csv(table))).collect()
    }

    /// The JSON output of `topology show`.
    pub fn standing(&self) -> Value {
        serde_json::from_str(&succeed(self.program("topology").args(["show", "--format", "json"]))).unwrap()
    }

    /// A count of the stream-processor over all partitions; 0 when absent.
    pub fn count(&self, name: &str) -> u64 {
        self.standing()["steps"]["stream-processor"]["counts"][name].as_u64().unwrap_or(0)
    }
}

/// The lines of a compressed sample of the checkout, with its heading.
///
/// # Errors
/// The sample cannot be read.
pub fn sample_lines(name: &str) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>>> {
    let path = sample(name);
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(BufReader::new(GzDecoder::new(file)).lines())
}

/// The candles of a minute in a compressed sample of the checkout.
///
/// # Errors
/// The sample cannot be read, or holds another line than a candle.
pub fn sample_candles(name: &str) -> anyhow::Result<Vec<Tick>> {
    let candle = |line: std::io::Result<String>| {
        let line = line?;
        let fields: Vec<_> = line.split(',').map(str::parse::<f64>).collect::<Result<_, _>>()?;
        let &[event, open, high, low, close, volume] = &fields[..] else { anyhow::bail!("not a candle: {line}") };
        let bar = Tick::bar(EventTime(event as i64), Span::MINUTE, [open, high, low, close]);
        Ok(Tick { volume: Some(volume), ..bar })
    };
    sample_lines(name)?.skip(1).map(candle).collect()
}

/// Path of a sample of the checkout.
pub fn sample(name: &str) -> PathBuf {
    checkout().join("tests/data").join(name)
}
