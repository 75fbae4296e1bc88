//! The page's live events: each comes once, through reconnects, floods, silent clients and an outage.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use bus::reader::{Selection, read_to_end};
use bus::subject::{self, SubjectParts};
use bus::{Connection, RecordKind, Stream, codec};
use futures::future::join_all;
use market::Instrument;
use pipeline_tests::event_stream::{Event, EventStream};
use pipeline_tests::health::Watched;
use pipeline_tests::process::peak_bytes;
use pipeline_tests::programs::{Running, eventually};
use pipeline_tests::served_page::ServedPage;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{bitcoin, minutes, publish_tick_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const START_MS: i64 = 1_600_000_000_000;
/// The events of bitcoin alone.
const BITCOIN: &str = "?coin=bitcoin&quote=usd";
/// Clients at the same time, at most.
const CLIENTS_MAX: usize = 512;

/// A pipeline with its page.
struct LivePage {
    pipeline: TestPipeline,
    steps: [Running; 2],
    reporter: Watched,
    addr: String,
    producer: Connection,
}

impl LivePage {
    async fn start() -> Self {
        let pipeline = TestPipeline::new().await;
        let steps = ["stream-processor", "aggregator"].map(|step| pipeline.start(step));
        let (reporter, addr) = start_reporter(&mut pipeline.program("reporter"));
        let producer = pipeline.server.connect("producer").await;
        Self { pipeline, steps, reporter, addr, producer }
    }

    async fn events(&self, query: &str) -> EventStream {
        EventStream::open(&self.addr, query, None).await
    }

    /// Publishes a tick of two instruments at this second.
    async fn tick(&self, second: i64) {
        for instrument in [bitcoin(), Instrument::new("ethereum", "usd").unwrap()] {
            publish_tick_of(&self.producer, &instrument, START_MS + second * 1_000).await;
        }
    }

    /// The events that the stored messages of a stream are, in order.
    async fn stored(&self, stream: Stream) -> Vec<String> {
        let admin = self.pipeline.server.connect("admin").await;
        let mut told = Vec::new();
        let selection = Selection { stream, filters: vec![subject::all(stream)], from: 1 };
        let read = read_to_end(&admin, selection, |delivery| {
            let lines = codec::lines(&delivery.payload).map(|(_, line)| serde_json::from_slice(line).unwrap());
            told.extend(told_of_stored(&delivery.subject, delivery.seq, &lines.collect::<Vec<Value>>()));
            Ok::<_, bus::Error>(())
        });
        read.await.unwrap();
        told
    }

    /// Reads events until as many have come as messages are stored, and checks that they are the same.
    async fn check_complete(&self, events: &mut EventStream, mut seen: Vec<Event>) {
        self.pipeline.wait();
        let expected = [self.stored(Stream::Market).await, self.stored(Stream::Stats).await];
        while told(&seen).map(|told| told.len()) != expected.each_ref().map(Vec::len) {
            seen.push(events.next().await.expect("the stream goes on"));
        }
        assert_eq!(told(&seen), expected);
        let ids: Vec<Vec<u64>> = seen.iter().filter_map(|event| event.id.as_deref()).map(numbers).collect();
        assert!(ids.windows(2).all(|pair| pair[0].last() < pair[1].last()), "{ids:?}");
        let rises = |part: usize| ids.windows(2).all(|pair| pair[0][part] <= pair[1][part]);
        assert!(rises(0) && rises(1) && rises(2), "{ids:?}");
    }
}

/// A reporter that has read what is stored, and the address of its page.
fn start_reporter(command: &mut Command) -> (Watched, String) {
    let page = ServedPage::start(command);
    page.until_ready();
    (page.reporter, page.addr)
}

/// The parts of an id.
fn numbers(id: &str) -> Vec<u64> {
    id.split('-').map(|part| part.parse().unwrap()).collect()
}

/// The stored records that events tell of, in order: of MARKET and of STATS.
fn told(events: &[Event]) -> [Vec<String>; 2] {
    let [mut market, mut stats] = [Vec::new(), Vec::new()];
    for event in events {
        match event.name.as_str() {
            "price" => market.push(format!("price {}", event.data["seq"])),
            "candle" if event.data["window"] == "1m" => market.push(told_of_candles(&event.data["candles"])),
            "candle" => stats.push(told_of_candles(&event.data["candles"])),
            "hour" => stats.push(told_of_hours(&event.data["hours"])),
            _ => {}
        }
    }
    [market, stats]
}

fn told_of_stored(subject: &str, seq: u64, lines: &[Value]) -> Option<String> {
    let kind = SubjectParts::parse(subject)?.kind;
    let windows = ["candle-1m", "5m", "15m", "1h", "1d", "1h-30m"];
    match kind {
        "price" => Some(format!("price {seq}")),
        "hour-of-day" => Some(told_of_hours(&lines.into())),
        kind if windows.contains(&kind) => Some(told_of_candles(&lines.into())),
        _ => None,
    }
}

fn told_of_candles(candles: &Value) -> String {
    let told = |candle: &Value| {
        let name = |field: &str| candle[field].to_string();
        ["coin", "window", "start_ms", "close", "count", "revision"].map(name).join(" ")
    };
    candles.as_array().unwrap().iter().map(told).collect::<Vec<_>>().join(", ")
}

fn told_of_hours(hours: &Value) -> String {
    let told = |hour: &Value| ["hour", "average", "count"].map(|field| hour[field].to_string()).join(" ");
    hours.as_array().unwrap().iter().map(told).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stored_result_is_one_event() {
    let page = LivePage::start().await;
    let (mut all, mut one) = (page.events("").await, page.events(BITCOIN).await);
    let begin = all.next().await.unwrap();
    assert_eq!(begin.name, "snapshot");
    assert_eq!(begin.data["pipeline"]["connected"], true);
    for second in (0..1_000).step_by(25) {
        page.tick(second).await;
    }
    page.check_complete(&mut all, vec![begin]).await;
    let last = page.stored(Stream::Market).await.into_iter().rfind(|told| told.contains("\"bitcoin\"")).unwrap();
    let mut seen = Vec::new();
    while !told(&seen)[0].contains(&last) {
        seen.push(one.next().await.unwrap());
    }
    let coins: Vec<_> = seen.iter().filter_map(|event| event.data["coin"].as_str()).collect();
    assert!(coins.contains(&"bitcoin") && !coins.contains(&"ethereum"), "{coins:?}");
    assert!(seen.iter().any(|event| event.name == "open" && event.id.is_none() && event.data["final"] == false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_returns_100_times_has_each_event_once() {
    const RETURNS: usize = 100;
    let page = LivePage::start().await;
    let mut events = page.events("").await;
    let mut seen = vec![events.next().await.unwrap()];
    let mut random = StdRng::seed_from_u64(24);
    for round in 0..RETURNS {
        page.tick(round as i64 * 20).await;
        for _ in 0..random.random_range(0..6) {
            seen.push(events.next().await.unwrap());
        }
        // Events on their way are lost with the connection.
        let last_id = seen.iter().rev().find_map(|event| event.id.as_deref()).unwrap();
        events = EventStream::open(&page.addr, "", Some(last_id)).await;
    }
    page.check_complete(&mut events, seen.clone()).await;
    let snapshots = seen.iter().filter(|event| event.name == "snapshot").count();
    assert_eq!(snapshots, 1, "the log has what was missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_reporter_begins_with_a_snapshot() {
    let mut page = LivePage::start().await;
    let mut events = page.events("").await;
    let begin = events.next().await.unwrap();
    page.tick(0).await;
    let price = events.next_named("price").await;
    page.reporter.process.kill();
    while events.next().await.is_some() {}
    (page.reporter, page.addr) = start_reporter(&mut page.pipeline.program("reporter"));
    for id in [begin.id, price.id] {
        let mut events = EventStream::open(&page.addr, BITCOIN, id.as_deref()).await;
        let again = events.next().await.unwrap();
        assert_eq!((again.name.as_str(), &again.data["price"]["event_ms"]), ("snapshot", &Value::from(START_MS)));
    }
}

/// A replay at full speed is more than a client can read. It gets snapshots instead of candles, the last of which are
/// those that are stored. A client that reads nothing changes nothing for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_becomes_snapshots_beside_silent_clients() {
    const MINUTES: u32 = 30_000;
    let page = LivePage::start().await;
    let silent: Vec<TcpStream> = (0..50).map(|_| ask_for_events(&page.addr)).collect();
    let mut events = page.events("?coin=bitcoin&quote=usdt").await;
    let file = minutes(page.pipeline.dir.path(), MINUTES);
    let mut replay = Running::start(&mut page.pipeline.replay(&file, "1m"));
    let (mut last, mut snapshots) = (Value::Null, 0);
    let end_ms = 1_583_020_800_000 + i64::from(MINUTES - 1) * 60_000;
    // The newest price and the newest 1-minute candle of the recording.
    let (mut price_ms, mut candle_ms) = (0, 0);
    while (price_ms, candle_ms) != (end_ms, end_ms) {
        let Event { name, data, .. } = events.next().await.unwrap();
        let last_start = |candles: &Value| {
            let finals = candles.as_array().into_iter().flatten().filter(|candle| candle["final"] == true);
            finals.filter_map(|candle| candle["start_ms"].as_i64()).max().unwrap_or_default()
        };
        match name.as_str() {
            "snapshot" => {
                snapshots += 1;
                price_ms = data["price"]["event_ms"].as_i64().unwrap_or_default();
                candle_ms = last_start(&data["candles"]["1m"]);
                last = data;
            }
            "price" => price_ms = data["event_ms"].as_i64().unwrap(),
            "candle" if data["window"] == "1m" => candle_ms = candle_ms.max(last_start(&data["candles"])),
            _ => {}
        }
    }
    assert!(snapshots > 1, "{last}");
    assert_eq!(replay.wait(), Some(0));
    let mut other = page.events(BITCOIN).await;
    publish_tick_of(&page.producer, &bitcoin(), START_MS).await;
    other.next_named("price").await;
    let megabytes = peak_bytes(page.reporter.process.id()).unwrap() >> 20;
    assert!(megabytes < 100, "{megabytes} MB");
    drop(silent);
}

/// Opens a connection that asks for events and reads nothing.
fn ask_for_events(addr: &str) -> TcpStream {
    let mut client = TcpStream::connect(addr).unwrap();
    write!(client, "GET /api/v1/events HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_server_is_told_and_loses_nothing() {
    let mut page = LivePage::start().await;
    let mut events = page.events("").await;
    let mut seen = vec![events.next().await.unwrap()];
    page.tick(0).await;
    page.pipeline.wait();
    page.pipeline.server.kill();
    until_connected(&mut events, &mut seen, false).await;
    page.pipeline.server.start_again();
    until_connected(&mut events, &mut seen, true).await;
    for second in (60..300).step_by(20) {
        page.tick(second).await;
    }
    page.check_complete(&mut events, seen).await;
}

/// Reads until an event tells whether the server is connected.
async fn until_connected(events: &mut EventStream, seen: &mut Vec<Event>, connected: bool) {
    while seen.last().is_none_or(|event| event.name != "pipeline" || event.data["connected"] != connected) {
        seen.push(events.next().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_have_the_same_event() {
    let page = LivePage::start().await;
    let mut clients = join_all((0..CLIENTS_MAX).map(|_| page.events(BITCOIN))).await;
    let snapshots = join_all(clients.iter_mut().map(|client| client.next_named("snapshot"))).await;
    assert_eq!(snapshots.len(), CLIENTS_MAX);
    let refused = EventStream::try_open(&page.addr, BITCOIN, None).await.unwrap_err();
    assert!(refused.contains(" 503 ") && refused.contains("all 512 streams of events are in use"), "{refused}");
    page.tick(0).await;
    let prices = join_all(clients.iter_mut().map(|client| client.next_named("price"))).await;
    assert_eq!(prices[0].data["event_ms"], START_MS);
    assert!(prices.iter().all(|price| *price == prices[0]), "{prices:?}");
    let megabytes = peak_bytes(page.reporter.process.id()).unwrap() >> 20;
    assert!(megabytes < 100, "{megabytes} MB");
    // A place is free again.
    drop(clients.pop());
    let mut again = Err(refused);
    while again.is_err() {
        again = EventStream::try_open(&page.addr, BITCOIN, None).await;
    }
    // The page is served beside them.
    assert_eq!(pipeline_tests::health::page(&page.addr, "/health").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn forecasts_and_their_scores_are_events() {
    let page = LivePage::start().await;
    let trainer = page.pipeline.server.connect("trainer").await;
    let store = async |kind: RecordKind, lines: &[String]| {
        let subject =
            subject::stored(Stream::Forecast, subject::partition("bitcoin", "usd", 16), kind, "bitcoin", "usd");
        let sent = trainer.jetstream().publish(subject, lines.join("\n").into()).await.unwrap();
        sent.await.unwrap();
    };
    let mut events = page.events(BITCOIN).await;
    assert_eq!(events.next().await.unwrap().data["forecasts"], serde_json::json!([]));
    let bands = r#""level":0.9,"lower":6.0,"upper":9.0"#;
    store(RecordKind::Next, &[forecast("returns", 1, bands), forecast("volatility", 1, bands)]).await;
    let made = [events.next_named("forecast").await, events.next_named("forecast").await];
    assert_eq!(made.each_ref().map(|event| event.data["recipe"].as_str().unwrap()), ["returns", "volatility"]);
    assert_ne!(made[0].id, made[1].id);
    store(RecordKind::Score, &[forecast("returns", 1, r#""actual":8.5,"coverage":1.0,"error":0.5,"inside":true"#)])
        .await;
    let score = events.next_named("score").await;
    assert_eq!(score.data["actual"], 8.5);
    assert_eq!(score.data["bands"], serde_json::json!([{ "level": 0.9, "lower": 6.0, "upper": 9.0 }]));
    let mut later = page.events(BITCOIN).await;
    let pending = later.next().await.unwrap().data["forecasts"].clone();
    assert_eq!(pending, serde_json::json!([made[1].data]));
    // A client that missed one of two forecasts of a message gets the other one.
    let mut back = EventStream::open(&page.addr, BITCOIN, made[0].id.as_deref()).await;
    assert_eq!(back.next_named("forecast").await, made[1]);
}

/// A forecast of the hour with this number.
fn forecast(recipe: &str, hour: i64, rest: &str) -> String {
    let (start, end) = (START_MS + hour * 3_600_000, START_MS + (hour + 1) * 3_600_000);
    format!(
        r#"{{"coin":"bitcoin","quote":"usd","recipe":"{recipe}","interval":"1h","made_ms":{start},"target_start_ms":{start},"target_end_ms":{end},"model":"4be1c1f02b6f2a07","status":"candidate","prediction":8.0,"baseline":7.5,{rest}}}"#
    )
}

/// `topology rebuild` empties the streams. Their sequences go on, and what they had before is no longer true.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_stream_is_a_new_snapshot() {
    let mut page = LivePage::start().await;
    page.tick(0).await;
    page.pipeline.wait();
    let mut events = page.events(BITCOIN).await;
    let begin = events.next().await.unwrap();
    page.steps.iter_mut().for_each(Running::kill);
    let rebuild = || page.pipeline.program("topology").args(["rebuild", "market", "--yes"]).output().unwrap();
    eventually("no instance lives any more", || rebuild().status.success());
    let again = events.next_named("snapshot").await;
    assert!(numbers(&begin.id.unwrap())[3] < numbers(again.id.as_deref().unwrap())[3]);
    page.steps = ["stream-processor", "aggregator"].map(|step| page.pipeline.start(step));
    page.tick(60).await;
    let mut price_ms = again.data["price"]["event_ms"].as_i64().unwrap_or_default();
    while price_ms != START_MS + 60_000 {
        let event = events.next().await.unwrap();
        let price = if event.name == "snapshot" { &event.data["price"] } else { &event.data };
        price_ms = price["event_ms"].as_i64().unwrap_or(price_ms);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_mistake_is_told_so() {
    let page = LivePage::start().await;
    for query in ["?coin=bitcoin", "?coin=BTC&quote=usd"] {
        let refused = EventStream::try_open(&page.addr, query, None).await.unwrap_err();
        assert!(refused.contains(" 400 ") && refused.contains(r#""code":"bad_request""#), "{refused}");
    }
}
