//! What a step does when the world around it is not as it was.

use bus::topology::{Limits, MARKET_STEP, create, definitions, stream_info};
use bus::{Connection, Error, checkpoint};
use futures::StreamExt;
use market::Instrument;
use pipeline_tests::programs::{Running, fail};
use pipeline_tests::ticks::{publish_tick, publish_tick_of};
use pipeline_tests::world::World;
use serde_json::Value;

/// A world whose stream-processor has committed one tick, and runs no more; with a connection of the producer.
async fn with_one_tick_processed() -> (World, Connection) {
    let world = World::new().await;
    let producer = world.server.connect("producer").await;
    publish_tick(&producer, 1_000_000).await;
    let _processor = world.start("stream-processor");
    world.wait_for_market();
    (world, producer)
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
    let (mut world, producer) = with_one_tick_processed().await;
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
    let (world, producer) = with_one_tick_processed().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_was_created_anew_is_not_the_log_of_the_state() {
    let (world, _) = with_one_tick_processed().await;
    let admin = world.server.connect("admin").await;
    admin.api::<Value>("STREAM.DELETE.FEED", &Value::Null).await.unwrap();
    create(&admin, &definitions(&Limits::default())[0]).await.unwrap();
    let (code, error) = fail(world.program("stream-processor").arg("run"));
    assert!(code == 3 && error.contains("FEED is not the log"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_than_those_of_the_state_are_refused() {
    let (world, _) = with_one_tick_processed().await;
    let (code, error) = fail(world.program("stream-processor").args(["run", "--lateness", "11m"]));
    assert!(code == 3 && error.contains("settings"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_was_deleted_unread_stops_the_partition_with_both_numbers() {
    let (world, producer) = with_one_tick_processed().await;
    for second in 1..10 {
        publish_tick(&producer, 1_000_000 + second * 1_000).await;
    }
    let admin = world.server.connect("admin").await;
    admin.api::<Value>("STREAM.PURGE.FEED", &serde_json::json!({ "seq": 8 })).await.unwrap();
    let (_processor, mut log) = Running::start_followed(world.program("stream-processor").arg("run"));
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    assert!(stopped.contains("up to sequence 1,") && stopped.contains("begins at 8"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_reader_that_is_overtaken_stops_with_both_numbers() {
    let world = World::new().await;
    let producer = world.server.connect("producer").await;
    publish_tick(&producer, 1_000_000).await;
    let (mut processor, mut log) = Running::start_followed(world.program("stream-processor").arg("run"));
    world.wait_for_market();
    // Frozen, it cannot see what comes and goes; awake again, it is handed the next message as if nothing had been.
    processor.signal("STOP");
    for second in 1..10 {
        publish_tick(&producer, 1_000_000 + second * 1_000).await;
    }
    let admin = world.server.connect("admin").await;
    admin.api::<Value>("STREAM.PURGE.FEED", &serde_json::json!({ "seq": 10 })).await.unwrap();
    processor.signal("CONT");
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped")));
    if let Some(Ok(stopped)) = stopped {
        assert!(stopped.contains("begins at 10"), "{stopped}");
    } else {
        panic!("the stream-processor ended: {:?}", processor.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remains_of_a_torn_batch_are_removed() {
    let (world, producer) = with_one_tick_processed().await;
    let partition = bus::subject::partition("bitcoin", "usd", 16);
    let processor = world.server.connect("stream-processor").await;
    let before = stream_info(&processor, "MARKET").await.unwrap().state.messages;
    for _ in 0..37 {
        let orphan = format!("market.{partition}.price.bitcoin.usd");
        processor.jetstream().publish(orphan, "{}".into()).await.unwrap().await.unwrap();
    }
    let outputs = async || stream_info(&processor, "MARKET").await.unwrap().state.messages;
    assert_eq!(outputs().await, before + 37);
    let _processor = world.start("stream-processor");
    publish_tick(&producer, 1_001_000).await;
    world.wait_for_market();
    // The second tick adds a price; state and position replace those before.
    assert_eq!(outputs().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_server_is_away_ends_in_time_and_loses_nothing() {
    let mut world = World::new().await;
    let producer = world.server.connect("producer").await;
    let mut processor = world.start("stream-processor");
    publish_tick(&producer, 1_000_000).await;
    world.wait_for_market();
    world.server.kill();
    processor.terminate();
    assert_eq!(processor.wait(), Some(0));
    world.server.start_again();
    let _services = [world.start("stream-processor"), world.start("aggregator")];
    publish_tick(&producer, 1_001_000).await;
    world.wait();
    assert_eq!((world.count("accepted"), world.count("duplicate")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_instruments_than_one_read_returns_are_recovered() {
    const INSTRUMENTS: u32 = 1_100;
    let world = World::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
    let producer = world.server.connect("producer").await;
    let publish_round = async |event_ms: i64| {
        let each = (0..INSTRUMENTS).map(|idx| {
            let instrument = Instrument::new(&format!("coin-{idx}"), "usd").unwrap();
            let producer = &producer;
            async move { publish_tick_of(producer, &instrument, event_ms).await }
        });
        futures::stream::iter(each).buffer_unordered(64).count().await
    };
    publish_round(1_000_000).await;
    let processor = world.start("stream-processor");
    world.wait_for_market();
    drop(processor);
    let _processor = world.start("stream-processor");
    publish_round(1_001_000).await;
    world.wait_for_market();
    assert_eq!((world.count("accepted"), world.count("duplicate")), (2 * u64::from(INSTRUMENTS), 0));
}
