//! Three servers with a copy of each stream on each: one dies in the middle of commits, without visible effect.

use std::collections::BTreeMap;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, Stream, query, subject};
use market::Instrument;
use pipeline_tests::cluster::{Cluster, NODES};
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{Running, fail, succeed};
use pipeline_tests::test_pipeline::{LEASE_TTL_VARIABLE, TestPipeline};
use pipeline_tests::ticks::{publish_each, tick};
use pipeline_tests::users::USERS;
use serde_json::Value;

use crate::kills::{MIDDLE, SAMPLE, TICKS, undisturbed};

/// A month in about 27 seconds: not over before the servers have elected a new leader, even on a busy machine.
const SPEED: &str = "100000x";

/// A running replay through two processes of each step, with one server that leads every stream.
struct Replay {
    pipeline: TestPipeline<Cluster>,
    producer: Running,
    _services: [Running; 4],
}

impl Replay {
    async fn in_the_middle(leader: usize) -> Self {
        let pipeline = TestPipeline::clustered().await;
        pipeline.server.lead_all(leader).await;
        let services =
            ["stream-processor", "stream-processor", "aggregator", "aggregator"].map(|name| pipeline.start(name));
        let producer = pipeline.replay_in_the_middle(SAMPLE, MIDDLE, SPEED);
        Self { pipeline, producer, _services: services }
    }

    /// Lets everything finish; no row may be missing, doubled or late, on any server.
    async fn check(mut self) {
        assert_eq!(self.producer.wait(), Some(0));
        self.pipeline.wait();
        assert_eq!(&self.pipeline.tables(), undisturbed().await);
        assert_eq!(["accepted", "late", "duplicate"].map(|name| self.pipeline.count(name)), [TICKS, 0, 0]);
        self.pipeline.server.wait_until_whole();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_of_every_stream_leaves_no_trace() {
    let leader = 1;
    let mut replay = Replay::in_the_middle(leader).await;
    replay.pipeline.server.kill(leader);
    for stream in Stream::ALL {
        assert_ne!(replay.pipeline.server.wait_for_leader(stream), leader);
    }
    replay.pipeline.server.start_again(leader);
    check_permissions(&replay.pipeline).await;
    replay.check().await;
}

/// The users have the permissions of a single server.
async fn check_permissions(pipeline: &TestPipeline<Cluster>) {
    for user in USERS {
        pipeline.server.connect(user).await;
    }
    let (code, error) =
        fail(pipeline.program("topology").args(["--nats-user", "reporter", "apply", "--replicas", "3"]));
    assert!(code == 3 && error.contains("denies user \"reporter\""), "{code} {error}");
    // Guests send requests through their own accounts, from any server to the stream's leader on any server.
    for node in 0..NODES {
        let reader = Connection::open(&pipeline.server.nats_args_of(node, "reader"), None).await.unwrap();
        assert!(query::subjects(&reader, Stream::Stats).await.unwrap().len() > 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_copy_get_three() {
    let pipeline = TestPipeline { server: Cluster::start(), dir: tempfile::tempdir().unwrap() };
    let apply = |flags: &[&str]| succeed(pipeline.program("topology").arg("apply").args(flags));
    apply(&[]);
    assert!(apply(&["--replicas", "3"]).contains("raised: num_replicas 1 -> 3"));
    pipeline.server.wait_until_whole();
    assert!(apply(&[]).contains("as planned"), "what no flag says stays");
    let (code, error) = fail(pipeline.program("topology").args(["apply", "--replicas", "1"]));
    assert!(code == 3 && error.contains("ask for --replicas 3"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_prices_of_a_cluster_are_prompt_and_keep_their_owners() {
    const ROUNDS: i64 = 40;
    const COINS: usize = 4;
    let pipeline = TestPipeline::clustered().await;
    let mut command = pipeline.program("stream-processor");
    // The default lease time to live: a cluster beside other tests may take half a second to answer.
    let mut processor = Watched::start(command.arg("run").env_remove(LEASE_TTL_VARIABLE), |_| ());
    let _aggregator = pipeline.start("aggregator");
    let (producer, admin) = (pipeline.server.connect("producer").await, pipeline.server.connect("admin").await);
    // All in one partition, so that their results are stored one after the other.
    let coins = (0..).map(|number| format!("coin-{number}"));
    let coins: Vec<_> = coins.filter(|coin| subject::partition(coin, "usd", 16) == 5).take(COINS).collect();
    let coins: Vec<_> = coins.iter().map(|coin| Instrument::new(coin, "usd").unwrap()).collect();
    for round in 0..ROUNDS {
        // Every fifth round closes a minute.
        let ticks: Vec<_> = coins.iter().map(|coin| tick(coin, 1_600_000_000_000 + round * 13_000)).collect();
        // The first ones alone, so that they are live even if the step starts slowly.
        for together in ticks.chunks(if round < 2 { 1 } else { COINS }) {
            publish_each(&producer, together).await.unwrap();
            if round < 2 {
                pipeline.wait();
            }
        }
    }
    pipeline.wait();
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let selection = Selection { stream: Stream::Market, filters: vec!["market.5.price.>".to_owned()], from: 1 };
    let read = read_to_end(&admin, selection, |delivery| {
        for (_, line) in bus::codec::lines(&delivery.payload) {
            let price: Value = serde_json::from_slice(line).unwrap();
            times.entry(delivery.subject.to_string()).or_default().push(price["event_ms"].as_i64().unwrap());
        }
        Ok::<_, bus::Error>(())
    });
    read.await.unwrap();
    let expected: Vec<i64> = (0..ROUNDS).map(|round| 1_600_000_000_000 + round * 13_000).collect();
    assert!(times.len() == COINS && times.values().all(|found| *found == expected), "{times:?}");
    succeed(pipeline.program("aggregator").arg("audit"));
    let taken = processor.metric("lease_changes_total{change=\"taken\"}");
    assert_eq!(taken, Some(16.0), "each partition was taken once: no early republishing counted as another owner");
    processor.process.terminate();
    assert_eq!(processor.process.wait(), Some(0));
}
