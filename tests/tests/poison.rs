//! Unusable records: they are stored with their reason and counted, and the partition continues.

use async_nats::HeaderMap;
use bus::reader::{Selection, read_to_end};
use bus::topology::stream_info;
use bus::{Connection, Error, Stream, subject};
use pipeline_tests::programs::{Running, succeed};
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{bitcoin, publish_tick, tick_line};
use serde_json::{Value, json};

/// Stores a message as given; returns its sequence.
async fn store(connection: &Connection, subject: &str, schema: &str, payload: impl Into<Vec<u8>>) -> u64 {
    let mut headers = HeaderMap::new();
    headers.insert("Candlewire-Schema", schema);
    let sent = connection.jetstream().publish_with_headers(subject.to_owned(), headers, payload.into().into()).await;
    sent.unwrap().await.unwrap().sequence
}

fn line(event_ms: i64) -> String {
    serde_json::to_string(&tick_line(&bitcoin(), event_ms)).unwrap()
}

/// Refused records in MARKET: (subject's coin, sequence in FEED, line, reason), in order.
async fn rejected(connection: &Connection) -> Vec<(String, u64, u64, String)> {
    let mut found = Vec::new();
    let filters = vec!["market.*.rejected.*.*".to_owned()];
    let read = read_to_end(connection, Selection { stream: Stream::Market, filters, from: 1 }, |delivery| {
        let coin = delivery.subject.split('.').nth(3).unwrap().to_owned();
        for (_, line) in bus::codec::lines(&delivery.payload) {
            let record: Value = serde_json::from_slice(line).unwrap();
            let number = |name: &str| record[name].as_u64().unwrap();
            assert!(record["head"].as_str().unwrap().len() <= 1_024, "{record}");
            let reason = record["reason"].as_str().unwrap().to_owned();
            found.push((coin.clone(), number("feed_seq"), number("line"), reason));
        }
        Ok::<_, Error>(())
    });
    read.await.unwrap();
    found.sort_by_key(|(_, seq, line, _)| (*seq, *line));
    found
}

/// Unusable records of FEED are stored in MARKET with the reason, and the partition continues.
#[tokio::test(flavor = "multi_thread")]
async fn unusable_records_are_stored_with_their_reason() {
    const TICKS: &str = "feed.tick.bitcoin.usd";
    const BEFORE_2009: i64 = 1_230_767_999_999;
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_600_000_000_000).await;
    let of_another = line(1_600_000_001_000).replace("bitcoin", "ethereum");
    let poison: [(&str, &str, Vec<u8>, u64, &str); 12] = [
        (TICKS, "tick/1", b"garbage".to_vec(), 0, "unparsable"),
        (TICKS, "tick/1", b"\xff\xfe\x00".to_vec(), 0, "unparsable"),
        (TICKS, "tick/1", "[".repeat(100_000).into_bytes(), 0, "unparsable"),
        (TICKS, "tick/1", b"{}".to_vec(), 0, "unparsable"),
        (TICKS, "tick/2", line(1_600_000_002_000).into_bytes(), 0, "unknown-version"),
        (TICKS, "nonsense", line(1_600_000_003_000).into_bytes(), 0, "unknown-version"),
        (TICKS, "tick/1", of_another.into_bytes(), 0, "wrong-instrument"),
        ("feed.tick.BitCoin.usd", "tick/1", line(1_600_000_004_000).into_bytes(), 0, "wrong-instrument"),
        (TICKS, "tick/1", vec![b'x'; (1 << 20) - 200], 0, "too-long"),
        (TICKS, "tick/1", vec![line(1_600_000_005_000); 501].join("\n").into_bytes(), 0, "too-long"),
        ("feed.heartbeat.bitcoin.usd", "heartbeat/1", b"garbage".to_vec(), 0, "unparsable"),
        ("feed.gap.bitcoin.usd", "gap/1", b"{\"coin\":7}".to_vec(), 0, "unparsable"),
    ];
    let mut expected = Vec::new();
    for (subject, schema, payload, line, reason) in poison {
        let seq = store(&producer, subject, schema, payload).await;
        let coin = subject.split('.').nth(2).unwrap().to_owned();
        expected.push((coin, seq, line, reason.to_owned()));
    }
    // A bad line among good ones is refused alone.
    let mixed =
        [line(1_600_000_010_000), "garbage".to_owned(), String::new(), line(1_600_000_011_000), line(BEFORE_2009)]
            .join("\n");
    let seq = store(&producer, TICKS, "tick/1", mixed).await;
    expected.push(("bitcoin".to_owned(), seq, 1, "unparsable".to_owned()));
    expected.push(("bitcoin".to_owned(), seq, 4, "out-of-range".to_owned()));
    publish_tick(&producer, 1_600_000_120_000).await;
    pipeline.wait();
    let market = pipeline.server.connect("reader").await;
    assert_eq!(rejected(&market).await, expected);
    let counts = &pipeline.standing()["steps"]["stream-processor"]["counts"];
    let refused = json!({
        "unparsable": 7, "unknown-version": 2, "wrong-instrument": 2, "too-long": 2, "out-of-range": 1,
    });
    assert_eq!((&counts["accepted"], &counts["rejected"]), (&json!(4), &refused));
    assert_eq!(pipeline.standing()["steps"]["aggregator"]["counts"]["prices"], 4);
    let candles = succeed(pipeline.program("aggregator").args(["show", "candles-1m", "--all", "--format", "csv"]));
    assert_eq!(candles.lines().count(), 2, "{candles}");
}

/// The aggregator counts every unreadable record, logs it once, and skips it.
#[tokio::test(flavor = "multi_thread")]
async fn the_aggregator_counts_and_skips_unreadable_records() {
    let pipeline = TestPipeline::new().await;
    let processor = pipeline.start("stream-processor");
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait_for_market();
    drop(processor);
    // Only the stream-processor may write MARKET; the test takes its role to write garbage.
    let faulty = pipeline.server.connect("stream-processor").await;
    let price = |change: &str, to: &str| {
        let good =
            r#"{"coin":"bitcoin","quote":"usd","event_ms":1600000001000,"grain_ms":1000,"close":100.0,"feed_seq":1}"#;
        assert!(good.contains(change));
        good.replace(change, to)
    };
    let partition = subject::partition("bitcoin", "usd", 16);
    let prices = format!("market.{partition}.price.bitcoin.usd");
    let heartbeats = format!("market.{partition}.heartbeat.bitcoin.usd");
    let poison = [
        (&prices, "price/1", "garbage".to_owned()),
        (&prices, "price/2", price("100.0", "100.0")),
        (&prices, "price/1", price("100.0", "1e300")),
        (&prices, "price/1", price("100.0", "-1")),
        (&prices, "price/1", price("1600000001000", "9223372036854775807")),
        (&prices, "price/1", price("1000,", "9223372036854775807,")),
        (&prices, "price/1", price("bitcoin", "ethereum")),
        (&heartbeats, "heartbeat/1", "[]".to_owned()),
        (&heartbeats, "heartbeat/1", price("1600000001000", "9223372036854775807")),
    ];
    for (subject, schema, payload) in &poison {
        store(&faulty, subject, schema, payload.as_str()).await;
    }
    store(&faulty, &prices, "price/1", price("100.0", "101.0")).await;
    let (mut aggregator, log) = Running::start_followed(pipeline.program("aggregator").arg("run"));
    pipeline.wait();
    let counts = pipeline.standing()["steps"]["aggregator"]["counts"].clone();
    assert_eq!((&counts["unreadable"], &counts["prices"]), (&json!(poison.len()), &json!(2)));
    aggregator.terminate();
    let said = log.map_while(Result::ok).filter(|line| line.contains("skipped an unreadable line")).count();
    assert_eq!((said, aggregator.wait()), (1, Some(0)));
    assert!(stream_info(&faulty, "MARKET").await.unwrap().state.messages > 10);
}

/// A record kind that no step knows would stay in FEED unjudged, so the sender is refused at once.
#[tokio::test(flavor = "multi_thread")]
async fn feed_accepts_only_record_kinds_that_are_judged() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let sent = producer.jetstream().publish("feed.trade.bitcoin.usd".to_owned(), line(1_600_000_000_000).into()).await;
    assert!(sent.unwrap().await.is_err());
    let admin = pipeline.server.connect("admin").await;
    assert_eq!(stream_info(&admin, "FEED").await.unwrap().state.messages, 0);
}
