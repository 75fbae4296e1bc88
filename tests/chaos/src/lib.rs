//! Kills, freezes and restarts everything at random instants while a recording is replayed, and compares what came of it
//! with an undisturbed run and with an audit.
//!
//! [`plan`] says what happens to whom, `stage` does it, `verdict` judges the outcome. The processes are those that
//! users start, nats-server has the shipped configuration.

// An environment that is not as the run needs it ends the run.
#![allow(clippy::unwrap_used)]

mod broker;
mod outcome;
pub mod plan;
pub mod recording;
pub mod slow;
mod stage;
mod verdict;
mod watch;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use self::broker::Broker;
use self::outcome::Outcome;
pub use self::outcome::{Audit, output, program};
use self::plan::Scale;
use self::recording::Recording;
use self::stage::Stage;
pub use self::verdict::Verdict;
use pipeline_tests::cluster::Cluster;
use pipeline_tests::programs::Running;
use pipeline_tests::server::{Host, Server};
use pipeline_tests::world::World;

/// Partitions, each with one instrument: a share for each of several instances.
const PARTITIONS: u32 = 8;
/// Rows a second of each instrument while it is disturbed. All together 2,000 messages a second: there is
/// always something on its way.
const ROWS_A_SECOND: u32 = 250;
/// Span of a row.
const GRAIN: Duration = Duration::from_secs(60);
/// The same with three nats-servers, where a change of leader takes some seconds.
pub const LEASE_TTL_CLUSTER: Duration = Duration::from_secs(15);
/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kills and terminations, all together.
    pub kills: usize,
    /// What the plan is made of.
    pub seed: u64,
    /// Instances of each service.
    pub instances: usize,
    /// How long the disturbed part may take.
    pub limit: Duration,
    /// How long a lease lives without its owner.
    pub lease_ttl: Duration,
    /// Three nats-servers instead of one.
    pub cluster: bool,
    /// Told what happens, one line each.
    pub say: fn(&str),
}

impl Options {
    /// The usual limit of so many kills: far more than they take.
    pub fn usual_limit(kills: usize, cluster: bool) -> Duration {
        Duration::from_secs(20 + if cluster { 8 } else { 3 } * kills as u64)
    }
}

/// Runs it all.
///
/// # Errors
/// Something ended by itself, or could not be started, or never finished.
pub async fn run(options: &Options) -> anyhow::Result<Verdict> {
    let (started, say) = (Instant::now(), options.say);
    let files = tempfile::tempdir()?;
    let rows_each = options.limit.as_secs() as usize * ROWS_A_SECOND as usize;
    let recording = recording::write(files.path(), PARTITIONS, rows_each)?;
    say(&format!("seed {}: {} kills, {} instances of each service", options.seed, options.kills, options.instances));
    let undisturbed = undisturbed(&recording).await.context("the undisturbed run failed")?;
    say(&format!("an undisturbed run of {} ticks took {:.1} s", recording.rows, started.elapsed().as_secs_f64()));

    let verdict = if options.cluster {
        disturbed_on::<Cluster>(options, &recording, &undisturbed).await
    } else {
        disturbed_on::<Server>(options, &recording, &undisturbed).await
    };
    say(&format!("everything took {:.0} s", started.elapsed().as_secs_f64()));
    verdict
}

async fn disturbed_on<B: Broker>(
    options: &Options,
    recording: &Recording,
    undisturbed: &Outcome,
) -> anyhow::Result<Verdict> {
    let mut stage = Stage::open(B::world().await, options.clone(), &recording.files).await?;
    let verdict = disturbed(&mut stage, undisturbed).await;
    if !verdict.as_ref().is_ok_and(Verdict::is_good) {
        (options.say)(&format!("logs and data are kept in {}", stage.keep().display()));
    }
    verdict
}

async fn disturbed(stage: &mut Stage<impl Broker>, undisturbed: &Outcome) -> anyhow::Result<Verdict> {
    let Options { seed, kills, instances, lease_ttl, .. } = stage.options;
    stage.disturb(&plan::plan(seed, Scale { kills, instances, lease_ttl })).await?;
    stage.finish().await?;
    let outcome = Outcome::read(&stage.world).await?;
    let mut findings = outcome.differences(undisturbed);
    // Without an audit the tables still say something.
    let audit = Audit::take(&stage.world).await.unwrap_or_else(|error| {
        findings.push(format!("{error:#}"));
        Audit::default()
    });
    findings.extend(stage.lines_with(" ERROR "));
    let fenced = stage.lines_with("another owner has committed").len();
    Ok(Verdict { tally: stage.tally, audit, fenced, findings })
}

async fn undisturbed(recording: &Recording) -> anyhow::Result<Outcome> {
    let world = Server::world().await;
    let quiet = |name| Running::start(program(&world, name, &["run"]).stderr(Stdio::null()));
    let _services = ["stream-processor", "aggregator"].map(quiet);
    let mut producer = Running::start(replay(&world, &recording.files).stdout(Stdio::null()));
    while producer.is_running() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(producer.wait() == Some(0), "the producer failed");
    output(program(&world, "topology", &["wait"])).await?;
    Outcome::read(&world).await
}

/// The replay of the files, as fast as FEED takes it.
fn replay(world: &World<impl Host>, files: &[String]) -> Command {
    let mut command = world.program("producer");
    command.args(["run", "--source", "recording", "--grain", "1m"]);
    command.args(files.iter().flat_map(|file| ["--file", file]));
    command
}

/// The speed at which each instrument has [`ROWS_A_SECOND`].
fn speed() -> String {
    format!("{}x", u64::from(ROWS_A_SECOND) * GRAIN.as_secs())
}

/// The folder of a world.
fn dir_of<S>(world: &World<S>) -> &Path {
    world.dir.path()
}
