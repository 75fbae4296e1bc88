//! kill -9 in the middle of a replay, of each process in turn: the same tables, byte for byte.

use std::collections::BTreeMap;

use pipeline_tests::programs::{Running, eventually, succeed};
use pipeline_tests::world::{World, sample};
use tokio::sync::OnceCell;

pub(crate) const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
/// A month in about five seconds: long enough to be killed in the middle, in hundreds of commits.
const SPEED: &str = "600000x";
/// Ticks of the sample.
pub(crate) const TICKS: u64 = 44_512;
/// Ticks after which a replay is in its middle.
pub(crate) const MIDDLE: u64 = 8_000;

/// The tables of a replay that nobody disturbs.
pub(crate) async fn undisturbed() -> &'static BTreeMap<&'static str, String> {
    static TABLES: OnceCell<BTreeMap<&'static str, String>> = OnceCell::const_new();
    TABLES
        .get_or_init(async || {
            let world = World::new().await;
            let _services = [world.start("stream-processor"), world.start("aggregator")];
            succeed(&mut world.replay(&sample(SAMPLE), "1m"));
            world.wait();
            world.tables()
        })
        .await
}

/// A pipeline in the middle of a replay.
struct Replay {
    world: World,
    processor: Running,
    aggregator: Running,
    producer: Running,
}

impl Replay {
    async fn in_the_middle() -> Self {
        let world = World::new().await;
        let (processor, aggregator) = (world.start("stream-processor"), world.start("aggregator"));
        let producer = Running::start(world.replay(&sample(SAMPLE), "1m").args(["--speed", SPEED]));
        let mut replay = Self { world, processor, aggregator, producer };
        eventually("the middle of the replay", || replay.world.count("accepted") > MIDDLE);
        assert!(replay.producer.is_running(), "the replay was over before anything was killed");
        replay
    }

    /// Lets everything finish; nothing may be missing, doubled or late.
    async fn check(mut self) {
        assert_eq!(self.producer.wait(), Some(0));
        self.world.wait();
        assert_eq!(&self.world.tables(), undisturbed().await);
        let counts = ["accepted", "late", "duplicate"].map(|name| self.world.count(name));
        assert_eq!(counts, [TICKS, 0, 0]);
        drop((self.processor, self.aggregator));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_stream_processor_leaves_no_trace() {
    let mut replay = Replay::in_the_middle().await;
    replay.processor.kill();
    replay.processor = replay.world.start("stream-processor");
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_aggregator_leaves_no_trace() {
    let mut replay = Replay::in_the_middle().await;
    replay.aggregator.kill();
    replay.aggregator = replay.world.start("aggregator");
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_producer_goes_on_where_it_was() {
    let mut replay = Replay::in_the_middle().await;
    replay.producer.kill();
    replay.producer = Running::start(replay.world.replay(&sample(SAMPLE), "1m").args(["--speed", SPEED]));
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nats_server_leaves_no_trace() {
    let mut replay = Replay::in_the_middle().await;
    replay.world.server.kill();
    replay.world.server.start_again();
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signal_drains_within_its_deadline() {
    let mut replay = Replay::in_the_middle().await;
    replay.processor.terminate();
    replay.aggregator.terminate();
    assert_eq!((replay.processor.wait(), replay.aggregator.wait()), (Some(0), Some(0)));
    replay.processor = replay.world.start("stream-processor");
    replay.aggregator = replay.world.start("aggregator");
    replay.check().await;
}
