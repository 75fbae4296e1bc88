//! kill -9 in the middle of a replay, for each process in turn: the tables are equal byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write;

use bus::RecordKind;
use pipeline_tests::programs::{Running, eventually, succeed};
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use tokio::sync::OnceCell;

pub(crate) const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
/// A month in about nine seconds: hundreds of commits after the first rows.
const SPEED: &str = "300000x";
/// Ticks of the sample.
pub(crate) const TICKS: u64 = 44_512;
/// Ticks committed before the kill.
pub(crate) const MIDDLE: u64 = 8_000;

/// The tables of an undisturbed replay.
pub(crate) async fn undisturbed() -> &'static BTreeMap<&'static str, String> {
    static TABLES: OnceCell<BTreeMap<&'static str, String>> = OnceCell::const_new();
    TABLES
        .get_or_init(async || {
            let pipeline = TestPipeline::new().await;
            let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
            succeed(&mut pipeline.replay(&sample(SAMPLE), "1m"));
            pipeline.wait();
            pipeline.tables()
        })
        .await
}

/// A running replay, in its middle.
struct Replay {
    pipeline: TestPipeline,
    processor: Running,
    aggregator: Running,
    producer: Running,
}

impl Replay {
    async fn in_the_middle() -> Self {
        let pipeline = TestPipeline::new().await;
        let (processor, aggregator) = (pipeline.start("stream-processor"), pipeline.start("aggregator"));
        let producer = pipeline.replay_in_the_middle(SAMPLE, MIDDLE, SPEED);
        Self { pipeline, processor, aggregator, producer }
    }

    /// Lets everything finish; no row may be missing, doubled or late.
    async fn check(mut self) {
        assert_eq!(self.producer.wait(), Some(0));
        self.pipeline.wait();
        assert_eq!(&self.pipeline.tables(), undisturbed().await);
        let counts = ["accepted", "late", "duplicate"].map(|name| self.pipeline.count(name));
        assert_eq!(counts, [TICKS, 0, 0]);
        drop((self.processor, self.aggregator));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_stream_processor_leaves_no_trace() {
    let mut replay = Replay::in_the_middle().await;
    replay.processor.kill();
    replay.processor = replay.pipeline.start("stream-processor");
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_aggregator_leaves_no_trace() {
    let mut replay = Replay::in_the_middle().await;
    replay.aggregator.kill();
    replay.aggregator = replay.pipeline.start("aggregator");
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_producer_goes_on_where_it_was() {
    let mut replay = Replay::in_the_middle().await;
    replay.producer.kill();
    replay.producer = Running::start(replay.pipeline.replay(&sample(SAMPLE), "1m").args(["--speed", SPEED]));
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nats_server_leaves_no_trace() {
    let mut replay = Replay::in_the_middle().await;
    replay.pipeline.server.kill();
    replay.pipeline.server.start_again();
    replay.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signal_drains_within_its_deadline() {
    let mut replay = Replay::in_the_middle().await;
    replay.processor.terminate();
    replay.aggregator.terminate();
    assert_eq!((replay.processor.wait(), replay.aggregator.wait()), (Some(0), Some(0)));
    replay.processor = replay.pipeline.start("stream-processor");
    replay.aggregator = replay.pipeline.start("aggregator");
    replay.check().await;
}

/// A producer that is killed again and again publishes every tick, every gap and the end of the recording once.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeatedly_killed_producer_publishes_everything_once() {
    const MINUTE: i64 = 60_000;
    const START: i64 = 1_583_020_800_000;
    let pipeline = TestPipeline::new().await;
    // Two minutes present, then three missing.
    let times: Vec<i64> = (0..800).map(|row| START + (row / 2 * 5 + row % 2) * MINUTE).collect();
    let mut text = "timestamp_ms,open,high,low,close,volume\n".to_owned();
    times.iter().for_each(|ms| writeln!(text, "{ms},1,2,0.5,1.5,1").unwrap());
    let file = pipeline.dir.path().join("gaps.csv");
    std::fs::write(&file, text).unwrap();
    // The whole replay would take twelve seconds.
    let start = |speed| Running::start(pipeline.replay(&file, "1m").args(["--speed", speed]));
    let stored = || pipeline.standing()["streams"]["FEED"]["messages"].as_u64().unwrap();
    for _ in 0..5 {
        let mut producer = start("10000x");
        let before = stored();
        eventually("the replay continues", || stored() > before + 20);
        producer.kill();
    }
    assert_eq!(start("max").wait(), Some(0));
    // The end is published already.
    assert_eq!(start("max").wait(), Some(0));
    let numbers = |records: Vec<serde_json::Value>, field: &str| -> Vec<i64> {
        records.iter().map(|record| record[field].as_i64().unwrap()).collect()
    };
    assert_eq!(numbers(pipeline.feed(RecordKind::Tick).await, "event_ms"), times);
    let gaps: Vec<i64> = (0..399).map(|pair| START + (pair * 5 + 2) * MINUTE).collect();
    assert_eq!(numbers(pipeline.feed(RecordKind::Gap).await, "from_ms"), gaps);
    assert_eq!(numbers(pipeline.feed(RecordKind::Heartbeat).await, "event_ms"), times[times.len() - 1..]);
}
