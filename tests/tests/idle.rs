//! Without input, nothing is written.

use std::time::Duration;

use bus::publish::{FeedMessage, publish};
use bus::topology::{StreamState, stream_info};
use bus::{Connection, RecordKind, codec};
use market::Instrument;
use pipeline_tests::harness::{heartbeat, tick};
use pipeline_tests::test_pipeline::TestPipeline;

const MINUTE: i64 = 60_000;
/// 2020-03-01T00:00:00Z.
const START: i64 = 1_583_020_800_000;
/// Enough that each of the 16 partitions has some.
const COINS: u64 = 64;
const IDLE: Duration = Duration::from_secs(20);

/// A few minutes of a coin; the last is still open.
async fn publish_coin(producer: &Connection, coin: &str) {
    let instrument = Instrument::new(coin, "usd").unwrap();
    let send = async |kind: RecordKind, event_ms: i64, payload| {
        let id = format!("test/{coin}/{kind}/{event_ms}");
        let message = FeedMessage { kind, instrument: instrument.clone(), payload, id };
        publish(producer, &message).await.unwrap();
    };
    for event_ms in (START..START + 7 * MINUTE).step_by(MINUTE as usize) {
        send(RecordKind::Tick, event_ms, codec::single(&tick(&instrument, event_ms, 100.0))).await;
    }
    let event_ms = START + 6 * MINUTE + 30_000;
    send(RecordKind::Heartbeat, event_ms, codec::single(&heartbeat(&instrument, event_ms, false))).await;
}

async fn states(reader: &Connection) -> Vec<StreamState> {
    let mut states = Vec::new();
    for stream in ["FEED", "MARKET", "STATS"] {
        states.push(stream_info(reader, stream).await.unwrap().state);
    }
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn in_20_seconds_of_idleness_nothing_is_written() {
    let pipeline = TestPipeline::new().await;
    let _services =
        ["stream-processor", "stream-processor", "aggregator", "aggregator"].map(|name| pipeline.start(name));
    let producer = pipeline.server.connect("producer").await;
    let coins = (0..COINS).map(|number| format!("coin-{number}"));
    futures::future::join_all(coins.map(async |coin| publish_coin(&producer, &coin).await)).await;
    pipeline.wait();
    let admin = pipeline.server.connect("admin").await;
    let positions = bus::protocol::positions::<serde_json::Value>(&admin, bus::Stream::Stats).await.unwrap();
    assert_eq!(positions.len(), 16, "every partition has a position");
    let before = states(&admin).await;
    // The subject of the test: nothing happens for this time.
    tokio::time::sleep(IDLE).await;
    let after = states(&admin).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.last_seq, before.messages), (after.last_seq, after.messages));
    }
    assert_eq!((pipeline.count("accepted"), pipeline.count("duplicate"), pipeline.count("late")), (7 * COINS, 0, 0));
}
