//! Instances of a step share its partitions while others join, leave, die or freeze.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::Connection;
use bus::lease::{Census, Change, LeaderLease, Leases, living, owners};
use bus::topology::Limits;
use market::Instrument;
use pipeline_tests::programs::{NEVER, Running, eventually, fail};
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::publish_tick_of;
use serde_json::json;
use service::{Health, Shutdown};
use store::paths;

const TTL: Duration = Duration::from_millis(500);
/// Instruments of the tests, enough for most partitions to have one.
const COINS: u32 = 40;

fn coin(idx: u32) -> Instrument {
    Instrument::new(&format!("coin-{idx}"), "usd").unwrap()
}

/// Publishes one tick of every instrument.
async fn publish_round(producer: &Connection, event_ms: i64) {
    let each = (0..COINS).map(async |idx| publish_tick_of(producer, &coin(idx), event_ms).await);
    futures::future::join_all(each).await;
}

/// Partitions per instance of the stream-processor, in ascending order.
async fn shares(connection: &Connection) -> Vec<usize> {
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for (_, owner) in owners(connection, "stream-processor").await.unwrap() {
        *shares.entry(owner.id).or_default() += 1;
    }
    let mut shares: Vec<usize> = shares.into_values().collect();
    shares.sort_unstable();
    shares
}

async fn eventually_shares(connection: &Connection, expected: &[usize]) {
    eventually_shares_one_of(connection, &[expected]).await;
}

async fn eventually_shares_one_of(connection: &Connection, expected: &[&[usize]]) {
    let wait = async {
        while !expected.contains(&shares(connection).await.as_slice()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(NEVER, wait).await;
    assert!(found.is_ok(), "{expected:?}, not {:?}", shares(connection).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_partitions_as_they_come_and_go() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let admin = pipeline.server.connect("admin").await;
    let mut rounds = 0;
    let mut round = async || {
        rounds += 1;
        publish_round(&producer, 1_600_000_000_000 + rounds * 1_000).await;
        rounds as u64 * u64::from(COINS)
    };
    let first = pipeline.start("stream-processor");
    eventually_shares(&admin, &[16]).await;
    let mut second = pipeline.start("stream-processor");
    round().await;
    eventually_shares(&admin, &[8, 8]).await;
    assert_eq!(Census::new(&admin, "stream-processor").look().await.unwrap(), 2);
    round().await;
    let mut third = pipeline.start("stream-processor");
    round().await;
    // The new instance takes two of each. An instance delayed longer than its lease by a busy machine rejoins.
    eventually_shares_one_of(&admin, &[&[4, 6, 6], &[5, 5, 6]]).await;
    // One leaves gracefully, one dies, while ticks keep coming.
    third.terminate();
    round().await;
    assert_eq!(third.wait(), Some(0));
    eventually_shares(&admin, &[8, 8]).await;
    second.kill();
    round().await;
    eventually_shares(&admin, &[16]).await;
    let expected = round().await;
    eventually("every tick is accepted", || pipeline.count("accepted") == expected);
    assert_eq!((pipeline.count("duplicate"), pipeline.count("late")), (0, 0));
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_is_replaced_and_does_no_harm_when_it_wakes() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let admin = pipeline.server.connect("admin").await;
    let frozen = pipeline.start("stream-processor");
    eventually_shares(&admin, &[16]).await;
    publish_round(&producer, 1_600_000_000_000).await;
    frozen.signal("STOP");
    publish_round(&producer, 1_600_000_001_000).await;
    let other = pipeline.start("stream-processor");
    eventually("the other one processes", || pipeline.count("accepted") == 2 * u64::from(COINS));
    frozen.signal("CONT");
    publish_round(&producer, 1_600_000_002_000).await;
    eventually_shares(&admin, &[8, 8]).await;
    publish_round(&producer, 1_600_000_003_000).await;
    eventually("both process", || pipeline.count("accepted") == 4 * u64::from(COINS));
    assert_eq!((pipeline.count("duplicate"), pipeline.count("late")), (0, 0));
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_outage_takes_no_partition_from_a_living_owner() {
    let mut pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let admin = pipeline.server.connect("admin").await;
    // Long enough to be renewed on a busy machine.
    let ttl = Duration::from_secs(2);
    let start = || Running::start(pipeline.program("stream-processor").arg("run").env("CANDLEWIRE_LEASE_TTL", "2s"));
    let _first = start();
    eventually_shares(&admin, &[16]).await;
    let _second = start();
    eventually_shares(&admin, &[8, 8]).await;
    let before = owners(&admin, "stream-processor").await.unwrap();
    pipeline.server.kill();
    // Longer than the lease time to live.
    tokio::time::sleep(ttl * 2).await;
    pipeline.server.start_again();
    publish_round(&producer, 1_600_000_000_000).await;
    eventually("processing continues", || pipeline.count("accepted") == u64::from(COINS));
    assert_eq!(owners(&admin, "stream-processor").await.unwrap(), before, "no instance lost a partition");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_vanishes_is_written_again_and_the_work_goes_on() {
    let pipeline = TestPipeline::new().await;
    let admin = pipeline.server.connect("admin").await;
    let mut leases = Leases::join(&admin, "stream-processor", 2, TTL);
    let mut taken = Vec::new();
    while taken.len() < 2 {
        match leases.next().await.unwrap() {
            Change::Taken(lease) => taken.push(lease),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(leases.next().await.unwrap(), Change::Settled);
    admin.api::<serde_json::Value>("STREAM.PURGE.KV_LEASES", &serde_json::Value::Null).await.unwrap();
    while owners(&admin, "stream-processor").await.unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let quiet = tokio::time::timeout(TTL * 3, leases.next()).await;
    assert!(quiet.is_err(), "the owner was interrupted: {quiet:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_does_not_release_a_slot_taken_by_another() {
    let pipeline = TestPipeline::new().await;
    let admin = pipeline.server.connect("admin").await;
    let mut leases = Leases::join(&admin, "trainer", 1, TTL);
    let Change::Taken(first) = leases.next().await.unwrap() else { panic!("the slot is free") };
    assert_eq!(leases.next().await.unwrap(), Change::Settled);
    // A non-member overwrites the slot: it is lost, and free again at once.
    let claim = json!({ "owner": "nobody" }).to_string();
    admin.jetstream().publish("$KV.LEASES.trainer.slot.0", claim.into()).await.unwrap().await.unwrap();
    assert_eq!(leases.next().await.unwrap(), Change::Lost(0));
    let Change::Taken(second) = leases.next().await.unwrap() else { panic!("the slot is free again") };
    leases.release(first);
    let quiet = tokio::time::timeout(TTL, leases.next()).await;
    assert!(quiet.is_err(), "the old lease gave the new one back: {quiet:?}");
    leases.release(second);
    assert!(matches!(leases.next().await.unwrap(), Change::Taken(third) if third != second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_when_the_active_one_leaves_or_hangs() {
    let pipeline = TestPipeline::new().await;
    let (first, second) = (pipeline.server.connect("admin").await, pipeline.server.connect("admin").await);
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let active = LeaderLease::take(&first, "trainer", TTL, &health, &shutdown).await.unwrap().unwrap();
    let waiting = {
        let (connection, health, shutdown) = (second.clone(), Health::new(), shutdown.clone());
        tokio::spawn(async move { LeaderLease::take(&connection, "trainer", TTL, &health, &shutdown).await })
    };
    // While alive, it keeps the leader lease.
    tokio::time::sleep(TTL * 3).await;
    assert!(!waiting.is_finished());
    active.leave().await;
    let second_lease = waiting.await.unwrap().unwrap().unwrap();
    // Dropped without releasing its lease.
    drop(second_lease);
    let third = LeaderLease::take(&first, "trainer", TTL, &health, &shutdown).await.unwrap().unwrap();
    assert_eq!(living(&first, "trainer").await.unwrap().len(), 1);
    third.leave().await;
    assert!(living(&first, "trainer").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_trainers_the_standby_archives_when_the_other_freezes() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let _processor = pipeline.start("stream-processor");
    let train = |folder: &str| {
        let mut command = pipeline.program("trainer");
        command.args(["run", "--archive-every", "1s", "--archive"]).arg(pipeline.dir.path().join(folder));
        command
    };
    // Small files are merged. The names say how far the archive reaches: ticks-<first>-<last>-<digest>.parquet.
    let reaches = |folder: &str| {
        let entries = std::fs::read_dir(pipeline.dir.path().join(folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let last = |name: String| paths::parse_ticks_file(&name).map(|(_, last, _)| last);
        names.filter_map(last).max().unwrap_or(0)
    };
    let first = Running::start(&mut train("shared"));
    publish_round(&producer, 1_600_000_000_000).await;
    eventually("the first one archives", || reaches("shared") > 0);
    let (_second, mut log) = Running::start_followed(train("shared").env("CANDLEWIRE_LOG", "info"));
    let mut said = |words: &str| log.find(|line| line.as_ref().is_ok_and(|line| line.contains(words))).is_some();
    assert!(said("another instance is active, standing by"));
    first.signal("STOP");
    // The frozen one still holds the archive: the second one waits, and does not give up.
    assert!(said("waiting: "));
    let before = reaches("shared");
    first.signal("CONT");
    publish_round(&producer, 1_600_000_001_000).await;
    eventually("the second one archives", || reaches("shared") > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_judges_event_time_otherwise_is_refused() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let _processor = pipeline.start("stream-processor");
    publish_round(&producer, 1_600_000_000_000).await;
    let (code, error) = fail(pipeline.program("aggregator").args(["run", "--disorder", "10s"]));
    assert!(code == 3 && error.contains("give both the same --disorder and --lateness"), "{code} {error}");
    assert!(error.contains("disorder=5000") && error.contains("disorder=10000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_loss_goes_on_and_leaves_a_gap() {
    let pipeline = TestPipeline::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
    let producer = pipeline.server.connect("producer").await;
    let admin = pipeline.server.connect("admin").await;
    publish_round(&producer, 1_600_000_000_000).await;
    let mut first = pipeline.start("stream-processor");
    pipeline.wait_for_market();
    // Gracefully, so that the states are stored too.
    first.terminate();
    assert_eq!(first.wait(), Some(0));
    publish_round(&producer, 1_600_000_010_000).await;
    let purge = json!({ "seq": 2 * COINS + 1 });
    admin.api::<serde_json::Value>("STREAM.PURGE.FEED", &purge).await.unwrap();
    publish_round(&producer, 1_600_000_020_000).await;
    let (_stopped, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    assert!(stopped.contains("--accept-loss"), "{stopped}");
    drop(_stopped);
    let _accepting = Running::start(pipeline.program("stream-processor").args(["run", "--accept-loss"]));
    pipeline.wait_for_market();
    assert_eq!(pipeline.count("accepted"), 2 * u64::from(COINS));
    let gap = bus::query::last(&admin, bus::Stream::Market, "market.0.gap.coin-7.usd").await.unwrap().unwrap();
    let gap: serde_json::Value = serde_json::from_slice(&gap.payload).unwrap();
    assert_eq!(
        gap,
        json!({"coin": "coin-7", "quote": "usd", "from_ms": 1_600_000_000_000_i64, "to_ms": 1_600_000_020_000_i64, "cause": "input-lost"})
    );
}
