//! Slow cases: hundreds of kills, power cuts, full disks, clusters.
//!
//! They take too long for every test run. Each [`SlowCase`] reports its result in one line.

mod chain;
mod cluster;
mod disk;
mod ending;
mod full;
mod leaders;
mod numbered_batches;
mod power;
mod servers;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use clap::ValueEnum;
use ending::Ending;
use futures::FutureExt;

/// A slow case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SlowCase {
    /// Workers of both steps killed 300 times, in commits of a few to hundreds of messages; then an audit
    Workers,
    /// nats-server killed 60 times in commits of 900 messages, with `sync_interval: always` and with its default
    Servers,
    /// The power of the store cut 20 times; and a control that must tear a batch
    Power,
    /// MARKET full, then the disk of nats-server full; then an audit
    Full,
    /// Three servers: leaders and followers killed, frozen and told to step down, quorum lost
    Cluster,
    /// Three servers: recovery through a lagging follower
    Follower,
    /// Three servers: leaders frozen for 1 to 11 s and killed under running services; then an audit
    Leaders,
}

/// Runs the named cases, or all; returns whether none of them failed.
pub async fn run(only: &[SlowCase], say: fn(&str)) -> bool {
    let cases = SlowCase::value_variants().iter().filter(|case| only.is_empty() || only.contains(case));
    let (mut good, mut bad, mut not_possible) = (0, 0, 0);
    for &case in cases {
        let start = Instant::now();
        // A panic ends only its own case.
        let ending = AssertUnwindSafe(case.run(say)).catch_unwind().await;
        let (word, count, detail) = match ending.unwrap_or_else(|_| Ending::Bad("it panicked, see above".to_owned())) {
            Ending::Good(detail) => ("ok", &mut good, detail),
            Ending::Bad(detail) => ("FAILED", &mut bad, detail),
            Ending::NotPossible(detail) => ("NOT POSSIBLE HERE", &mut not_possible, detail),
        };
        *count += 1;
        say(&format!("{}: {word}: {detail} ({:.0} s)", case.name(), start.elapsed().as_secs_f64()));
    }
    say(&format!("cases={} good={good} bad={bad} not_possible={not_possible}", good + bad + not_possible));
    bad == 0
}

impl SlowCase {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    async fn run(self, say: fn(&str)) -> Ending {
        match self {
            Self::Workers => ended(chain::workers(say)).await,
            Self::Servers => ended(servers::servers(say)).await,
            Self::Power => power::power(say).await,
            Self::Full => full::full(say).await,
            Self::Cluster => ended(cluster::cluster(say)).await,
            Self::Follower => ended(cluster::follower(say)).await,
            Self::Leaders => ended(leaders::leaders(say)).await,
        }
    }
}

/// Maps the result of a case; an error counts as a failure.
async fn ended(case: impl Future<Output = anyhow::Result<Result<String, String>>>) -> Ending {
    match case.await {
        Ok(Ok(detail)) => Ending::Good(detail),
        Ok(Err(detail)) => Ending::Bad(detail),
        Err(error) => Ending::Bad(format!("{error:#}")),
    }
}
