//! Command line of `scripts/chaos`; see its `--help`.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chaos::slow::{self, SlowCase};
use chaos::{self, LEASE_TTL_CLUSTER, Options};
use clap::Parser;
use pipeline_tests::interrupt;
use pipeline_tests::test_pipeline::LEASE_TTL;

/// Kills, freezes and restarts everything at random while a recording is replayed, then audits
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Args {
    /// How many times producer, stream-processors and aggregators are killed (kill -9 or SIGTERM)
    #[arg(long, default_value = "20", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// Seed of the plan; the current time by default
    #[arg(long, value_name = "X")]
    seed: Option<u64>,
    /// Stream-processors, and as many aggregators
    #[arg(long, default_value = "2", value_name = "K", value_parser = clap::value_parser!(u32).range(1..=8))]
    instances: u32,
    /// End the disturbed part after this many seconds, even if the plan is not finished
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Lease time to live; 5s by default, 15s with --cluster
    #[arg(long, value_name = "SPAN")]
    lease_ttl: Option<humantime::Duration>,
    /// Run three nats-servers, and kill the leader of a stream
    #[arg(long)]
    cluster: bool,
    /// Run the slow cases instead: all, or those named
    #[arg(long, value_enum, value_name = "CASE", num_args = 0.., value_delimiter = ',')]
    slow: Option<Vec<SlowCase>>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(cases) = args.slow {
        return match interrupt::or(async move { slow::run(&cases, line).await }).await {
            Some(true) => ExitCode::SUCCESS,
            Some(false) => ExitCode::FAILURE,
            None => ExitCode::from(130),
        };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let kills = args.kills as usize;
    let usual_ttl = if args.cluster { LEASE_TTL_CLUSTER } else { LEASE_TTL };
    let options = Options {
        kills,
        seed: args.seed.unwrap_or(now.as_secs()),
        instances: args.instances as usize,
        limit: args.seconds.map_or_else(|| Options::usual_limit(kills, args.cluster), Duration::from_secs),
        lease_ttl: args.lease_ttl.map_or(usual_ttl, Into::into),
        cluster: args.cluster,
        say: line,
    };
    let Some(verdict) = interrupt::or(async move { chaos::run(&options).await }).await else {
        return ExitCode::from(130);
    };
    match verdict {
        Ok(verdict) => {
            for finding in &verdict.findings {
                line(&format!("finding: {finding}"));
            }
            line(&verdict.to_string());
            if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            line(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A closed pipe (`| head`) is no error.
fn line(text: &str) {
    drop(writeln!(stdout(), "{text}"));
}
