//! What a step does when the world around it is not as it was.

use bus::publish::{FeedMessage, publish};
use bus::topology::{MARKET_STEP, stream_info};
use bus::{Connection, Error, Kind, checkpoint, codec};
use market::Instrument;
use market::tick::TickLine;
use pipeline_tests::programs::Running;
use pipeline_tests::world::World;
use serde_json::Value;

fn bitcoin() -> Instrument {
    Instrument::new("bitcoin", "usd").unwrap()
}

async fn publish_tick(connection: &Connection, event_ms: i64) {
    let line = TickLine {
        coin: "bitcoin".into(),
        quote: "usd".into(),
        event_ms,
        grain_ms: 1_000,
        id: None,
        open: None,
        high: None,
        low: None,
        close: 100.0 + event_ms as f64 / 1e6,
        volume: None,
        ingest_ms: event_ms,
        source: None,
        market_cap: None,
        volume_24h: None,
        high_24h: None,
        low_24h: None,
    };
    let id = format!("test/{event_ms}");
    let message = FeedMessage { kind: Kind::Tick, instrument: bitcoin(), payload: codec::single(&line), id };
    publish(connection, &message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_step_goes_on_where_it_was_after_the_server_was_killed() {
    let mut world = World::new().await;
    let _processor = world.start("stream-processor");
    let _aggregator = world.start("aggregator");
    let producer = world.server.connect("producer").await;
    publish_tick(&producer, 1_000_000).await;
    world.wait();
    world.server.kill();
    world.server.start_again();
    for second in 1..=5 {
        publish_tick(&producer, 1_000_000 + second * 1_000).await;
    }
    world.wait();
    assert_eq!((world.count("accepted"), world.count("duplicate"), world.count("late")), (6, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_never_read_anything_starts_right_after_the_server_was_killed() {
    let mut world = World::new().await;
    let producer = world.server.connect("producer").await;
    publish_tick(&producer, 1_000_000).await;
    {
        let _processor = world.start("stream-processor");
        world.wait_for_market();
    }
    // Started exactly at the end of its input, it has nothing delivered when the server goes.
    let _processor = world.start("stream-processor");
    let _aggregator = world.start("aggregator");
    world.wait();
    world.server.kill();
    world.server.start_again();
    publish_tick(&producer, 1_001_000).await;
    world.wait();
    assert_eq!((world.count("accepted"), world.count("duplicate")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_beside_outputs_is_refused_not_started_over() {
    let world = World::new().await;
    let producer = world.server.connect("producer").await;
    publish_tick(&producer, 1_000_000).await;
    let processor = world.start("stream-processor");
    world.wait_for_market();
    drop(processor);
    let admin = world.server.connect("admin").await;
    let purge = serde_json::json!({ "filter": "checkpoint.market.>" });
    admin.api::<Value>("STREAM.PURGE.MARKET", &purge).await.unwrap();
    let positions = checkpoint::positions::<Value>(&admin, bus::Stream::Market).await.unwrap();
    assert!(positions.is_empty());
    let partition = bus::subject::partition("bitcoin", "usd", 16);
    let refused = checkpoint::recover::<Value, Value>(&admin, MARKET_STEP, partition).await;
    assert!(matches!(refused, Err(Error::CheckpointLost { .. })), "{refused:?}");
    let before = stream_info(&admin, "MARKET").await.unwrap().state.last_seq;
    let (_processor, mut log) = Running::start_followed(world.program("stream-processor").arg("run"));
    publish_tick(&producer, 1_001_000).await;
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    assert!(stopped.contains("no position, but market."), "{stopped}");
    let after = stream_info(&admin, "MARKET").await.unwrap().state.last_seq;
    assert_eq!(before, after, "nothing is processed twice");
}
