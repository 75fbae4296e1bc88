//! Full storage: services report it, wait, and continue by themselves when there is room. Nothing is lost.

use std::io::{BufReader, Lines};
use std::process::ChildStderr;

use bus::topology::Limits;
use pipeline_tests::disk::SmallDisk;
use pipeline_tests::programs::{Running, succeed};
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::{TestPipeline, sample};

const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
/// Rows of the sample.
const ROWS: u64 = 44_512;

type Log = Lines<BufReader<ChildStderr>>;

/// Waits for a log line that contains all of this.
fn said(log: &mut Log, parts: &[&str]) -> String {
    let says = |line: &String| parts.iter().all(|part| line.contains(part));
    log.map_while(Result::ok).find(says).unwrap_or_else(|| panic!("no log line with {parts:?}"))
}

fn start(pipeline: &TestPipeline) -> (Running, Log) {
    Running::start_followed(pipeline.program("stream-processor").arg("run").env("CANDLEWIRE_LOG", "info"))
}

/// Every tick is stored, once.
fn check(pipeline: &TestPipeline) {
    pipeline.wait_for_market();
    let counts = ["accepted", "late", "duplicate"].map(|name| pipeline.count(name));
    assert_eq!(counts, [ROWS, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_said_and_waited_for() {
    let pipeline = TestPipeline::with_limits(&Limits { market_bytes: 1 << 20, ..Limits::default() }).await;
    let (_processor, mut log) = start(&pipeline);
    succeed(&mut pipeline.replay(&sample(SAMPLE), "1m"));
    said(&mut log, &["WARN", "storage is full", "a commit to MARKET", "maximum bytes exceeded", "topology apply"]);
    succeed(pipeline.program("topology").args(["apply", "--market-bytes", "64MiB"]));
    said(&mut log, &["INFO", "resuming"]);
    check(&pipeline);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_store_no_more_is_said_and_waited_for() {
    let mut pipeline = TestPipeline::new().await;
    pipeline.server.kill();
    pipeline.server.configure(|conf| conf.replace("max_file_store: 20GB", "max_file_store: 2MB"));
    pipeline.server.start_again();
    let (_processor, mut log) = start(&pipeline);
    let mut producer = Running::start(pipeline.replay(&sample(SAMPLE), "1m").stdout(std::process::Stdio::null()));
    said(&mut log, &["WARN", "storage is full", "insufficient", "more storage"]);
    pipeline.server.kill();
    pipeline.server.configure(|conf| conf.replace("max_file_store: 2MB", "max_file_store: 20GB"));
    pipeline.server.start_again();
    assert_eq!(producer.wait(), Some(0));
    check(&pipeline);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_archive_is_waited_for() {
    let disk = SmallDisk::new(64 << 10);
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    succeed(&mut pipeline.replay(&sample(SAMPLE), "1m"));
    check(&pipeline);
    let mut command = pipeline.program("trainer");
    command.env("CANDLEWIRE_LOG", "info").args(["run", "--threads", "1", "--folds", "1", "--rounds", "20"]);
    command.args(["--every", "240h", "--archive"]).arg(disk.path().join("archive"));
    let (mut trainer, mut log) = Running::start_followed(&mut disk.seen_by(&command));
    said(&mut log, &["WARN", "waiting: ", "No space left on device"]);
    disk.grow(64 << 20);
    said(&mut log, &["INFO", "resuming: the archive is written"]);
    succeed(pipeline.program("topology").args(["wait", "forecast"]));
    trainer.terminate();
    said(&mut log, &["archive is written"]);
    assert_eq!(trainer.wait(), Some(0));
    let train = ["train", "--offline", "--folds", "0", "--rounds", "1", "--out"];
    let mut command = pipeline.program("trainer");
    command.args(train).arg(disk.path().join("out")).arg("--archive").arg(disk.path().join("archive"));
    let table = succeed(&mut disk.seen_by(&command));
    assert!(table.contains(&format!("{ROWS} ticks")), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_hinted_at_and_nothing_is_lost() {
    let disk = SmallDisk::new(2_560 << 10);
    let server = Server::start_on(&disk);
    server.create_streams(&Limits::default()).await;
    let mut pipeline = TestPipeline::at(server);
    let (_processor, mut log) = start(&pipeline);
    let mut producer = Running::start(pipeline.replay(&sample(SAMPLE), "1m").stdout(std::process::Stdio::null()));
    said(&mut log, &["WARN", "full"]);
    assert!(pipeline.server.log().contains("no space left on device"));
    // The server does not use a full disk again until it is restarted.
    pipeline.server.kill();
    disk.grow(200 << 20);
    pipeline.server.start_again();
    assert_eq!(producer.wait(), Some(0));
    check(&pipeline);
}
