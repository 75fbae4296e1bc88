//! Live results are committed without the states that contain their input: published at once, and neither lost nor
//! doubled when the step dies before it stores those states.

use std::time::Instant;

use async_nats::Subscriber;
use bus::protocol::Position;
use bus::protocol::positions;
use bus::reader::{Delivery, Selection, read_to_end};
use bus::{Connection, Error, NatsArgs, Stream, subject};
use futures::{FutureExt, StreamExt};
use pipeline_tests::programs::{NEVER, Running, eventually, succeed};
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::publish_tick;
use serde_json::Value;

/// Within a minute from 960 s to 1,020 s.
const FIRST_MS: i64 = 1_600_000_000_000;
const PRICE: &str = "live.price.bitcoin.usd";

fn partition() -> u32 {
    subject::partition("bitcoin", "usd", 16)
}

/// Both steps and a viewer.
struct Watched {
    pipeline: TestPipeline,
    processor: Running,
    aggregator: Running,
    producer: Connection,
    admin: Connection,
    prices: Subscriber,
}

impl Watched {
    /// Commits one tick, so that the next one is live.
    async fn start() -> Self {
        let pipeline = TestPipeline::new().await;
        let viewer = Connection::open(&NatsArgs::at(pipeline.server.url()), None).await.unwrap();
        let prices = viewer.client().subscribe(PRICE).await.unwrap();
        viewer.client().flush().await.unwrap();
        let (producer, admin) = (pipeline.server.connect("producer").await, pipeline.server.connect("admin").await);
        let (processor, aggregator) = (pipeline.start("stream-processor"), pipeline.start("aggregator"));
        let mut watched = Self { pipeline, processor, aggregator, producer, admin, prices };
        watched.show(FIRST_MS).await;
        watched.pipeline.wait();
        watched
    }

    /// Publishes a tick and waits until a viewer has received its price.
    async fn show(&mut self, event_ms: i64) {
        publish_tick(&self.producer, event_ms).await;
        let shown = tokio::time::timeout(NEVER, self.prices.next()).await.expect("the price is published").unwrap();
        let price: Value = serde_json::from_slice(&shown.payload).unwrap();
        assert_eq!(price["event_ms"], event_ms);
    }

    /// The position of a step.
    async fn position(&self, output: Stream) -> Position<Value> {
        let positions = positions::<Value>(&self.admin, output).await.unwrap();
        positions.into_iter().find(|(number, _)| *number == partition()).unwrap().1
    }

    /// Whether the stored states of a step lack inputs that its results contain.
    async fn is_unsettled(&self, output: Stream) -> bool {
        let Position { settled, position, .. } = self.position(output).await;
        settled < position
    }

    /// Numbers of accepted, duplicate and late ticks.
    fn counts(&self) -> [u64; 3] {
        ["accepted", "duplicate", "late"].map(|name| self.pipeline.count(name))
    }

    /// All results of MARKET of one kind, in order.
    async fn results(&self, kind: &str) -> Vec<Delivery> {
        let filters = vec![format!("market.*.{kind}.bitcoin.usd")];
        let mut found = Vec::new();
        let selection = Selection { stream: Stream::Market, filters, from: 1 };
        let read = read_to_end(&self.admin, selection, |delivery| {
            found.push(delivery);
            Ok::<_, Error>(())
        });
        read.await.unwrap();
        found
    }

    /// The event times of all prices, in stored order.
    async fn price_times(&self) -> Vec<i64> {
        let prices = self.results("price").await;
        let lines = prices.iter().flat_map(|price| bus::codec::lines(&price.payload));
        lines.map(|(_, line)| serde_json::from_slice::<Value>(line).unwrap()["event_ms"].as_i64().unwrap()).collect()
    }

    fn audit(&self) {
        succeed(self.pipeline.program("aggregator").arg("audit"));
    }
}

/// Kills a step after a commit of results and before the states that contain their input are stored. Every result
/// stays, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_states_are_stored_keeps_each_output_once() {
    const ROUNDS: i64 = 12;
    let mut watched = Watched::start().await;
    let mut unsettled = 0;
    for round in 1..=ROUNDS {
        // Every fifth tick closes a minute: then a price and a candle are published.
        watched.show(FIRST_MS + round * 13_000).await;
        watched.processor.kill();
        unsettled += i64::from(watched.is_unsettled(Stream::Market).await);
        watched.audit();
        watched.processor = watched.pipeline.start("stream-processor");
    }
    assert!(unsettled >= ROUNDS / 2, "killed only {unsettled} of {ROUNDS} times between result and state");
    watched.show(FIRST_MS + 600_000).await;
    watched.pipeline.wait();
    let expected: Vec<i64> = (0..=ROUNDS).map(|round| FIRST_MS + round * 13_000).chain([FIRST_MS + 600_000]).collect();
    assert_eq!(watched.price_times().await, expected);
    assert_eq!(watched.counts(), [ROUNDS as u64 + 2, 0, 0]);
    watched.audit();
}

/// A partition without a pause seldom stores its states: the next owner replays many inputs, and publishes none of the
/// results again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_busy_partition_replays_the_input_its_states_lack() {
    const MANY: u64 = 100;
    let mut watched = Watched::start().await;
    let viewer = watched.pipeline.server.connect("reporter").await;
    let mut provisional = viewer.client().subscribe("live.provisional.1m.bitcoin.usd").await.unwrap();
    let mut event_times = (FIRST_MS..).step_by(100);
    let (mut shown, mut opened) = (vec![event_times.next().unwrap()], 0);
    let deadline = Instant::now() + NEVER;
    // Until the states lack this many inputs, and an open window with one of them was published.
    loop {
        shown.push(event_times.next().unwrap());
        watched.show(shown[shown.len() - 1]).await;
        while let Some(message) = provisional.next().now_or_never() {
            let candle: Value = serde_json::from_slice(&message.unwrap().payload).unwrap();
            opened = candle["last_seq"].as_u64().unwrap();
        }
        let Position { position, settled, .. } = watched.position(Stream::Market).await;
        if settled + MANY < position && settled < opened {
            break;
        }
        assert!(Instant::now() < deadline, "position {position}, settled {settled}, open {opened}");
    }
    watched.processor.kill();
    watched.audit();
    let killed_at = watched.position(Stream::Market).await.position;
    watched.processor = watched.pipeline.start("stream-processor");
    // It is never idle, and its scheduled commit comes. The aggregator publishes its open windows too.
    let mut open_hours = viewer.client().subscribe("live.provisional.1h.bitcoin.usd").await.unwrap();
    let mut is_hour_shown = false;
    while watched.position(Stream::Market).await.settled <= killed_at || !is_hour_shown {
        is_hour_shown |= open_hours.next().now_or_never().is_some();
        shown.push(event_times.next().unwrap());
        watched.show(shown[shown.len() - 1]).await;
        assert!(Instant::now() < deadline, "shown {}", shown.len());
    }
    watched.pipeline.wait();
    assert_eq!(watched.price_times().await, shown);
    assert_eq!(watched.counts(), [shown.len() as u64, 0, 0]);
    watched.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_keeps_the_input_that_a_new_owner_replays() {
    const MINUTES: i64 = 60_000;
    let mut watched = Watched::start().await;
    let viewer = watched.pipeline.server.connect("reporter").await;
    let mut candles = viewer.client().subscribe("live.stats.5m.bitcoin.usd").await.unwrap();
    let mut shown = vec![FIRST_MS];
    let deadline = Instant::now() + NEVER;
    // Until the aggregator is killed between a candle and the state that contains its input.
    while !watched.is_unsettled(Stream::Stats).await {
        watched.aggregator.kill();
        watched.aggregator = watched.pipeline.start("aggregator");
        // Each closes a window of five minutes.
        shown.push(FIRST_MS + shown.len() as i64 * 6 * MINUTES);
        watched.show(shown[shown.len() - 1]).await;
        tokio::time::timeout(NEVER, candles.next()).await.expect("a candle is published");
        watched.aggregator.kill();
        assert!(Instant::now() < deadline, "killed {} times", shown.len());
    }
    let settled = watched.position(Stream::Stats).await.settled;
    succeed(watched.pipeline.program("topology").args(["trim", "market", "--older-than", "0s"]));
    let left = watched.price_times().await;
    assert!(left.len() < shown.len() && shown.ends_with(&left), "{left:?} of {shown:?}, settled {settled}");
    watched.aggregator = watched.pipeline.start("aggregator");
    watched.show(shown[shown.len() - 1] + 6 * MINUTES).await;
    watched.pipeline.wait();
    let prices = watched.position(Stream::Stats).await.counts["prices"].clone();
    assert_eq!(prices, shown.len() + 1, "each price is aggregated once");
    watched.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_stores_the_states_of_all_committed_results() {
    let mut watched = Watched::start().await;
    watched.show(FIRST_MS + 1_000).await;
    watched.processor.terminate();
    assert_eq!(watched.processor.wait(), Some(0));
    let Position { position, settled, .. } = watched.position(Stream::Market).await;
    assert_eq!((position, settled), (2, 2));
    assert_eq!(watched.counts()[0], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_kill_between_result_and_state_stores_each_once() {
    let mut watched = Watched::start().await;
    watched.show(FIRST_MS + 1_000).await;
    watched.pipeline.server.kill();
    watched.pipeline.server.start_again();
    publish_tick(&watched.producer, FIRST_MS + 2_000).await;
    eventually("all is committed", || watched.pipeline.count("accepted") == 3);
    assert_eq!(watched.price_times().await, [FIRST_MS, FIRST_MS + 1_000, FIRST_MS + 2_000]);
    watched.audit();
}
