//! The `topology` command against a real server: refusals, trimming, rebuilds.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use bus::protocol::{Position, positions};
use bus::topology::{Limits, definitions, stream_info};
use bus::{Connection, Stream, subject};
use flate2::read::GzDecoder;
use market::Instrument;
use pipeline_tests::programs::{NEVER, Running, eventually, fail, succeed};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use pipeline_tests::ticks::{instruments, publish_tick_of};
use serde_json::{Value, json};

use crate::kills::{SAMPLE, TICKS};

/// Rows of the excerpt.
const ROWS: u64 = 3_000;

/// The first rows of the sample: two days of minutes.
fn excerpt(pipeline: &TestPipeline) -> PathBuf {
    let path = pipeline.dir.path().join("excerpt.csv");
    let lines = BufReader::new(GzDecoder::new(File::open(sample(SAMPLE)).unwrap())).lines();
    let lines: Vec<String> = lines.take(ROWS as usize + 1).map(Result::unwrap).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// A stopped pipeline that has processed the excerpt.
async fn processed() -> TestPipeline {
    let pipeline = TestPipeline::new().await;
    let services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    succeed(&mut pipeline.replay(&excerpt(&pipeline), "1m"));
    pipeline.wait();
    stop(services);
    pipeline
}

fn stop<const N: usize>(mut services: [Running; N]) {
    services.iter().for_each(Running::terminate);
    assert!(services.iter_mut().all(|service| service.wait() == Some(0)));
}

async fn checkpoints(connection: &Connection) -> Vec<(u32, Position<Value>)> {
    let mut all = Vec::new();
    for stream in [Stream::Market, Stream::Stats] {
        all.extend(positions::<Value>(connection, stream).await.unwrap());
    }
    all
}

/// The result messages of a stream, without checkpoints.
async fn results(connection: &Connection, stream: Stream) -> u64 {
    let held =
        connection.api::<Value>(&format!("STREAM.INFO.{stream}"), &json!({ "subjects_filter": ">" })).await.unwrap();
    let subjects = held["state"]["subjects"].as_object().unwrap();
    let of_results = subjects.iter().filter(|(subject, _)| !subject.starts_with("checkpoint."));
    of_results.map(|(_, count)| count.as_u64().unwrap()).sum()
}

async fn publish_tick(connection: &Connection, coin: &str, event_ms: i64) {
    publish_tick_of(connection, &Instrument::new(coin, "usd").unwrap(), event_ms).await;
}

/// `topology apply` refuses every change that could delete a checkpoint, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_could_delete_a_checkpoint_are_refused() {
    let deletes = "deletes checkpoints";
    let spoilt = [
        (json!({ "max_age": 3_600_000_000_000_u64 }), "max_age", deletes),
        (json!({ "discard": "old" }), "discard", deletes),
        (json!({ "max_msgs": 1_000_000 }), "max_msgs", deletes),
        (json!({ "max_msgs_per_subject": 100 }), "max_msgs_per_subject", deletes),
        (json!({ "allow_atomic": false }), "allow_atomic", "without their position"),
        (json!({ "allow_rollup_hdrs": false }), "allow_rollup_hdrs", "replacing the one before it"),
        // The server refuses roll-ups when purging is denied.
        (json!({ "deny_purge": true, "allow_rollup_hdrs": false }), "deny_purge", "replacing the one before it"),
    ];
    let server = Server::start();
    let admin = server.connect("admin").await;
    let pipeline = TestPipeline { server, dir: tempfile::tempdir().unwrap() };
    succeed(pipeline.program("topology").arg("apply"));
    for (change, key, reason) in spoilt {
        let mut definition = definitions(&Limits::default())[1].clone();
        definition.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        admin.api::<Value>("STREAM.DELETE.MARKET", &json!({})).await.unwrap();
        admin.api::<Value>("STREAM.CREATE.MARKET", &definition).await.unwrap();
        for command in ["plan", "apply"] {
            let output = pipeline.program("topology").arg(command).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let line = said.lines().find(|line| line.contains(&format!("{key} is ")) && line.contains(reason));
            assert!(line.is_some_and(|line| line.contains("MARKET")), "{command} {key}: {said}");
            assert_eq!(output.status.code(), Some(if command == "plan" { 1 } else { 3 }), "{command} {key}: {said}");
        }
        for service in ["stream-processor", "aggregator"] {
            let (code, error) = fail(pipeline.program(service).arg("run"));
            assert!(code == 3 && error.contains("stream MARKET differs"), "{service} {key}: {code} {error}");
        }
    }
}

/// A rebuild recreates the same tables; the archive of before cannot be continued.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_recreates_equal_tables_and_ends_the_archive() {
    let pipeline = processed().await;
    let tables = pipeline.tables();
    let archive = || {
        let mut command = pipeline.program("trainer");
        command.args(["archive", "--archive", "archive"]);
        command
    };
    succeed(&mut archive());
    let (code, error) = fail(pipeline.program("topology").args(["rebuild", "market"]));
    assert!(code == 2 && error.contains("--yes"), "{code} {error}");
    assert_eq!(pipeline.count("accepted"), ROWS, "without --yes nothing happens");
    succeed(pipeline.program("topology").args(["rebuild", "market", "--yes"]));
    assert_eq!(pipeline.count("accepted"), 0);
    let services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    pipeline.wait();
    assert_eq!(pipeline.tables(), tables);
    assert_eq!(["accepted", "late", "duplicate"].map(|name| pipeline.count(name)), [ROWS, 0, 0]);
    let (code, error) = fail(&mut archive());
    assert!(code == 3 && error.contains("another MARKET stream"), "{code} {error}");
    stop(services);
    succeed(pipeline.program("topology").args(["rebuild", "stats", "--yes"]));
    assert_eq!(pipeline.count("accepted"), ROWS, "MARKET stays");
    let _aggregator = pipeline.start("aggregator");
    pipeline.wait();
    assert_eq!(pipeline.tables(), tables);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_rebuilt_under_a_living_instance() {
    let pipeline = TestPipeline::new().await;
    let mut aggregator = pipeline.start("aggregator");
    let rebuild = |flags: &[&str]| fail(pipeline.program("topology").arg("rebuild").args(flags));
    eventually("the aggregator has joined", || rebuild(&["stats"]).0 == 1);
    let place = format!("aggregator ({}:{})", hostname(), aggregator.id());
    for stream in ["market", "stats"] {
        let (code, error) = rebuild(&[stream, "--yes"]);
        assert!(code == 1 && error.contains("still running") && error.contains(&place), "{stream}: {code} {error}");
    }
    aggregator.kill();
    succeed(pipeline.program("topology").args(["rebuild", "stats", "--yes"]));
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_keeps_checkpoints_and_stops_at_the_slowest_reader() {
    let pipeline = processed().await;
    let admin = pipeline.server.connect("admin").await;
    let trim = |flags: &[&str]| succeed(pipeline.program("topology").args(["trim", "market"]).args(flags));
    let (before, held) = (checkpoints(&admin).await, results(&admin, Stream::Market).await);
    assert!(trim(&[]).contains("MARKET: 0 messages removed"), "nothing is 90 days old");

    let first = trim(&["--older-than", "0s", "--dry-run"]);
    assert!(first.contains(&format!("MARKET: {held} messages would be removed")), "{first}");
    succeed(pipeline.program("trainer").args(["archive", "--archive", "archive"]));
    let aggregator = pipeline.start("aggregator");
    aggregator.signal("STOP");
    let producer = pipeline.server.connect("producer").await;
    let services = [pipeline.start("stream-processor")];
    publish_tick(&producer, "ripple", 1_600_000_000_000).await;
    pipeline.wait_for_market();
    let said = trim(&["--older-than", "0s"]);
    assert!(said.contains("are kept: aggregator partition "), "{said}");
    aggregator.signal("CONT");
    pipeline.wait();
    // The aggregator needs its input until it has stored its states.
    eventually("the archive is the slowest", || {
        trim(&["--older-than", "0s", "--dry-run"]).contains("are kept: the archive ")
    });
    let said = trim(&["--older-than", "0s"]);
    assert!(said.contains("are kept: the archive "), "{said}");
    assert_eq!(results(&admin, Stream::Market).await, 1, "the price that is not archived yet");
    // A forgotten archive is overtaken, and reports it instead of leaving a hole.
    let id = said.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
    let said = trim(&["--older-than", "0s", "--forget", id]);
    assert!(said.contains("MARKET: 1 messages removed"), "{said}");
    let (code, error) = fail(pipeline.program("trainer").args(["archive", "--archive", "archive"]));
    assert!(code == 1 && error.contains("but MARKET now begins at"), "{code} {error}");
    let after = checkpoints(&admin).await;
    let is_kept = |(partition, position): &(u32, Position<Value>)| {
        after
            .iter()
            .any(|(p, now)| p == partition && now.states >= position.states && now.position >= position.position)
    };
    assert!(!before.is_empty() && before.iter().all(is_kept), "{before:?} {after:?}");
    drop((services, aggregator));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_another_version_is_refused_until_it_is_forgotten() {
    let pipeline = TestPipeline::new().await;
    let admin = pipeline.server.connect("admin").await;
    let older = json!({ "name": "the archive of before", "log": "then", "through": 1 }).to_string();
    let subject = subject::reader(Stream::Market, "0123456789abcdef");
    admin.jetstream().publish(subject, older.into()).await.unwrap().await.unwrap();
    let (_, error) = fail(pipeline.program("topology").args(["trim", "market"]));
    assert!(error.contains("another version of candlewire stored it"), "{error}");
    let advice = "`topology trim --forget 0123456789abcdef`";
    assert!(error.contains(advice), "{error}");
    succeed(pipeline.program("topology").args(["trim", "--forget", "0123456789abcdef"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_go_on_after_trimming_as_if_nothing_had_been() {
    let pipeline = TestPipeline::new().await;
    let start = || ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    let services = start();
    let producer = pipeline.server.connect("producer").await;
    publish_tick(&producer, "quiet", 1_600_000_000_000).await;
    pipeline.wait();
    // During the work, repeatedly.
    let mut replay = Running::start(pipeline.replay(&sample(SAMPLE), "1m").args(["--speed", "1200000x"]));
    while replay.is_running() {
        succeed(pipeline.program("topology").args(["trim", "--older-than", "0s"]));
    }
    assert_eq!(replay.wait(), Some(0));
    pipeline.wait();
    succeed(pipeline.program("topology").args(["trim", "--older-than", "0s"]));
    let admin = pipeline.server.connect("admin").await;
    let begins = stream_info(&admin, "MARKET").await.unwrap().begins();
    assert!(begins > 1 && results(&admin, Stream::Stats).await == 0);
    stop(services);
    let services = start();
    publish_tick(&producer, "quiet", 1_600_000_001_000).await;
    pipeline.wait();
    assert_eq!(["accepted", "late", "duplicate"].map(|name| pipeline.count(name)), [TICKS + 2, 0, 0]);
    stop(services);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_beside_a_live_source() {
    const PAUSE: Duration = Duration::from_millis(20);
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let producer = pipeline.server.connect("producer").await;
    // Partitions of which one always has uncommitted input.
    let live = tokio::spawn(async move {
        let instruments = instruments(4);
        for event_ms in (1_600_000_000_000..).step_by(20) {
            for instrument in &instruments {
                publish_tick_of(&producer, instrument, event_ms).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
    let mut waiting = pipeline.program("topology");
    let waited = tokio::task::spawn_blocking(move || succeed(waiting.args(["wait", "--stalled", "0"])));
    let said = tokio::time::timeout(NEVER, waited).await.expect("it ends").unwrap();
    live.abort();
    assert_eq!(said, "every step has committed all of its input\n");
}
