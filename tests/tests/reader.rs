//! The ordered reader against a real server: every message once and in order, despite all faults.

use std::time::Duration;

use bus::reader::{Delivery, Reader, ReaderEvent, Selection};
use bus::stream::MARKET_STEP;
use bus::{Connection, RecordKind, Stream, query, subject};
use market::Instrument;
use pipeline_tests::proxy::{Frame, Proxy, Treatment};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{publish_tick, publish_tick_of};
use serde_json::Value;

/// Longest wait for the next message. The client library's own ordered consumer stays silent for longer.
const SOON: Duration = Duration::from_secs(8);

/// Reads all ticks of FEED.
fn reader(connection: &Connection) -> Reader {
    let filters = vec!["feed.*.tick.>".to_owned()];
    Reader::start(connection, Selection { stream: Stream::Feed, filters, from: 1 })
}

async fn next(reader: &mut Reader) -> Delivery {
    let next = async {
        loop {
            if let ReaderEvent::Message(delivery) = reader.next().await.unwrap() {
                return delivery;
            }
        }
    };
    tokio::time::timeout(SOON, next).await.expect("a message soon")
}

/// Reads these sequences, each once.
async fn read(reader: &mut Reader, sequences: std::ops::RangeInclusive<u64>) {
    for seq in sequences {
        assert_eq!(next(reader).await.seq, seq);
    }
}

async fn publish(producer: &Connection, seconds: std::ops::Range<i64>) {
    for second in seconds {
        publish_tick(producer, 1_600_000_000_000 + second * 1_000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_soon_after_the_server_was_killed() {
    let mut server = Server::with_streams().await;
    let (producer, connection) = tokio::join!(server.connect("producer"), server.connect("stream-processor"));
    let mut reader = reader(&connection);
    publish(&producer, 0..3).await;
    read(&mut reader, 1..=3).await;
    server.kill();
    server.start_again();
    publish(&producer, 3..5).await;
    read(&mut reader, 4..=5).await;
    assert_eq!(reader.repeated(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_soon_after_its_consumer_was_deleted() {
    let server = Server::with_streams().await;
    let (producer, connection) = tokio::join!(server.connect("producer"), server.connect("stream-processor"));
    let mut reader = reader(&connection);
    publish(&producer, 0..3).await;
    read(&mut reader, 1..=3).await;
    let admin = server.connect("admin").await;
    let consumers: Value = admin.api("CONSUMER.NAMES.FEED", &Value::Null).await.unwrap();
    let name = consumers["consumers"][0].as_str().unwrap();
    admin.api::<Value>(&format!("CONSUMER.DELETE.FEED.{name}"), &Value::Null).await.unwrap();
    publish(&producer, 3..5).await;
    read(&mut reader, 4..=5).await;
}

/// A delivery that gets lost is read again; a repeated delivery is dropped and counted.
#[tokio::test(flavor = "multi_thread")]
async fn lost_deliveries_are_read_again_and_duplicates_are_dropped() {
    let server = Server::with_streams().await;
    let proxy = Proxy::start(&server).await;
    let (producer, connection) = tokio::join!(server.connect("producer"), proxy.connect(&server, "stream-processor"));
    publish(&producer, 0..100).await;
    let mut deliveries = 0;
    let is_tenth = move |frame: &Frame| {
        deliveries += u32::from(frame.is_delivery());
        frame.is_delivery() && deliveries == 10
    };
    proxy.once(is_tenth, Treatment::Drop);
    let mut reader = reader(&connection);
    read(&mut reader, 1..=100).await;
    proxy.once(Frame::is_delivery, Treatment::Twice);
    publish(&producer, 100..102).await;
    read(&mut reader, 101..=102).await;
    assert_eq!(reader.repeated(), 1);
    proxy.once(Frame::is_delivery, Treatment::CutInside);
    publish(&producer, 102..105).await;
    read(&mut reader, 103..=105).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_crashed_starts_leave_room_for_another() {
    const STARTS: usize = 200;
    let pipeline = TestPipeline::new().await;
    let (producer, connection) =
        tokio::join!(pipeline.server.connect("producer"), pipeline.server.connect("stream-processor"));
    // A dropped reader leaves its consumer behind, like a killed process.
    let crash = async |partition: u32| {
        let filters = MARKET_STEP.kinds.iter().map(|&kind| subject::of_partition(Stream::Feed, partition, kind));
        let selection = Selection { stream: Stream::Feed, filters: filters.collect(), from: 1 };
        let mut reader = Reader::start(&connection, selection);
        assert!(matches!(reader.next().await, Ok(ReaderEvent::Attached { .. })));
    };
    for _ in 0..STARTS {
        futures::future::join_all((0..16).map(&crash)).await;
    }
    let _processor = pipeline.start("stream-processor");
    publish(&producer, 0..5).await;
    pipeline.wait_for_market();
    assert_eq!(pipeline.count("accepted"), 5);
}

/// Messages of one subject between others: a run has the next ones, up to a number, and says whether it is the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_the_next_messages_of_a_subject() {
    let server = Server::with_streams().await;
    let (producer, connection) = tokio::join!(server.connect("producer"), server.connect("aggregator"));
    let other = Instrument::new("ethereum", "usd").unwrap();
    for second in 0..10 {
        publish(&producer, second..second + 1).await;
        publish_tick_of(&producer, &other, 1_600_000_000_000 + second * 1_000).await;
    }
    let subject =
        subject::stored(Stream::Feed, subject::partition("bitcoin", "usd", 16), RecordKind::Tick, "bitcoin", "usd");
    let run = async |from, count| {
        let run = query::run_from(&connection, Stream::Feed, &subject, from, count).await.unwrap();
        assert!(run.messages.iter().all(|message| message.subject == subject && !message.payload.is_empty()));
        (run.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), run.is_end)
    };
    assert_eq!(run(1, 3).await, (vec![1, 3, 5], false));
    assert_eq!(run(4, 2).await, (vec![5, 7], false));
    assert_eq!(run(14, 3).await, (vec![15, 17, 19], true));
    assert_eq!(run(14, 100).await, (vec![15, 17, 19], true));
    assert_eq!(run(19, 1).await, (vec![19], true));
    assert_eq!(run(20, 5).await, (vec![], true));
    let one = async |from| query::one_from(&connection, Stream::Feed, &subject, from).await.unwrap().map(|one| one.seq);
    assert_eq!([one(1).await, one(2).await, one(20).await], [Some(1), Some(3), None]);
}
