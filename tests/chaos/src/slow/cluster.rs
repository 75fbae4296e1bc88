//! Three servers under one owner that commits without pause: faults of every kind, and a lagging follower.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bus::topology::Limits;
use bus::{Connection, Stream, protocol, query, subject};
use pipeline_tests::cluster::{Cluster, NODES};
use pipeline_tests::counting::Counting;
use pipeline_tests::transactions::{Outcome, TestTransactions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PARTITION: u32 = 3;
/// Rounds of each kind of fault.
const ROUNDS: usize = 5;
/// Downtime of a killed server, in milliseconds.
const AWAY_MS: std::ops::Range<u64> = 100..3_000;
/// Length of a freeze, in milliseconds.
const SLEEP_MS: std::ops::Range<u64> = 1_000..6_000;
/// Inputs of a commit.
const INPUTS: std::ops::Range<u64> = 1..900;
/// Longest time without a commit before the case fails.
const NEVER: Duration = Duration::from_secs(60);
/// Length of the follower's freeze in the second case.
const LAG: Duration = Duration::from_secs(3);
/// Most freezes; the case ends with the first stale read.
const LAGS: usize = 20;
/// How long to recover through the follower, again and again, after it wakes up.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Fault {
    KillLeader,
    KillFollower,
    FreezeLeader,
    FreezeFollower,
    StepDown,
    LoseQuorum,
}

const FAULTS: [Fault; 6] = [
    Fault::KillLeader,
    Fault::KillFollower,
    Fault::FreezeLeader,
    Fault::FreezeFollower,
    Fault::StepDown,
    Fault::LoseQuorum,
];

/// Injects faults of every kind during commits; every output must be stored once, on all three servers.
pub(super) async fn cluster(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut cluster = Cluster::with_limits(&Limits::default()).await;
    let mut owner = Owner::start(&cluster).await;
    let mut rng = StdRng::seed_from_u64(16);
    let mut faults: Vec<Fault> = FAULTS.into_iter().flat_map(|fault| [fault; ROUNDS]).collect();
    faults.shuffle(&mut rng);
    let mut still_max = Duration::ZERO;
    for (number, &fault) in faults.iter().enumerate() {
        owner.next_commit().await?;
        inject(&mut cluster, fault, &mut rng).await;
        let still = owner.next_commit().await?;
        still_max = still_max.max(still);
        say(&format!("{} of {}: {fault:?}, next commit {:.1} s later", number + 1, faults.len(), still.as_secs_f64()));
        cluster.wait_until_healthy();
    }
    let (commits, count) = owner.stop().await?;
    cluster.wait_until_whole();
    let stored = Counting::check(&cluster.connect("admin").await, PARTITION).await;
    let detail = format!(
        "{} faults, {commits} commits, {stored} outputs of {count}, each once; replicas equal; at most {:.1} s without a \
         commit after a fault",
        faults.len(),
        still_max.as_secs_f64()
    );
    Ok(if stored >= count { Ok(detail) } else { Err(detail) })
}

async fn inject(cluster: &mut Cluster, fault: Fault, rng: &mut StdRng) {
    let leader = cluster.wait_for_leader(Stream::Market);
    let follower = (leader + rng.random_range(1..NODES)) % NODES;
    let away = Duration::from_millis(rng.random_range(AWAY_MS));
    let asleep = Duration::from_millis(rng.random_range(SLEEP_MS));
    let killed: &[usize] = match fault {
        Fault::KillLeader => &[leader],
        Fault::KillFollower => &[follower],
        Fault::LoseQuorum => &[leader, follower],
        Fault::FreezeLeader | Fault::FreezeFollower | Fault::StepDown => &[],
    };
    killed.iter().for_each(|&node| cluster.kill(node));
    match fault {
        Fault::FreezeLeader | Fault::FreezeFollower => {
            let node = if matches!(fault, Fault::FreezeLeader) { leader } else { follower };
            cluster.freeze(node);
            tokio::time::sleep(asleep).await;
            cluster.thaw(node);
        }
        Fault::StepDown => cluster.step_down(Stream::Market).await,
        _ => tokio::time::sleep(away).await,
    }
    killed.iter().for_each(|&node| cluster.start_again(node));
}

/// Freezes a follower while others commit. A recovery through it reads old states, and must not accept them.
pub(super) async fn follower(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut cluster = Cluster::with_limits(&Limits::default()).await;
    let leader_connection = cluster.connect("admin").await;
    let mut owner = Owner::start(&cluster).await;
    let (mut stale, mut recoveries) = (0, 0);
    for number in 1..=LAGS {
        owner.next_commit().await?;
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
            // Panics when the states do not belong to the position.
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

/// The position according to the leader.
async fn position(connection: &Connection) -> anyhow::Result<u64> {
    let stored = query::last(connection, Stream::Market, &subject::position(Stream::Market, PARTITION)).await?;
    let stored = stored.context("there is no position")?;
    Ok(serde_json::from_slice::<protocol::Position<Value>>(&stored.payload)?.position)
}

/// An owner that commits in a task of its own.
struct Owner {
    task: JoinHandle<anyhow::Result<()>>,
    /// Confirmed commits and outputs.
    confirmed: watch::Receiver<(u64, u64)>,
}

impl Owner {
    async fn start(cluster: &Cluster) -> Self {
        let connection = cluster.connect("stream-processor").await;
        let (sender, confirmed) = watch::channel((0, 0));
        Self { task: tokio::spawn(commit(connection, sender)), confirmed }
    }

    /// Waits for the next commit; returns the time that it took.
    async fn next_commit(&mut self) -> anyhow::Result<Duration> {
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
    let transactions = TestTransactions::new(&connection, Stream::Market);
    let mut owner = Counting::recover(&connection, PARTITION).await;
    let mut rng = StdRng::seed_from_u64(17);
    loop {
        let outcome = owner.commit(&transactions, rng.random_range(INPUTS)).await?;
        ensure!(outcome != Outcome::Fenced, "refused although there is no other owner");
        confirmed.send_modify(|(commits, outputs)| (*commits, *outputs) = (*commits + 1, owner.count));
    }
}
