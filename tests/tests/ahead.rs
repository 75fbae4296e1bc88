//! Results ahead of their commit: shown at once, and whatever happens before the commit, neither lost nor doubled.

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Subscriber};
use bus::ahead::{AHEAD_HEADER, Mark};
use bus::protocol::positions;
use bus::reader::{Delivery, Selection, read_to_end};
use bus::{Connection, Error, NatsArgs, Stream, history, subject};
use futures::{FutureExt, StreamExt};
use market::{Candle, EventTime, Span, Window};
use pipeline_tests::programs::{NEVER, Running, eventually, succeed};
use pipeline_tests::ticks::{bitcoin, publish_tick, tick_line};
use pipeline_tests::world::World;
use serde_json::{Value, json};

/// In a minute from 960 s to 1,020 s.
const FIRST_MS: i64 = 1_600_000_000_000;
const PRICE: &str = "live.price.bitcoin.usd";

fn partition() -> u32 {
    subject::partition("bitcoin", "usd", 16)
}

/// Both steps, and who looks.
struct Watched {
    world: World,
    processor: Running,
    _aggregator: Running,
    producer: Connection,
    admin: Connection,
    prices: Subscriber,
}

impl Watched {
    /// One tick is committed, so that the next one is live.
    async fn start() -> Self {
        let world = World::new().await;
        let viewer = Connection::open(&NatsArgs::at(world.server.url()), None).await.unwrap();
        let prices = viewer.client().subscribe(PRICE).await.unwrap();
        viewer.client().flush().await.unwrap();
        let (producer, admin) = (world.server.connect("producer").await, world.server.connect("admin").await);
        let (processor, aggregator) = (world.start("stream-processor"), world.start("aggregator"));
        let mut watched = Self { world, processor, _aggregator: aggregator, producer, admin, prices };
        watched.show(FIRST_MS).await;
        watched.world.wait();
        watched
    }

    /// Publishes a tick and waits until a viewer has its price.
    async fn show(&mut self, event_ms: i64) {
        publish_tick(&self.producer, event_ms).await;
        let shown = tokio::time::timeout(NEVER, self.prices.next()).await.expect("the price is shown").unwrap();
        let price: Value = serde_json::from_slice(&shown.payload).unwrap();
        assert_eq!(price["event_ms"], event_ms);
    }

    /// The last input that the stream-processor has committed.
    async fn committed(&self) -> u64 {
        let positions = positions::<Value>(&self.admin, Stream::Market).await.unwrap();
        positions.into_iter().find(|(number, _)| *number == partition()).unwrap().1.position
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

    /// The event times of all prices, in the order in which they are stored.
    async fn price_times(&self) -> Vec<i64> {
        let prices = self.results("price").await;
        let lines = prices.iter().flat_map(|price| bus::codec::lines(&price.payload));
        lines.map(|(_, line)| serde_json::from_slice::<Value>(line).unwrap()["event_ms"].as_i64().unwrap()).collect()
    }

    fn audit(&self) {
        succeed(self.world.program("aggregator").arg("audit"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_before_its_commit_is_neither_lost_nor_doubled_by_a_kill() {
    const ROUNDS: i64 = 12;
    let mut watched = Watched::start().await;
    let mut ahead = 0;
    for round in 1..=ROUNDS {
        // Every fifth closes a minute: a price and a candle are shown then.
        watched.show(FIRST_MS + round * 13_000).await;
        watched.processor.kill();
        let marks = watched.results("price").await.into_iter().filter_map(|price| Mark::of(price.headers.as_ref()));
        if marks.last().is_some_and(|mark| mark.input > 1) && watched.committed().await < round as u64 + 1 {
            ahead += 1;
            // STATS may know by now what MARKET's position does not cover.
            watched.audit();
        }
        watched.processor = watched.world.start("stream-processor");
    }
    assert!(ahead >= ROUNDS / 2, "killed only {ahead} of {ROUNDS} times between price and commit");
    watched.show(FIRST_MS + 600_000).await;
    watched.world.wait();
    let expected: Vec<i64> = (0..=ROUNDS).map(|round| FIRST_MS + round * 13_000).chain([FIRST_MS + 600_000]).collect();
    assert_eq!(watched.price_times().await, expected);
    let counts = ["accepted", "duplicate", "late"].map(|name| watched.world.count(name));
    assert_eq!(counts, [ROUNDS as u64 + 2, 0, 0]);
    watched.audit();
}

/// A partition without a pause commits seldom: its viewers do not notice, and whoever takes it over finds many results behind
/// its position.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_partition_shows_what_it_has_not_committed_and_a_kill_then_neither_loses_nor_doubles_it() {
    const MANY: u64 = 100;
    let mut watched = Watched::start().await;
    let viewer = watched.world.server.connect("reporter").await;
    let mut provisional = viewer.client().subscribe("live.provisional.1m.bitcoin.usd").await.unwrap();
    let mut event_times = (FIRST_MS..).step_by(100);
    let (mut shown, mut opened) = (vec![event_times.next().unwrap()], 0);
    let deadline = Instant::now() + NEVER;
    // Until there are so many results behind the position, and its open window was shown with one of them.
    while shown.len() as u64 <= watched.committed().await + MANY || opened <= watched.committed().await {
        shown.push(event_times.next().unwrap());
        watched.show(shown[shown.len() - 1]).await;
        while let Some(message) = provisional.next().now_or_never() {
            let candle: Value = serde_json::from_slice(&message.unwrap().payload).unwrap();
            opened = candle["last_seq"].as_u64().unwrap();
        }
        assert!(
            Instant::now() < deadline,
            "position {}, shown {}, open {opened}",
            watched.committed().await,
            shown.len()
        );
    }
    watched.processor.kill();
    watched.audit();
    watched.processor = watched.world.start("stream-processor");
    // It never gets quiet, and its turn comes. The aggregator shows its open windows too.
    let killed_at = shown.len() as u64;
    let mut open_hours = viewer.client().subscribe("live.provisional.1h.bitcoin.usd").await.unwrap();
    let mut is_hour_shown = false;
    while watched.committed().await <= killed_at || !is_hour_shown {
        is_hour_shown |= open_hours.next().now_or_never().is_some();
        shown.push(event_times.next().unwrap());
        watched.show(shown[shown.len() - 1]).await;
        assert!(Instant::now() < deadline, "position {}, shown {}", watched.committed().await, shown.len());
    }
    watched.world.wait();
    assert_eq!(watched.price_times().await, shown);
    let counts = ["accepted", "duplicate", "late"].map(|name| watched.world.count(name));
    assert_eq!(counts, [shown.len() as u64, 0, 0]);
    watched.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_leaves_what_the_next_owner_has_to_find() {
    let mut watched = Watched::start().await;
    let mut shown = vec![FIRST_MS];
    // Until it is killed between price and commit.
    while watched.committed().await == shown.len() as u64 {
        watched.processor.kill();
        watched.processor = watched.world.start("stream-processor");
        shown.push(FIRST_MS + shown.len() as i64 * 1_000);
        watched.show(shown[shown.len() - 1]).await;
        watched.processor.kill();
    }
    eventually("STATS is up to date", || watched.world.standing()["steps"]["aggregator"]["done"] == true);
    succeed(watched.world.program("topology").args(["trim", "market", "--older-than", "0s"]));
    let left = watched.price_times().await;
    assert!(left.len() < shown.len() && shown.ends_with(&left), "{left:?} of {shown:?}");
    watched.processor = watched.world.start("stream-processor");
    watched.world.wait();
    assert_eq!(watched.price_times().await, left);
    assert_eq!(watched.world.count("accepted"), shown.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_taken_over_shows_nothing_more() {
    let mut watched = Watched::start().await;
    let processor = watched.world.server.connect("stream-processor").await;
    let owner = subject::owner(Stream::Market, partition());
    let owned_at = async || history::last(&watched.admin, Stream::Market, &owner).await.unwrap().unwrap().seq;
    let before = owned_at().await;
    watched.processor.kill();
    watched.processor = watched.world.start("stream-processor");
    let taken = async {
        while owned_at().await == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(NEVER, taken).await.expect("the partition is taken over");
    let (code, stored) = store(&processor, "price", "price/1", &line(FIRST_MS + 1_000, 2), "2 1/1", before).await;
    assert_eq!((code, stored), (10071, false));
    watched.show(FIRST_MS + 1_000).await;
    watched.world.wait();
    assert_eq!(watched.price_times().await, [FIRST_MS, FIRST_MS + 1_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_of_which_half_was_shown_gets_the_other_half() {
    let mut watched = Watched::start().await;
    watched.processor.kill();
    // The next tick closes the first minute. Its candle was stored, its price was not.
    let closes = FIRST_MS + 120_000;
    let feed_seq = publish_tick(&watched.producer, closes).await.seq;
    let processor = watched.world.server.connect("stream-processor").await;
    let owner = subject::owner(Stream::Market, partition());
    let owned_at = history::last(&watched.admin, Stream::Market, &owner).await.unwrap().unwrap().seq;
    let close = tick_line(&bitcoin(), FIRST_MS).close;
    let candle = Candle {
        coin: "bitcoin".into(),
        quote: "usd".into(),
        window: Window::Minute,
        start: EventTime(FIRST_MS - 40_000),
        end: EventTime(FIRST_MS + 20_000),
        open: close,
        high: close,
        low: close,
        close,
        average: close,
        volume: None,
        volume_count: None,
        count: 1,
        coverage: 1.0 / 60.0,
        grain: Some(Span::seconds(1)),
        revision: 1,
        is_final: true,
        first_seq: 1,
        last_seq: 1,
    };
    let candle = serde_json::to_string(&candle).unwrap();
    let (code, stored) =
        store(&processor, "candle-1m", "candle/1", &candle, &format!("{feed_seq} 1/2"), owned_at).await;
    assert_eq!((code, stored), (0, true));
    watched.audit();
    watched.processor = watched.world.start("stream-processor");
    watched.world.wait();
    assert_eq!(watched.price_times().await, [FIRST_MS, closes]);
    assert_eq!(watched.results("candle-1m").await.len(), 1);
    let prices = watched.results("price").await;
    let mark = Mark::of(prices.last().unwrap().headers.as_ref());
    assert_eq!(mark, Some(Mark { input: feed_seq, number: 2, of: 2 }));
    assert_eq!(watched.world.count("accepted"), 2);
    watched.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_was_shown() {
    let mut watched = Watched::start().await;
    watched.show(FIRST_MS + 1_000).await;
    watched.processor.terminate();
    assert_eq!(watched.processor.wait(), Some(0));
    assert_eq!(watched.committed().await, 2);
    assert_eq!(watched.world.count("accepted"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_between_price_and_commit_has_all_of_it_once() {
    let mut watched = Watched::start().await;
    watched.show(FIRST_MS + 1_000).await;
    watched.world.server.kill();
    watched.world.server.start_again();
    publish_tick(&watched.producer, FIRST_MS + 2_000).await;
    eventually("all is committed", || watched.world.count("accepted") == 3);
    assert_eq!(watched.price_times().await, [FIRST_MS, FIRST_MS + 1_000, FIRST_MS + 2_000]);
    watched.audit();
}

/// The price of a tick as the stream-processor writes it.
fn line(event_ms: i64, feed_seq: u64) -> String {
    let close = tick_line(&bitcoin(), event_ms).close;
    json!({
        "coin": "bitcoin", "quote": "usd", "event_ms": event_ms, "grain_ms": 1_000, "close": close, "feed_seq": feed_seq,
    })
    .to_string()
}

/// Stores a result as an owner does that was written down there; returns the error code, and whether it is stored.
async fn store(connection: &Connection, kind: &str, schema: &str, line: &str, mark: &str, owner: u64) -> (u64, bool) {
    let mut headers = HeaderMap::new();
    headers.insert("Candlewire-Schema", schema);
    headers.insert(AHEAD_HEADER, mark);
    headers.insert("Nats-Expected-Last-Subject-Sequence", owner.to_string());
    headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", subject::owner(Stream::Market, partition()));
    let subject = format!("market.{}.{kind}.bitcoin.usd", partition());
    let answer = connection.request(subject, Some(headers), line.to_owned().into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    (answer["error"]["err_code"].as_u64().unwrap_or_default(), answer["seq"].as_u64().is_some_and(|seq| seq > 0))
}
