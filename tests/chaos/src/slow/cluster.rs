//! Three servers under one owner that commits for ever: blows of every kind, and a follower that lags.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bus::topology::Limits;
use bus::{Connection, Stream, protocol, query, subject};
use pipeline_tests::cluster::{Cluster, NODES};
use pipeline_tests::counting::Counting;
use pipeline_tests::transactions::{Outcome, Transactions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PARTITION: u32 = 3;
/// How often each kind of blow falls.
const ROUNDS: usize = 5;
/// How long a killed server stays away, in milliseconds.
const AWAY_MS: std::ops::Range<u64> = 100..3_000;
/// How long a frozen server sleeps, in milliseconds.
const SLEEP_MS: std::ops::Range<u64> = 1_000..6_000;
/// Inputs of a commit.
const INPUTS: std::ops::Range<u64> = 1..900;
/// How long commits may stand still before it counts as for ever.
const NEVER: Duration = Duration::from_secs(60);
/// How long the follower of the second case sleeps while others go on.
const LAG: Duration = Duration::from_secs(3);
/// How often it sleeps at most: the first stale pass is enough.
const LAGS: usize = 20;
/// How long after its waking somebody recovers through it, again and again.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Blow {
    KillLeader,
    KillFollower,
    FreezeLeader,
    FreezeFollower,
    StepDown,
    LoseQuorum,
}

const BLOWS: [Blow; 6] =
    [Blow::KillLeader, Blow::KillFollower, Blow::FreezeLeader, Blow::FreezeFollower, Blow::StepDown, Blow::LoseQuorum];

/// Blows of every kind during commits: every output is there once, on all three servers.
pub(super) async fn cluster(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut cluster = Cluster::with_limits(&Limits::default()).await;
    let mut owner = Owner::start(&cluster).await;
    let mut rng = StdRng::seed_from_u64(16);
    let mut blows: Vec<Blow> = BLOWS.into_iter().flat_map(|blow| [blow; ROUNDS]).collect();
    blows.shuffle(&mut rng);
    let mut still_max = Duration::ZERO;
    for (number, &blow) in blows.iter().enumerate() {
        owner.goes_on().await?;
        strike(&mut cluster, blow, &mut rng).await;
        let still = owner.goes_on().await?;
        still_max = still_max.max(still);
        say(&format!("{} of {}: {blow:?}, next commit {:.1} s later", number + 1, blows.len(), still.as_secs_f64()));
        cluster.wait_until_healthy();
    }
    let (commits, count) = owner.stop().await?;
    cluster.wait_until_whole();
    let stored = Counting::check(&cluster.connect("admin").await, PARTITION).await;
    let detail = format!(
        "{} blows, {commits} commits, {stored} outputs of {count}, each once; replicas equal; at most {:.1} s without a \
         commit after a blow",
        blows.len(),
        still_max.as_secs_f64()
    );
    Ok(if stored >= count { Ok(detail) } else { Err(detail) })
}

async fn strike(cluster: &mut Cluster, blow: Blow, rng: &mut StdRng) {
    let leader = cluster.wait_for_leader(Stream::Market);
    let follower = (leader + rng.random_range(1..NODES)) % NODES;
    let away = Duration::from_millis(rng.random_range(AWAY_MS));
    let asleep = Duration::from_millis(rng.random_range(SLEEP_MS));
    let killed: &[usize] = match blow {
        Blow::KillLeader => &[leader],
        Blow::KillFollower => &[follower],
        Blow::LoseQuorum => &[leader, follower],
        Blow::FreezeLeader | Blow::FreezeFollower | Blow::StepDown => &[],
    };
    killed.iter().for_each(|&node| cluster.kill(node));
    match blow {
        Blow::FreezeLeader | Blow::FreezeFollower => {
            let node = if matches!(blow, Blow::FreezeLeader) { leader } else { follower };
            cluster.freeze(node);
            tokio::time::sleep(asleep).await;
            cluster.thaw(node);
        }
        Blow::StepDown => cluster.step_down(Stream::Market).await,
        _ => tokio::time::sleep(away).await,
    }
    killed.iter().for_each(|&node| cluster.start_again(node));
}

/// A follower that slept while others committed: whoever recovers through it sees old states, and must not accept them.
pub(super) async fn follower(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut cluster = Cluster::with_limits(&Limits::default()).await;
    let leader_connection = cluster.connect("admin").await;
    let mut owner = Owner::start(&cluster).await;
    let (mut stale, mut recoveries) = (0, 0);
    for number in 1..=LAGS {
        owner.goes_on().await?;
        let follower = (cluster.wait_for_leader(Stream::Market) + 1) % NODES;
        let through = Connection::open(&cluster.nats_args_of(follower, "admin"), None).await?;
        cluster.freeze(follower);
        tokio::time::sleep(LAG).await;
        cluster.thaw(follower);
        let awake = Instant::now();
        while awake.elapsed() < LOOK {
            let known = position(&leader_connection).await?;
            let seen = protocol::positions::<Value>(&through, Stream::Market).await.unwrap_or_default();
            stale += usize::from(seen.first().is_some_and(|(_, position)| position.position < known));
            // Panics when the states are not those of the position.
            let recovered = Counting::recover(&through, PARTITION).await;
            recoveries += 1;
            if recovered.count < known {
                return Ok(Err(format!("recovered at {} after {known} was known", recovered.count)));
            }
        }
        say(&format!("lag {number}: {recoveries} recoveries so far, {stale} stale passes"));
        cluster.wait_until_healthy();
        if stale > 0 {
            break;
        }
    }
    let (_, count) = owner.stop().await?;
    cluster.wait_until_whole();
    let stored = Counting::check(&leader_connection, PARTITION).await;
    let detail = format!("{recoveries} recoveries, none from the {stale} stale passes; {stored} outputs, each once");
    Ok(if stale > 0 && stored >= count { Ok(detail) } else { Err(detail) })
}

/// The position as the leader knows it.
async fn position(connection: &Connection) -> anyhow::Result<u64> {
    let stored = query::last(connection, Stream::Market, &subject::position(Stream::Market, PARTITION)).await?;
    let stored = stored.context("there is no position")?;
    Ok(serde_json::from_slice::<protocol::Position<Value>>(&stored.payload)?.position)
}

/// Somebody who commits in a task of his own.
struct Owner {
    task: JoinHandle<anyhow::Result<()>>,
    /// Commits and outputs that were confirmed.
    confirmed: watch::Receiver<(u64, u64)>,
}

impl Owner {
    async fn start(cluster: &Cluster) -> Self {
        let connection = cluster.connect("stream-processor").await;
        let (sender, confirmed) = watch::channel((0, 0));
        Self { task: tokio::spawn(commit(connection, sender)), confirmed }
    }

    /// Waits for the next commit; returns how long that took.
    async fn goes_on(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.confirmed.mark_unchanged();
        let next = tokio::time::timeout(NEVER, self.confirmed.changed()).await;
        match next {
            Ok(Ok(())) => Ok(start.elapsed()),
            Ok(Err(_)) => anyhow::bail!("the owner has ended: {:?}", (&mut self.task).await),
            Err(_) => anyhow::bail!("no commit within {} s", NEVER.as_secs()),
        }
    }

    async fn stop(self) -> anyhow::Result<(u64, u64)> {
        let confirmed = *self.confirmed.borrow();
        self.task.abort();
        match self.task.await {
            Ok(ended) => ended?,
            Err(error) => ensure!(error.is_cancelled(), "the owner has ended: {error}"),
        }
        Ok(confirmed)
    }
}

async fn commit(connection: Connection, confirmed: watch::Sender<(u64, u64)>) -> anyhow::Result<()> {
    let transactions = Transactions::new(&connection, Stream::Market);
    let mut owner = Counting::recover(&connection, PARTITION).await;
    let mut rng = StdRng::seed_from_u64(17);
    loop {
        let outcome = owner.commit(&transactions, rng.random_range(INPUTS)).await?;
        ensure!(outcome != Outcome::Fenced, "refused although nobody else commits");
        confirmed.send_modify(|(commits, outputs)| (*commits, *outputs) = (*commits + 1, owner.count));
    }
}
