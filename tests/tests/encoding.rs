//! Messages of many lines are compressed in transit and in the streams, and decompressed for every reader.

use async_nats::HeaderMap;
use bus::codec::{ENCODING_HEADER, PLAIN_BYTES_MAX};
use bus::reader::{Form, Selection, read_to_end_as};
use bus::{Connection, Error, NatsArgs, Stream};
use futures::StreamExt;
use pipeline_tests::programs::succeed;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{bitcoin, minutes, publish_tick, tick_line};

/// Encoding and bytes of every message on a subject, as it is stored.
async fn stored(connection: &Connection, stream: Stream, subject: &str) -> Vec<(Option<String>, usize)> {
    let selection = Selection { stream, filters: vec![subject.to_owned()], from: 1 };
    let mut found = Vec::new();
    let read = read_to_end_as(connection, selection, Form::Stored, |delivery| {
        let encoding = delivery.headers.as_ref().and_then(|headers| headers.get(ENCODING_HEADER));
        found.push((encoding.map(|encoding| encoding.as_str().to_owned()), delivery.payload.len()));
        Ok::<_, Error>(())
    });
    read.await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_stored_compressed_and_a_live_price_as_it_is() {
    let pipeline = TestPipeline::new().await;
    let admin = pipeline.server.connect("admin").await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    succeed(pipeline.replay(&minutes(pipeline.dir.path(), 5_000), "1m").args(["--speed", "max"]));
    pipeline.wait();
    for (stream, subject) in [
        (Stream::Feed, "feed.*.tick.>"),
        (Stream::Market, "market.*.price.>"),
        (Stream::Market, "market.*.candle-1m.>"),
    ] {
        let found = stored(&admin, stream, subject).await;
        let bytes: usize = found.iter().map(|(_, bytes)| bytes).sum();
        let is_plain = |(encoding, bytes): &&(Option<String>, usize)| encoding.is_none() && *bytes <= PLAIN_BYTES_MAX;
        let plain = found.iter().filter(is_plain).count();
        let encoded = found.iter().filter(|(encoding, _)| encoding.as_deref() == Some("zstd")).count();
        assert!(encoded >= 9 && plain <= 1 && encoded + plain == found.len(), "{subject}: {found:?}");
        assert!(bytes < 5_000 * 40, "{subject}: {bytes} bytes");
    }
    succeed(pipeline.program("aggregator").arg("audit"));
    let viewer = Connection::open(&NatsArgs::at(pipeline.server.url()), None).await.unwrap();
    let mut live = viewer.client().subscribe("live.price.>").await.unwrap();
    viewer.client().flush().await.unwrap();
    publish_tick(&pipeline.server.connect("producer").await, 1_600_000_000_000).await;
    let price = live.next().await.unwrap();
    assert!(price.headers.unwrap().get(ENCODING_HEADER).is_none());
    assert!(price.payload.starts_with(b"{\"coin\":\"bitcoin\",\"quote\":\"usd\",\"event_ms\":1600000000000,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_messages_are_refused_and_the_partition_continues() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    publish_tick(&producer, 1_600_000_000_000).await;
    let line = serde_json::to_string(&tick_line(&bitcoin(), 1_600_000_001_000)).unwrap();
    for (encoding, payload) in [("br", line.as_bytes()), ("zstd", line.as_bytes()), ("zstd", b"\x28\xb5\x2f\xfd\x24")] {
        let mut headers = HeaderMap::new();
        headers.insert("Candlewire-Schema", "tick/1");
        headers.insert(ENCODING_HEADER, encoding);
        let payload = payload.to_vec().into();
        let sent = producer.jetstream().publish_with_headers("feed.tick.bitcoin.usd", headers, payload).await;
        sent.unwrap().await.unwrap();
    }
    publish_tick(&producer, 1_600_000_002_000).await;
    pipeline.wait();
    let counts = &pipeline.standing()["steps"]["stream-processor"]["counts"];
    assert_eq!((&counts["accepted"], &counts["rejected"]["unknown-version"]), (&2.into(), &3.into()), "{counts}");
    succeed(pipeline.program("aggregator").arg("audit"));
}
