//! Resource limits of viewers and readers: they can never starve a service.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use bus::Connection;
use pipeline_tests::attacker::Attacker;
use pipeline_tests::health::Watched;
use pipeline_tests::programs::{eventually, succeed};
use pipeline_tests::server::{Server, checkout};
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks::publish_tick;
use serde_json::{Value, json};

/// Connections of all viewers, and subscriptions of each.
const CONNECTIONS: usize = 16;
const SUBSCRIPTIONS: usize = 8;
/// Consumers that readers may create on a stream.
const CONSUMERS: u32 = 32;
/// The streams that readers read, with their result subjects.
const READ: [(&str, &str); 3] = [("MARKET", "market.>"), ("STATS", "stats.>"), ("FORECAST", "forecast.>")];

/// A viewer that speaks the protocol directly.
struct Viewer {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Viewer {
    /// Connects and sends `words`; returns the server's error, if any.
    fn connect(server: &Server, words: &str) -> (Self, Option<String>) {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut viewer = Self { stream, lines };
        let error = viewer.say(&format!("CONNECT {{\"verbose\":false}}\r\n{words}"));
        (viewer, error)
    }

    fn say(&mut self, words: &str) -> Option<String> {
        // A closed connection accepts nothing more, but its last line can be read.
        drop(self.stream.write_all(format!("{words}PING\r\n").as_bytes()));
        let mut error = None;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 || line.starts_with("PONG") {
                return error;
            }
            if line.starts_with("-ERR") {
                error = Some(line.trim_end().to_owned());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_share_so_many_connections_and_subscriptions() {
    let pipeline = TestPipeline::new().await;
    let mut viewers = Vec::new();
    for number in 1..=CONNECTIONS {
        let (viewer, error) = Viewer::connect(&pipeline.server, "");
        assert_eq!(error, None, "viewer {number}");
        viewers.push(viewer);
    }
    let (_, refusal) = Viewer::connect(&pipeline.server, "");
    assert!(refusal.is_some_and(|error| error.contains("maximum account active connections exceeded")));
    // Users with a password have their own connections.
    for user in ["admin", "producer", "reader"] {
        pipeline.server.connect(user).await;
    }
    let subscribe = |number: usize| format!("SUB live.> {number}\r\n");
    let viewer = &mut viewers[0];
    assert_eq!(viewer.say(&(1..=SUBSCRIPTIONS).map(subscribe).collect::<String>()), None);
    let refusal = viewer.say(&subscribe(SUBSCRIPTIONS + 1));
    assert!(refusal.is_some_and(|error| error.contains("maximum subscriptions exceeded")));
    assert_eq!(viewer.say("UNSUB 1\r\nSUB live.price.> 99\r\n"), None, "the connection stays");
}

/// A reader's consumer, which the server deletes after this many seconds without a request.
fn consumer(stream: &str, name: &str, subjects: &str, inactive_s: u64) -> (String, String) {
    let config = json!({
        "name": name, "ack_policy": "none", "mem_storage": true, "filter_subject": subjects,
        "inactive_threshold": inactive_s * 1_000_000_000,
    });
    let call = format!("$JS.API.CONSUMER.CREATE.{stream}.{name}.{subjects}");
    (call, json!({ "stream_name": stream, "config": config }).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_every_consumer_blocks_no_service() {
    let pipeline = TestPipeline::new().await;
    let producer = pipeline.server.connect("producer").await;
    let archive = pipeline.dir.path().join("archive");
    let start = || {
        let [processor, aggregator] = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
        let trainer = ["run", "--coin", "bitcoin", "--quote", "usd", "--archive"];
        let trainer = Watched::start(pipeline.program("trainer").args(trainer).arg(&archive), |_| ());
        let page = Watched::start(pipeline.program("reporter").args(["run", "--listen", "127.0.0.1:0"]), |_| ());
        (processor, aggregator, trainer, page)
    };
    let services = start();
    publish_tick(&producer, 1_600_000_000_000).await;
    pipeline.wait();
    let mut reader = Attacker::connect(&pipeline.server, "reader").await;
    for (stream, subjects) in READ {
        for number in 1..=CONSUMERS {
            let (call, body) = consumer(stream, &format!("reader-{number}"), subjects, 300);
            assert!(!reader.is_refused(&call, &body).await, "{call}");
        }
        let (call, body) = consumer(stream, "reader-33", subjects, 300);
        assert!(reader.is_publish_denied(&call, None, &body).await, "{call}");
        // No consumer may stay for days without requests.
        let (call, body) = consumer(stream, "reader-1", subjects, 30 * 86_400);
        assert!(reader.is_refused(&call, &body).await, "{call}");
    }
    drop(services);
    let (_processor, _aggregator, trainer, page) = start();
    publish_tick(&producer, 1_600_000_060_000).await;
    publish_tick(&producer, 1_600_000_120_000).await;
    pipeline.wait();
    assert_eq!(pipeline.count("accepted"), 3);
    eventually("the trainer and the page are ready", || trainer.is_ready() && page.is_ready());
    succeed(pipeline.program("aggregator").arg("audit"));
    // Another reader waits until a name is free.
    let admin: Connection = pipeline.server.connect("admin").await;
    let deleted = admin.api::<Value>("CONSUMER.DELETE.STATS.reader-7", &json!({})).await.unwrap();
    assert_eq!(deleted["success"], true);
    let table = succeed(pipeline.program("aggregator").args(["show", "hourly", "--all", "--format", "csv"]));
    assert!(table.lines().count() > 0, "{table}");
}

/// Opens 300 connections in sequence; prints how many the server accepted, and over how many seconds at most.
const CONNECT_OFTEN: &str = r#"
began=$(date +%s) taken=0
for _ in {1..300}; do
    if (exec 3<>/dev/tcp/127.0.0.1/4222) 2>/dev/null; then taken=$((taken + 1)); fi
done
echo "$taken $(($(date +%s) - began + 1))"
"#;

/// In a separate network namespace: root floods the server while another user connects.
#[test]
fn the_firewall_rations_the_connections_of_each_user() {
    let run = r#"
        ip link set lo up
        .tools/nats-server -a 127.0.0.1 -p 4222 2>/dev/null &
        server=$!
        until (exec 3<>/dev/tcp/127.0.0.1/4222) 2>/dev/null; do kill -0 "$server"; done
        exec 4<>/dev/tcp/127.0.0.1/4222
        nft -f deploy/firewall.nft
        nft -f deploy/firewall.nft
        bash -c "$1"
        for _ in {1..300}; do printf 'PING\r\n' >&4; done
        printf 'CONNECT {}\r\nPING\r\n' >&4
        grep -m 300 -c PONG <&4
        setpriv --reuid 65534 --clear-groups bash -c 'exec 3<>/dev/tcp/127.0.0.1/4222 && echo another user can connect'
        kill "$server"
    "#;
    let arguments = ["--net", "bash", "-euc", run, "bash", CONNECT_OFTEN];
    let said = succeed(Command::new("unshare").args(arguments).current_dir(checkout()));
    let [counts, answers, rest] = said.trim_end().split('\n').collect::<Vec<_>>()[..] else { panic!("{said}") };
    let (taken, seconds) = counts.split_once(' ').unwrap();
    let (taken, seconds): (u64, u64) = (taken.parse().unwrap(), seconds.parse().unwrap());
    assert!((64..=64 + 20 * seconds).contains(&taken), "{taken} connections in {seconds} s");
    assert_eq!(answers, "300", "the existing connection still works");
    assert_eq!(rest, "another user can connect");
}
