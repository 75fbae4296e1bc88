//! Chaos tests: kill, freeze and restart all processes at random instants during a replay, then compare the outcome with
//! an undisturbed run and audit it.
//!
//! [`plan`] makes the plan of disturbances, `chaos_run` applies it, `verdict` judges the outcome. The processes are those
//! that users start, and nats-server has the shipped configuration. Start reading at [`run`].

// An unsuitable environment may end the run.
#![allow(clippy::unwrap_used)]

mod broker;
mod chaos_run;
mod options;
mod outcome;
pub mod plan;
pub mod recording;
mod replay;
pub mod slow;
mod verdict;
mod watch;

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use self::broker::Broker;
use self::chaos_run::ChaosRun;
pub use self::options::{LEASE_TTL_CLUSTER, Options};
use self::options::{PARTITIONS, ROWS_A_SECOND};
use self::outcome::Outcome;
pub use self::outcome::{Audit, output, program};
use self::plan::Scale;
use self::recording::Recording;
use self::replay::replay;
pub use self::verdict::Verdict;
use pipeline_tests::cluster::Cluster;
use pipeline_tests::programs::Running;
use pipeline_tests::server::Server;

/// Runs the pipeline undisturbed and disturbed, and returns the verdict.
///
/// # Errors
/// A process ended by itself, could not be started, or never finished.
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
    let mut run = ChaosRun::open(B::pipeline().await, options.clone(), &recording.files).await?;
    let verdict = disturbed(&mut run, undisturbed).await;
    if !verdict.as_ref().is_ok_and(Verdict::is_good) {
        (options.say)(&format!("logs and data are kept in {}", run.keep().display()));
    }
    verdict
}

async fn disturbed(run: &mut ChaosRun<impl Broker>, undisturbed: &Outcome) -> anyhow::Result<Verdict> {
    let Options { seed, kills, instances, lease_ttl, .. } = run.options;
    run.disturb(&plan::plan(seed, Scale { kills, instances, lease_ttl })).await?;
    run.finish().await?;
    let outcome = Outcome::read(&run.pipeline).await?;
    let mut findings = outcome.differences(undisturbed);
    // If the audit fails, the tables are still compared.
    let audit = Audit::take(&run.pipeline).await.unwrap_or_else(|error| {
        findings.push(format!("{error:#}"));
        Audit::default()
    });
    findings.extend(run.lines_with(" ERROR "));
    let fenced = run.lines_with("another owner has committed").len();
    Ok(Verdict { tally: run.tally, audit, fenced, findings })
}

async fn undisturbed(recording: &Recording) -> anyhow::Result<Outcome> {
    let pipeline = Server::pipeline().await;
    let quiet = |name| Running::start(program(&pipeline, name, &["run"]).stderr(Stdio::null()));
    let _services = ["stream-processor", "aggregator"].map(quiet);
    let mut producer = Running::start(replay(&pipeline, &recording.files).stdout(Stdio::null()));
    while producer.is_running() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(producer.wait() == Some(0), "the producer failed");
    output(program(&pipeline, "topology", &["wait"])).await?;
    Outcome::read(&pipeline).await
}
