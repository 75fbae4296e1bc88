//! Recovery of a step when streams, settings or the server have changed.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bus::publish::{FeedMessage, publish};
use bus::reader::{Selection, read_to_end};
use bus::stream::MARKET_STEP;
use bus::topology::{Limits, create, definitions, stream_info};
use bus::{Connection, Error, RecordKind, Stream, codec, protocol};
use futures::StreamExt;
use market::Instrument;
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{NEVER, Running, eventually, fail, succeed};
use pipeline_tests::proxy::Proxy;
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{instruments, publish_tick, publish_tick_of, tick_line};
use pipeline_tests::transactions::{Outcome, TestTransactions};
use serde_json::{Value, json};
use step::checkpoint::encode_state;
use step::part::{Outgoing, Part, Role};
use step::transaction::MESSAGES_MAX;

/// A pipeline whose stream-processor has committed one tick and stopped, with a connection of the producer.
async fn with_one_tick_processed() -> (TestPipeline, Connection) {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_600_000_000_000).await;
    let mut processor = pipeline.start("stream-processor");
    pipeline.wait_for_market();
    stop(&mut processor);
    (pipeline, producer)
}

/// Stops a service gracefully, so that its states are stored too.
fn stop(service: &mut Running) {
    service.terminate();
    assert_eq!(service.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_step_continues_at_its_position_after_a_server_kill() {
    let mut pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let _aggregator = pipeline.start("aggregator");
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait();
    pipeline.server.kill();
    pipeline.server.start_again();
    for second in 1..=5 {
        publish_tick(&producer, 1_600_000_000_000 + second * 1_000).await;
    }
    pipeline.wait();
    assert_eq!((pipeline.count("accepted"), pipeline.count("duplicate"), pipeline.count("late")), (6, 0, 0));
}

/// A step that never read a message starts right after the server was killed and restarted.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_input_starts_after_a_server_kill() {
    let (mut pipeline, producer) = with_one_tick_processed().await;
    // Started exactly at the end of its input, it has received nothing when the server is killed.
    let _processor = pipeline.start("stream-processor");
    let _aggregator = pipeline.start("aggregator");
    pipeline.wait();
    pipeline.server.kill();
    pipeline.server.start_again();
    publish_tick(&producer, 1_600_000_001_000).await;
    pipeline.wait();
    assert_eq!((pipeline.count("accepted"), pipeline.count("duplicate")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_beside_outputs_is_refused_not_started_over() {
    let (pipeline, producer) = with_one_tick_processed().await;
    let admin = pipeline.server.connect("admin").await;
    let purge = serde_json::json!({ "filter": "checkpoint.market.>" });
    admin.api::<Value>("STREAM.PURGE.MARKET", &purge).await.unwrap();
    let positions = protocol::positions::<Value>(&admin, bus::Stream::Market).await.unwrap();
    assert!(positions.is_empty());
    let partition = bus::subject::partition("bitcoin", "usd", 16);
    let refused = step::checkpoint::recover::<Value, Value>(&admin, MARKET_STEP, partition).await;
    assert!(matches!(refused, Err(Error::CheckpointLost { .. })), "{refused:?}");
    let before = stream_info(&admin, "MARKET").await.unwrap().state.last_seq;
    let (_processor, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    publish_tick(&producer, 1_600_000_001_000).await;
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    assert!(stopped.contains("no position, but market."), "{stopped}");
    let after = stream_info(&admin, "MARKET").await.unwrap().state.last_seq;
    assert_eq!(before, after, "no input is processed twice");
}

/// A newly elected leader of three may answer before it has applied its log.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_for_a_leader_that_lags() {
    let (pipeline, producer) = with_one_tick_processed().await;
    let proxy = Proxy::start(&pipeline.server).await;
    proxy.edit(|frame| {
        let mut answer: Value = serde_json::from_str(&frame.payload).ok()?;
        let is_of_feed = answer["config"]["name"] == "FEED" && answer["state"].is_object();
        is_of_feed.then(|| {
            answer["config"]["num_replicas"] = json!(3);
            answer["state"]["last_seq"] = json!(0);
            answer.to_string()
        })
    });
    let (said, heard) = std::sync::mpsc::channel();
    let note = move |line: &str| drop(said.send(line.to_owned()));
    let mut command = pipeline.program("stream-processor");
    let mut processor = Watched::start(command.arg("run").env("NATS_URL", proxy.url()), note);
    let waits = heard.iter().find(|line| line.contains("waiting: FEED was read up to sequence 1"));
    assert!(waits.is_some_and(|line| line.contains("reports the end 0")), "the step logs what it waits for");
    proxy.edit(|_| None);
    publish_tick(&producer, 1_600_000_001_000).await;
    pipeline.wait_for_market();
    assert_eq!(pipeline.count("accepted"), 2);
    assert!(processor.process.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_was_created_anew_is_not_the_log_of_the_state() {
    let (pipeline, _) = with_one_tick_processed().await;
    let admin = pipeline.server.connect("admin").await;
    admin.api::<Value>("STREAM.DELETE.FEED", &Value::Null).await.unwrap();
    create(&admin, &definitions(&Limits::default())[0]).await.unwrap();
    let (code, error) = fail(pipeline.program("stream-processor").arg("run"));
    assert!(code == 3 && error.contains("FEED is not the log"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_created_anew_under_a_running_step_ends_it() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_600_000_000_000).await;
    let (mut processor, log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    pipeline.wait_for_market();
    let admin = pipeline.server.connect("admin").await;
    admin.api::<Value>("STREAM.DELETE.FEED", &Value::Null).await.unwrap();
    create(&admin, &definitions(&Limits::default())[0]).await.unwrap();
    assert_eq!(processor.wait(), Some(3));
    let error = log.map_while(Result::ok).find(|line| line.starts_with("error:")).unwrap();
    assert!(error.contains("FEED is not the log"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_older_than_the_position_is_refused() {
    let (mut pipeline, producer) = with_one_tick_processed().await;
    // FEED is restored from a backup made before the second tick.
    pipeline.server.kill();
    let (feed, backup) = (pipeline.server.store_of("FEED"), pipeline.dir.path().join("backup"));
    copy(&feed, &backup);
    pipeline.server.start_again();
    publish_tick(&producer, 1_600_000_001_000).await;
    let processor = pipeline.start("stream-processor");
    pipeline.wait_for_market();
    drop(processor);
    pipeline.server.kill();
    std::fs::remove_dir_all(&feed).unwrap();
    copy(&backup, &feed);
    pipeline.server.start_again();
    let (code, error) = fail(pipeline.program("stream-processor").arg("run"));
    assert!(code == 3 && error.contains("ends at sequence 1, the position is 2"), "{code} {error}");
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

/// A busy partition makes FEED drop its oldest messages; the quiet partition beside it must not take that for lost
/// input.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_partition_raises_no_alarm_when_its_input_expires() {
    /// Longer than the interval at which a partition without input reads the stream's state.
    const LOOK: Duration = Duration::from_millis(5_500);
    /// Messages of 3 kB, short enough to be stored uncompressed.
    const LINES: i64 = 30;
    const MESSAGES: i64 = 32;
    let pipeline =
        TestPipeline::with_limits(&Limits { partitions: 2, feed_bytes: 160 << 10, ..Limits::default() }).await;
    let producer = pipeline.server.connect("producer").await;
    let [quiet, busy] = <[Instrument; 2]>::try_from(instruments(2)).unwrap();
    // More than half of FEED's limit.
    let wave = async |wave: i64| {
        for number in wave * MESSAGES..(wave + 1) * MESSAGES {
            let mut pack = codec::Pack::default();
            for line in 0..LINES {
                pack.push(&tick_line(&busy, 1_600_000_000_000 + (number * LINES + line) * 1_000));
            }
            let payload = pack.into_payloads().swap_remove(0);
            let id = format!("busy/{number}");
            let message = FeedMessage { kind: RecordKind::Tick, instrument: busy.clone(), payload, id };
            publish(&producer, &message).await.unwrap();
        }
    };
    let mut processor = pipeline.start("stream-processor");
    publish_tick_of(&producer, &quiet, 1_600_000_000_000).await;
    wave(0).await;
    pipeline.wait_for_market();
    tokio::time::sleep(LOOK).await;
    wave(1).await;
    pipeline.wait_for_market();
    let admin = pipeline.server.connect("admin").await;
    let first_seq = stream_info(&admin, "FEED").await.unwrap().state.first_seq;
    assert!(first_seq > 2, "messages after the quiet tick are removed");
    // A restarted step only knows what is stored: that the quiet partition has missed nothing.
    processor.terminate();
    assert_eq!(processor.wait(), Some(0));
    let (mut processor, log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    let accepted = pipeline.count("accepted");
    publish_tick_of(&producer, &quiet, 1_600_000_001_000).await;
    eventually("the tick is processed, or its partition has stopped", || {
        pipeline.count("accepted") > accepted || !processor.is_running()
    });
    processor.terminate();
    assert!(!log.map_while(Result::ok).any(|line| line.contains("partition stopped")));
    assert_eq!(pipeline.count("accepted") as i64, 2 + 2 * MESSAGES * LINES);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_than_those_of_the_state_are_refused() {
    let (pipeline, _) = with_one_tick_processed().await;
    let (code, error) = fail(pipeline.program("stream-processor").args(["run", "--lateness", "11m"]));
    assert!(code == 3 && error.contains("settings"), "{code} {error}");
}

/// A step refuses the stored position of another version; after a rebuild it continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_version_needs_a_rebuild() {
    let (pipeline, _) = with_one_tick_processed().await;
    let processor = pipeline.server.connect("stream-processor").await;
    let partition = bus::subject::partition("bitcoin", "usd", 16);
    let older = json!({
        "position": 1, "frontier": 1, "verified": 1, "batch": "", "input_created": "then", "partitions": 16,
        "config": "disorder=5000 lateness=600000 windows=1m", "states": 1, "applied": 1, "counts": {},
    });
    let subject = bus::subject::position(Stream::Market, partition);
    processor.jetstream().publish(subject, older.to_string().into()).await.unwrap().await.unwrap();
    let way = "run `topology rebuild market`";
    for step in ["stream-processor", "aggregator"] {
        let (_step, mut log) = Running::start_followed(pipeline.program(step).arg("run"));
        let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap();
        let stopped = stopped.unwrap();
        assert!(stopped.contains("another version of candlewire") && stopped.contains(way), "{step}: {stopped}");
    }
    for (name, command) in [("aggregator", "audit"), ("topology", "show")] {
        let (_, error) = fail(pipeline.program(name).arg(command));
        assert!(error.contains("another version of candlewire") && error.contains(way), "{name} {command}: {error}");
    }
    succeed(pipeline.program("topology").args(["rebuild", "market", "--yes"]));
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    pipeline.wait();
    assert_eq!(pipeline.count("accepted"), 1);
}

/// Input that was deleted before it was read stops the partition; the error names the position and the first retained
/// sequence.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_unread_input_stops_the_partition_with_both_numbers() {
    let (pipeline, producer) = with_one_tick_processed().await;
    for second in 1..10 {
        publish_tick(&producer, 1_600_000_000_000 + second * 1_000).await;
    }
    let admin = pipeline.server.connect("admin").await;
    admin.api::<Value>("STREAM.PURGE.FEED", &serde_json::json!({ "seq": 8 })).await.unwrap();
    let (_processor, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    assert!(stopped.contains("up to sequence 1,") && stopped.contains("begins at 8"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_reader_that_is_overtaken_stops_with_both_numbers() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, 1_600_000_000_000).await;
    let (mut processor, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    pipeline.wait_for_market();
    // While frozen it does not see the deletion. When woken it receives what the server had already sent, and then the
    // next message as if none were missing.
    processor.signal("STOP");
    for second in 1..200 {
        publish_tick(&producer, 1_600_000_000_000 + second * 1_000).await;
    }
    let admin = pipeline.server.connect("admin").await;
    admin.api::<Value>("STREAM.PURGE.FEED", &serde_json::json!({ "seq": 150 })).await.unwrap();
    processor.signal("CONT");
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped")));
    if let Some(Ok(stopped)) = stopped {
        assert!(stopped.contains("begins at 150"), "{stopped}");
    } else {
        panic!("the stream-processor ended: {:?}", processor.wait());
    }
    // Input read after the hole was committed before the check: the next owner must find the hole nevertheless.
    assert!(pipeline.count("accepted") < 199);
    processor.kill();
    let (_next, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    assert!(stopped.contains("begins at 150"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remains_of_a_torn_batch_are_removed() {
    let (pipeline, producer) = with_one_tick_processed().await;
    let partition = bus::subject::partition("bitcoin", "usd", 16);
    let processor = pipeline.server.connect("stream-processor").await;
    let before = stream_info(&processor, "MARKET").await.unwrap().state.messages;
    for _ in 0..37 {
        let orphan = format!("market.{partition}.price.bitcoin.usd");
        processor.jetstream().publish(orphan, "{}".into()).await.unwrap().await.unwrap();
    }
    let outputs = async || stream_info(&processor, "MARKET").await.unwrap().state.messages;
    assert_eq!(outputs().await, before + 37);
    let _processor = pipeline.start("stream-processor");
    publish_tick(&producer, 1_600_000_001_000).await;
    pipeline.wait_for_market();
    // The second tick adds a price; state and position replace the earlier ones.
    assert_eq!(outputs().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_a_server_outage_is_quick_and_loses_nothing() {
    let mut pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let (mut processor, log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait_for_market();
    pipeline.server.kill();
    processor.terminate();
    let code = processor.wait();
    assert_eq!(code, Some(0), "{:?}", log.map_while(Result::ok).collect::<Vec<_>>());
    pipeline.server.start_again();
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    publish_tick(&producer, 1_600_000_001_000).await;
    pipeline.wait();
    assert_eq!((pipeline.count("accepted"), pipeline.count("duplicate")), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_instruments_than_one_read_returns_are_recovered() {
    const INSTRUMENTS: u32 = 1_100;
    let pipeline = TestPipeline::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
    let producer = pipeline.server.connect("producer").await;
    let publish_round = async |event_ms: i64| {
        let each = (0..INSTRUMENTS).map(|idx| {
            let instrument = Instrument::new(&format!("coin-{idx}"), "usd").unwrap();
            let producer = &producer;
            async move { publish_tick_of(producer, &instrument, event_ms).await }
        });
        futures::stream::iter(each).buffer_unordered(64).count().await
    };
    publish_round(1_600_000_000_000).await;
    let processor = pipeline.start("stream-processor");
    pipeline.wait_for_market();
    drop(processor);
    check_batches(&pipeline.server.connect("reader").await).await;
    let _processor = pipeline.start("stream-processor");
    publish_round(1_600_000_001_000).await;
    pipeline.wait_for_market();
    assert_eq!((pipeline.count("accepted"), pipeline.count("duplicate")), (2 * u64::from(INSTRUMENTS), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_more_bytes_than_one_read_returns_are_recovered() {
    const STATES: usize = 90;
    const BYTES: usize = 250_000;
    let server = Server::with_streams().await;
    let connection = server.connect("stream-processor").await;
    let transactions = TestTransactions::new(&connection, Stream::Market);
    let state = |idx: usize| Outgoing {
        subject: format!("checkpoint.market.3.state.coin-{idx}.usd"),
        // One applied input, the first.
        payload: [&encode_state(1, 1, &())[..], &vec![0; BYTES]].concat().into(),
        role: Role::State,
    };
    let mut fence = 0;
    for states in (0..STATES).collect::<Vec<_>>().chunks(30) {
        let count = states.last().unwrap() + 1;
        let position = json!({
            "version": 2, "position": count, "frontier": count, "verified": count, "batch": "",
            "log": { "created": "then", "events": [] }, "partitions": 16,
            "config": { "disorder_ms": 0, "lateness_ms": 0, "shape": "test" },
            "settled": count, "states": count, "states_applied": count, "applied": count, "counts": {},
        });
        let position = serde_json::from_value(position).unwrap();
        let messages = states.iter().map(|&idx| state(idx)).collect();
        let outcomes = transactions.commit(&[Part { partition: 3, fence, messages, position }]).await.unwrap();
        let Outcome::Stored(stored) = outcomes[0] else { panic!("there is no other owner") };
        fence = stored;
    }
    let recovery = step::checkpoint::recover::<(), Value>(&connection, MARKET_STEP, 3);
    let found = tokio::time::timeout(NEVER, recovery).await.expect("recovery ends").unwrap();
    assert_eq!((found.fence, found.states.len()), (fence, STATES));
}

/// Checks that the pending output was split into batches that the server accepts.
async fn check_batches(connection: &Connection) {
    let (mut batches, mut largest) = (HashSet::new(), 0);
    let selection = Selection { stream: Stream::Market, filters: vec!["market.>".to_owned()], from: 1 };
    let read = read_to_end(connection, selection, |delivery| {
        let headers = delivery.headers.unwrap();
        let value = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        batches.insert(value("Nats-Batch-Id"));
        largest = value("Nats-Batch-Sequence").parse::<usize>().unwrap().max(largest);
        Ok::<_, Error>(())
    });
    read.await.unwrap();
    assert!(batches.len() > 1 && largest <= MESSAGES_MAX, "{} {largest}", batches.len());
}
