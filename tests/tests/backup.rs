//! Backup and restore of the streams: while the pipeline runs, beside running services, interrupted, damaged, into a
//! cluster.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use bus::stored_time::STORED_HEADER;
use bus::topology::stream_info;
use bus::{Connection, RecordKind, Stream, codec, objects, subject};
use flate2::read::GzDecoder;
use futures::{FutureExt, StreamExt};
use market::Instrument;
use pipeline_tests::cluster::Cluster;
use pipeline_tests::disk::SmallDisk;
use pipeline_tests::host::Host;
use pipeline_tests::programs::{Running, eventually, fail, program, started_by, succeed};
use pipeline_tests::proxy::{Frame, Proxy, Treatment};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use pipeline_tests::ticks::{publish_tick_of, tick_line};
use serde_json::{Value, json};

use crate::kills::{MIDDLE, SAMPLE, TICKS, undisturbed};

/// A month in about 45 seconds, so that it is not over before it is stopped.
const SPEED: &str = "60000x";
/// Rows of the excerpt.
const ROWS: usize = 2_000;

/// The first rows of the sample.
fn excerpt<S: Host>(pipeline: &TestPipeline<S>, rows: usize) -> PathBuf {
    let path = pipeline.dir.path().join(format!("excerpt-{rows}.csv"));
    let lines = BufReader::new(GzDecoder::new(File::open(sample(SAMPLE)).unwrap())).lines();
    let lines: Vec<String> = lines.take(rows + 1).map(Result::unwrap).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// A server without streams.
fn empty() -> TestPipeline {
    TestPipeline::at(Server::start())
}

fn backup<S: Host>(pipeline: &TestPipeline<S>, folder: &Path) -> String {
    succeed(pipeline.program("topology").arg("backup").arg(folder))
}

fn restore<S: Host>(pipeline: &TestPipeline<S>, folder: &Path) -> String {
    succeed(pipeline.program("topology").arg("restore").arg(folder))
}

fn audit<S: Host>(pipeline: &TestPipeline<S>) {
    succeed(pipeline.program("aggregator").arg("audit"));
}

fn counts<S: Host>(pipeline: &TestPipeline<S>) -> [u64; 3] {
    ["accepted", "late", "duplicate"].map(|name| pipeline.count(name))
}

fn stop<const N: usize>(mut services: [Running; N]) {
    services.iter().for_each(Running::terminate);
    assert!(services.iter_mut().all(|service| service.wait() == Some(0)));
}

/// Messages, first and last sequence of every stream of records.
fn contents<S: Host>(pipeline: &TestPipeline<S>) -> Vec<[u64; 3]> {
    let standing = pipeline.standing();
    let of = |stream: Stream| {
        let number = |key: &str| standing["streams"][stream.name()][key].as_u64().unwrap();
        // The server reports first sequence 0 for a new stream, later 1.
        [number("messages"), number("first_seq").max(1), number("last_seq")]
    };
    Stream::ALL.map(of).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_pipeline_at_work_is_whole() {
    let pipeline = TestPipeline::new().await;
    let services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    let mut replay = pipeline.replay_in_the_middle(SAMPLE, MIDDLE, SPEED);
    let folder = pipeline.dir.path().join("backup");
    backup(&pipeline, &folder);
    assert!(replay.is_running(), "the replay ended before the backup");
    replay.kill();
    stop(services);
    let other = empty();
    restore(&other, &folder);
    let _services = ["stream-processor", "aggregator"].map(|name| other.start(name));
    succeed(&mut other.replay(&sample(SAMPLE), "1m"));
    other.wait();
    assert_eq!(&other.tables(), undisturbed().await);
    assert_eq!(counts(&other), [TICKS, 0, 0]);
    audit(&other);
}

/// A stopped pipeline that has processed the excerpt, with an archive, a model and its backup.
async fn kept() -> (TestPipeline, PathBuf) {
    let pipeline = TestPipeline::new().await;
    let services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    // Within a second: hundreds of commits, each of which replaces checkpoints.
    succeed(pipeline.replay(&excerpt(&pipeline, ROWS), "1m").args(["--speed", "120000x"]));
    pipeline.wait();
    stop(services);
    succeed(pipeline.program("trainer").args(["archive", "--archive", "archive"]));
    let trainer = pipeline.server.connect("trainer").await;
    for content in [&b"first"[..], &vec![7; 500_000]] {
        objects::put(&trainer, "model", content).await.unwrap();
    }
    let folder = pipeline.dir.path().join("backup");
    backup(&pipeline, &folder);
    (pipeline, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_streams_equal_the_backup_and_continue() {
    let (pipeline, folder) = kept().await;
    let other = empty();
    let listener = other.server.connect("reporter").await;
    let mut live = listener.client().subscribe("live.>").await.unwrap();
    restore(&other, &folder);
    assert_eq!(contents(&other), contents(&pipeline));
    assert_eq!(other.tables(), pipeline.tables());
    listener.client().flush().await.unwrap();
    assert!(live.next().now_or_never().is_none(), "old prices are not republished");
    audit(&other);
    let admin = other.server.connect("admin").await;
    assert_eq!(objects::get(&admin, "model").await.unwrap(), Some(vec![7; 500_000]));
    assert!(stream_info(&admin, "KV_LEASES").await.is_ok());
    for stream in Stream::ALL {
        let before = stream_info(&pipeline.server.connect("admin").await, stream.name()).await.unwrap();
        let after = stream_info(&admin, stream.name()).await.unwrap();
        assert_eq!(before.config["subjects"], after.config["subjects"]);
        let restored = before.log().unwrap().restored(before.state.last_seq, &after.created);
        assert_eq!(after.log().unwrap(), restored);
    }
    succeed(other.program("topology").arg("plan"));
    // A second backup, of the restored streams, is as good as the first, and the archive continues after both.
    let again = other.dir.path().join("again");
    backup(&other, &again);
    let third = empty();
    restore(&third, &again);
    assert_eq!(contents(&third), contents(&pipeline));
    copy_archive(&pipeline, &third);
    let _services = ["stream-processor", "aggregator"].map(|name| third.start(name));
    succeed(&mut third.replay(&excerpt(&third, ROWS + 500), "1m"));
    third.wait();
    audit(&third);
    assert_eq!(counts(&third), [ROWS as u64 + 500, 0, 0]);
    for _ in 0..2 {
        succeed(third.program("trainer").args(["archive", "--archive", "archive"]));
    }
}

/// The ticks that the stream-processor refused as from the future, and those that it accepted.
fn future_and_accepted(pipeline: &TestPipeline) -> [u64; 2] {
    let refused = &pipeline.standing()["steps"]["stream-processor"]["counts"]["rejected"]["future"];
    [refused.as_u64().unwrap_or(0), pipeline.count("accepted")]
}

/// Publishes a tick of bitcoin/usdt like a forger: its ingest time equals its event time, and it may carry a time of
/// storing.
async fn publish_forged(producer: &Connection, event_ms: i64, stored_ms: Option<i64>) {
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let mut headers = HeaderMap::new();
    if let Some(stored_ms) = stored_ms {
        headers.insert(STORED_HEADER, stored_ms.to_string());
    }
    let (subject, payload) =
        (subject::feed(RecordKind::Tick, &instrument), codec::single(&tick_line(&instrument, event_ms)));
    let stored = producer.jetstream().publish_with_headers(subject, headers, payload).await.unwrap();
    stored.await.unwrap();
}

/// A tick that was ahead of the server's clock when FEED stored it stays refused forever, even when FEED is restored
/// and judged again after its time has come. No client can forge the time of storing, before a restore or after.
#[tokio::test(flavor = "multi_thread")]
async fn a_future_tick_stays_refused_after_restore_and_rebuild() {
    const LEAP_DAY: i64 = 1_582_934_400_000;
    const YEAR_9999: i64 = 253_402_214_400_000;
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let pipeline = TestPipeline::new().await;
    let services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    let producer = pipeline.server.connect("producer").await;
    publish_forged(&producer, LEAP_DAY, Some(0)).await;
    publish_forged(&producer, YEAR_9999, None).await;
    publish_forged(&producer, YEAR_9999, Some(YEAR_9999)).await;
    // It would be accepted five seconds later.
    let soon_ms = now_ms() + 125_000;
    publish_forged(&producer, soon_ms, None).await;
    pipeline.wait();
    assert_eq!(future_and_accepted(&pipeline), [3, 1]);
    audit(&pipeline);
    stop(services);
    let folder = pipeline.dir.path().join("backup");
    backup(&pipeline, &folder);

    eventually("the time of the last tick has come", || now_ms() > soon_ms - 120_000);
    let restored = empty();
    restore(&restored, &folder);
    audit(&restored);
    succeed(restored.program("topology").args(["rebuild", "market", "--yes"]));
    let services = ["stream-processor", "aggregator"].map(|name| restored.start(name));
    let producer = restored.server.connect("producer").await;
    publish_forged(&producer, YEAR_9999, Some(YEAR_9999)).await;
    restored.wait();
    assert_eq!(future_and_accepted(&restored), [4, 1]);
    audit(&restored);
    stop(services);
    let again = restored.dir.path().join("again");
    backup(&restored, &again);

    let twice = empty();
    restore(&twice, &again);
    succeed(twice.program("topology").args(["rebuild", "market", "--yes"]));
    let _services = ["stream-processor", "aggregator"].map(|name| twice.start(name));
    // A replay continues after the last accepted tick.
    succeed(&mut twice.replay(&excerpt(&twice, ROWS), "1m"));
    twice.wait();
    assert_eq!(future_and_accepted(&twice), [4, 1 + ROWS as u64]);
    audit(&twice);
}

fn copy_archive(from: &TestPipeline, to: &TestPipeline) {
    let status =
        std::process::Command::new("cp").arg("-r").arg(from.dir.path().join("archive")).arg(to.dir.path()).status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_ahead_of_the_backup_are_told() {
    let (pipeline, folder) = kept().await;
    let services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    succeed(&mut pipeline.replay(&excerpt(&pipeline, ROWS + 500), "1m"));
    pipeline.wait();
    stop(services);
    succeed(pipeline.program("trainer").args(["archive", "--archive", "archive"]));
    let other = empty();
    restore(&other, &folder);
    copy_archive(&pipeline, &other);
    let _services = ["stream-processor", "aggregator"].map(|name| other.start(name));
    // Other ticks get the sequences that the archive has already read.
    let producer = other.server.connect("producer").await;
    for minute in 0..400 {
        publish(&producer, minute).await;
    }
    other.wait();
    let (code, error) = fail(other.program("trainer").args(["archive", "--archive", "archive"]));
    assert!(code != 0 && error.contains("another MARKET stream") && error.contains("--archive"), "{code} {error}");
}

async fn publish(producer: &Connection, minute: i64) {
    let instrument = Instrument::new("other", "usd").unwrap();
    publish_tick_of(producer, &instrument, 1_600_000_000_000 + minute * 60_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_lose_their_streams_wait_for_the_restore() {
    let (pipeline, folder) = kept().await;
    let mut services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    // More than the backup has.
    succeed(&mut pipeline.replay(&excerpt(&pipeline, ROWS + 500), "1m"));
    pipeline.wait();
    let admin = pipeline.server.connect("admin").await;
    for name in ["FEED", "MARKET", "STATS", "FORECAST", "OBJ_ARTIFACTS", "KV_READERS", "KV_BUDGETS", "KV_LEASES"] {
        admin.api::<Value>(&format!("STREAM.DELETE.{name}"), &json!({})).await.unwrap();
    }
    restore(&pipeline, &folder);
    // As a supervisor does.
    let again = |services: &mut [Running; 2]| {
        for (service, name) in services.iter_mut().zip(["stream-processor", "aggregator"]) {
            if !service.is_running() {
                assert_eq!(service.wait(), Some(1), "{name} may start again");
                *service = pipeline.start(name);
            }
        }
    };
    succeed(&mut pipeline.replay(&excerpt(&pipeline, ROWS + 700), "1m"));
    eventually("all is processed again", || {
        again(&mut services);
        pipeline.count("accepted") == ROWS as u64 + 700 && pipeline.standing()["steps"]["aggregator"]["done"] == true
    });
    audit(&pipeline);
    assert_eq!(counts(&pipeline), [ROWS as u64 + 700, 0, 0]);
    stop(services);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_backup_is_refused_and_changes_nothing() {
    let (pipeline, folder) = kept().await;
    let other = empty();
    let admin = other.server.connect("admin").await;
    let spoil = |what: &str, change: &dyn Fn(&Path)| {
        let copy = other.dir.path().join(what);
        assert!(std::process::Command::new("cp").arg("-r").arg(&folder).arg(&copy).status().unwrap().success());
        change(&copy);
        let (code, error) = fail(other.program("topology").arg("restore").arg(&copy));
        assert!(code == 2 && error.contains(what), "{what}: {code} {error}");
        let (code, _) = fail(program("topology", other.dir.path()).args(["restore", "--check"]).arg(&copy));
        assert_eq!(code, 2, "{what}");
    };
    let edited = |copy: &Path, file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let path = copy.join(file);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
    };
    let said = |copy: &Path, old: &str, new: &str| {
        let change = |bytes| String::from_utf8(bytes).unwrap().replacen(old, new, 1).into_bytes();
        edited(copy, "manifest.json", &change);
    };
    spoil("MARKET.messages", &|copy| edited(copy, "MARKET.messages.gz", &|bytes| bytes[..bytes.len() - 1].to_vec()));
    spoil("SHA-256", &|copy| edited(copy, "FEED.messages.gz", &|bytes| [&bytes[..], b"x"].concat()));
    spoil("was changed", &|copy| said(copy, "\"max_age\": 0", "\"max_age\": 1"));
    let older = "its format is 3, this version reads 4: restore it with the version that made it";
    spoil(older, &|copy| said(copy, "\"format\": 4", "\"format\": 3"));
    spoil("manifest.json", &|copy| fs::remove_file(copy.join("manifest.json")).unwrap());
    spoil("STATS", &|copy| fs::remove_file(copy.join("STATS.messages.gz")).unwrap());
    assert!(stream_info(&admin, "FEED").await.is_err(), "nothing was created");
    let (code, error) = fail(pipeline.program("topology").arg("restore").arg(&folder));
    assert!(code == 2 && error.contains("FEED, MARKET") && error.contains("move its store"), "{code} {error}");
    let (code, error) = fail(pipeline.program("topology").arg("backup").arg(&folder));
    assert!(code == 2 && error.contains("exists already"), "{code} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_shows_nothing_and_is_done_again() {
    let (pipeline, folder) = kept().await;
    let other = empty();
    let mut restoring = Running::start(other.program("topology").arg("restore").arg(&folder));
    let admin = other.server.connect("admin").await;
    let state = async || admin.api::<Value>("STREAM.INFO.MARKET", &json!({})).await;
    while state().await.is_err() {}
    restoring.kill();
    let info = state().await.unwrap();
    if info["config"]["metadata"]["candlewire.restoring"].is_string() {
        let (code, error) = fail(other.program("topology").arg("plan"));
        assert!(code == 1 && error.contains("being restored"), "{code} {error}");
        let (code, error) = fail(other.program("topology").arg("apply"));
        assert!(code == 1 && error.contains("topology restore"), "{code} {error}");
        restore(&other, &folder);
    }
    assert_eq!(contents(&other), contents(&pipeline));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_come_to_its_end_leaves_nothing() {
    let (pipeline, _) = kept().await;
    let names =
        || fs::read_dir(pipeline.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = names();
    let folder = pipeline.dir.path().join("late");
    for signal in ["TERM", "KILL"] {
        let mut running = Running::start(pipeline.program("topology").arg("backup").arg(&folder));
        eventually("it has started", || names().len() > before.len() || !running.is_running());
        running.signal(signal);
        running.wait();
        assert!(signal == "KILL" || folder.exists() || names().len() == before.len(), "{:?}", names());
    }
    drop(fs::remove_dir_all(&folder));
    backup(&pipeline, &folder);
    assert_eq!(names().len(), before.len() + 1, "the remains of the killed one are removed: {:?}", names());
}

/// The hidden folders beside a backup, by name.
fn hidden<S: Host>(pipeline: &TestPipeline<S>) -> Vec<String> {
    let names =
        fs::read_dir(pipeline.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

/// The running backup is in its own process namespace, as in a container, so its process id means nothing outside.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_backup_removes_a_killed_one_but_no_living_one() {
    let (pipeline, _) = kept().await;
    // Each blocks when the first messages of a stream arrive.
    let half_done = async |name: &str, prefix: &[&str]| {
        let proxy = Proxy::start(&pipeline.server).await;
        proxy.once(Frame::is_delivery, Treatment::Hold);
        let mut command = pipeline.program("topology");
        command.args(["backup", name]).env("NATS_URL", proxy.url());
        let running = Running::start(&mut started_by(prefix, &command));
        proxy.held(1).await;
        (proxy, running)
    };
    let (_proxy, mut killed) = half_done("killed", &[]).await;
    let (proxy, mut living) = half_done("living", &["unshare", "--pid", "--fork", "--kill-child"]).await;
    killed.kill();
    assert_eq!(hidden(&pipeline).len(), 2, "{:?}", hidden(&pipeline));
    backup(&pipeline, &pipeline.dir.path().join("next"));
    let left = hidden(&pipeline);
    assert!(left.len() == 1 && left[0].starts_with(".living."), "{left:?}");
    proxy.release();
    assert_eq!(living.wait(), Some(0));
    assert_eq!(hidden(&pipeline), [""; 0]);
    for name in ["living", "next"] {
        let names = fs::read_dir(pipeline.dir.path().join(name)).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')), "{name}");
        succeed(pipeline.program("topology").args(["restore", "--check", name]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_a_backup_is_said_and_leaves_nothing() {
    let disk = SmallDisk::new(16 << 10);
    let (pipeline, _) = kept().await;
    let mut command = pipeline.program("topology");
    command.arg("backup").arg(disk.path().join("backup"));
    let (code, error) = fail(&mut disk.seen_by(&command));
    assert!(code == 1 && error.contains("No space left on device"), "{code} {error}");
    let mut list = std::process::Command::new("ls");
    list.arg("-A").arg(disk.path());
    assert_eq!(succeed(&mut disk.seen_by(&list)), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_becomes_three() {
    let (pipeline, folder) = kept().await;
    let cluster = TestPipeline { server: Cluster::start(), dir: tempfile::tempdir().unwrap() };
    succeed(cluster.program("topology").arg("restore").arg(&folder).args(["--replicas", "3"]));
    cluster.server.wait_until_whole();
    assert_eq!(contents(&cluster), contents(&pipeline));
    assert_eq!(cluster.tables(), pipeline.tables());
    succeed(cluster.program("topology").args(["plan", "--replicas", "3"]));
    let _services = ["stream-processor", "aggregator"].map(|name| cluster.start(name));
    succeed(&mut cluster.replay(&excerpt(&cluster, ROWS + 500), "1m"));
    cluster.wait();
    audit(&cluster);
    assert_eq!(counts(&cluster), [ROWS as u64 + 500, 0, 0]);
}
