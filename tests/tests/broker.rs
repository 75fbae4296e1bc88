//! A NATS server that is small, slow or temporarily down.

use std::time::Duration;

use bus::publish::{FeedMessage, publish};
use bus::topology::Limits;
use bus::{RecordKind, subject};
use bytes::Bytes;
use futures::StreamExt;
use market::Instrument;
use pipeline_tests::programs::{Running, eventually};
use pipeline_tests::proxy::Proxy;
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::{bitcoin, noise, packed, publish_tick, publish_tick_of, tick};

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_names_a_message_that_the_server_does_not_take() {
    let server = Server::with_streams().await;
    let producer = server.connect("producer").await;
    let good = tick(&bitcoin(), 1_600_000_000_000);
    let large = FeedMessage { payload: noise(1 << 20).into(), ..good.clone() };
    let refused = publish(&producer, &large).await.unwrap_err().to_string();
    let parts = ["feed.tick.bitcoin.usd has 1048", "takes 1048576", "max_payload"];
    assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
    assert_eq!(publish(&producer, &good).await.unwrap().seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_with_refused_results_stops_and_others_continue() {
    const LINES: i64 = 500;
    let mut pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let message = packed(&bitcoin(), (0..LINES).map(|line| 1_600_000_000_000 + line * 1_000));
    publish(&producer, &message).await.unwrap();
    // The prices of FEED no longer fit into the message size that the server allows from now on.
    pipeline.server.kill();
    pipeline.server.configure(|conf| conf.replace("max_payload: 1MB", "max_payload: 1KB"));
    pipeline.server.start_again();
    let (_processor, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    let stopped = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("partition stopped"))).unwrap().unwrap();
    let parts = ["market.", ".price.bitcoin.usd has ", "takes 1024", "raise max_payload"];
    assert!(parts.iter().all(|part| stopped.contains(part)), "{stopped}");
    let other = Instrument::new("ethereum", "usd").unwrap();
    assert_ne!(subject::partition("ethereum", "usd", 16), subject::partition("bitcoin", "usd", 16));
    publish_tick_of(&producer, &other, 1_600_000_000_000).await;
    eventually("the other partition continues", || pipeline.count("accepted") == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_commits_sixty_four_partitions_without_refusals() {
    const INSTRUMENTS: usize = 200;
    const ROUNDS: i64 = 5;
    let pipeline = TestPipeline::with_limits(&Limits { partitions: 64, ..Limits::default() }).await;
    let proxy = Proxy::start(&pipeline.server).await;
    let start = |name| Running::start(pipeline.program(name).arg("run").env("NATS_URL", proxy.url()));
    let _services = [start("stream-processor"), start("aggregator")];
    let producer = pipeline.server.connect("producer").await;
    for round in 0..ROUNDS {
        let each = (0..INSTRUMENTS).map(|idx| {
            let instrument = Instrument::new(&format!("coin-{idx}"), "usd").unwrap();
            let producer = &producer;
            async move { publish_tick_of(producer, &instrument, 1_600_000_000_000 + round * 1_000).await }
        });
        futures::stream::iter(each).buffer_unordered(64).count().await;
    }
    pipeline.wait();
    assert_eq!(pipeline.count("accepted"), INSTRUMENTS as u64 * ROUNDS as u64);
    let refusals = [10_176, 10_210, 10_071].map(|code| proxy.refusals(code));
    assert_eq!((refusals, proxy.batches() > 10), ([0, 0, 0], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_continues_where_it_was_disconnected() {
    const INSTRUMENTS: u64 = 16;
    const MESSAGES: u64 = 24;
    let server = Server::start_with(|conf| {
        conf.replace("max_payload: 1MB", "max_payload: 1MB\nmax_pending: 2MB\nwrite_deadline: \"1s\"")
    });
    server.create_streams(&Limits::default()).await;
    let pipeline = TestPipeline::at(server);
    let producer = pipeline.server.connect("producer").await;
    let (processor, mut log) = Running::start_followed(pipeline.program("stream-processor").arg("run"));
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait_for_market();
    // While frozen it reads nothing, and it has requested more than the server buffers for a client. Ticks would be
    // compressed, so each message is one unparsable line.
    processor.signal("STOP");
    let mut line = noise(50_000);
    line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'x');
    let line = Bytes::from(line);
    let each = (0..INSTRUMENTS).map(|idx| {
        let (producer, line) = (&producer, &line);
        let instrument = Instrument::new(&format!("coin-{idx}"), "usd").unwrap();
        async move {
            for message in 0..MESSAGES {
                let id = format!("test/{idx}/{message}");
                let (instrument, payload) = (instrument.clone(), line.clone());
                let message = FeedMessage { kind: RecordKind::Tick, instrument, payload, id };
                publish(producer, &message).await.unwrap();
            }
        }
    });
    futures::future::join_all(each).await;
    eventually("the server gives it up", || pipeline.server.log().contains("Slow Consumer"));
    processor.signal("CONT");
    log.find(|line| line.as_ref().is_ok_and(|line| line.contains("lost the NATS server"))).unwrap().unwrap();
    pipeline.wait_for_market();
    let refused = pipeline.standing()["steps"]["stream-processor"]["counts"]["rejected"]["unparsable"].as_u64();
    assert_eq!((pipeline.count("accepted"), refused), (1, Some(INSTRUMENTS * MESSAGES)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_reports_what_it_missed_during_an_outage() {
    let mut pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let producer = pipeline.server.connect("producer").await;
    let mut watch = pipeline.program("reporter");
    watch.args(["watch", "live.price.bitcoin.usd", "--format", "json"]).stdout(std::process::Stdio::null());
    watch.env("CANDLEWIRE_LOG", "info");
    let (watcher, mut log) = Running::start_followed(&mut watch);
    log.find(|line| line.as_ref().is_ok_and(|line| line.contains("connected and waiting"))).unwrap().unwrap();
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait_for_market();
    // While it is frozen, the server is killed and restarted, and two prices are committed.
    watcher.signal("STOP");
    pipeline.server.kill();
    pipeline.server.start_again();
    for second in 1..=2 {
        publish_tick(&producer, 1_600_000_000_000 + second * 1_000).await;
    }
    pipeline.wait_for_market();
    watcher.signal("CONT");
    // It resubscribes after the restart, which is not visible from outside: publish ticks until it reports what it
    // missed.
    let (told, mut is_told) = tokio::sync::oneshot::channel();
    let listener = std::thread::spawn(move || {
        let missed = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("missed messages")));
        told.send(()).unwrap();
        missed.unwrap().unwrap()
    });
    let mut second = 3;
    while is_told.try_recv().is_err() {
        publish_tick(&producer, 1_600_000_000_000 + second * 1_000).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        second += 1;
    }
    let missed = listener.join().unwrap();
    assert!(missed.contains("live.price.bitcoin.usd after sequence 1 "), "{missed}");
}
