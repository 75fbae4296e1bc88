//! Summary of a replay on its rows in the stream-processor: accepted, late and refused, exact or unknown.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bus::RecordKind;
use bus::publish::{FeedMessage, publish};
use market::Instrument;
use pipeline_tests::programs::{Running, eventually, succeed};
use pipeline_tests::proxy::Proxy;
use pipeline_tests::test_pipeline::TestPipeline;
use serde_json::{Value, json};

const HEADER: &str = "timestamp_ms,open,high,low,close,volume";
/// 2020-03-01T00:00:00Z.
const START: i64 = 1_583_020_800_000;

/// A file of these rows.
fn file(pipeline: &TestPipeline, name: &str, rows: impl IntoIterator<Item = String>) -> PathBuf {
    let path = pipeline.dir.path().join(name);
    let rows: Vec<String> = rows.into_iter().collect();
    std::fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
    path
}

fn good(minute: i64) -> String {
    format!("{},100,110,90,105,1.5", START + minute * 60_000)
}

/// A row whose low is above its high.
fn bad(minute: i64) -> String {
    format!("{},100,90,110,100,1.5", START + minute * 60_000)
}

/// A replay that waits for the stream-processor and writes its summary.
fn replay(pipeline: &TestPipeline, file: &Path) -> Command {
    let mut command = pipeline.replay(file, "1m");
    command.args(["--summary", "summary.json"]).env("CANDLEWIRE_DOWNSTREAM_WAIT", "30s");
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code(), stdout, stderr)
}

fn summary(pipeline: &TestPipeline) -> Value {
    serde_json::from_slice(&std::fs::read(pipeline.dir.path().join("summary.json")).unwrap()).unwrap()
}

/// The stored rejects.
fn rejects(pipeline: &TestPipeline) -> Vec<Value> {
    let text = std::fs::read_to_string(pipeline.dir.path().join("rejects.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The producer publishes only rows that MARKET accepts; these two are corrupted in transit.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_market_refuses_are_told_with_their_line() {
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let proxy = Proxy::start(&pipeline.server).await;
    proxy.edit(|frame| {
        let is_meant = frame.to_server && frame.subject.starts_with("feed.tick.");
        let spoil = |(idx, line): (usize, &str)| match idx {
            1 | 4 => line.replace("\"high\":110.0", "\"high\":-10.0"),
            _ => line.to_owned(),
        };
        is_meant.then(|| frame.payload.split('\n').enumerate().map(spoil).collect::<Vec<_>>().join("\n"))
    });
    let rows = file(&pipeline, "rows.csv", (0..6).map(good));
    let (code, said, error) = run(replay(&pipeline, &rows).env("NATS_URL", proxy.url()));
    assert_eq!(code, Some(1), "{said}{error}");
    let last: Vec<&str> = said.lines().rev().take(2).collect();
    let expected = [
        "2 of 6 rows refused (2 negative-price): see rejects.jsonl",
        "downstream: 4 accepted, 0 late, 2 rejected (2 negative-price)",
    ];
    assert_eq!(last, expected, "{said}");
    let kept = rejects(&pipeline);
    let places: Vec<_> = kept.iter().map(|reject| (reject["line"].as_u64(), reject["reason"].as_str())).collect();
    assert_eq!(places, [(Some(3), Some("negative-price")), (Some(6), Some("negative-price"))]);
    assert!(kept.iter().all(|reject| reject["file"].as_str() == rows.to_str()), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_known_rows_are_told_apart_downstream() {
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let first = succeed(&mut replay(&pipeline, &file(&pipeline, "first.csv", (1_000..1_100).map(good))));
    assert!(first.ends_with("downstream: 100 accepted, 0 late, 0 rejected\n"), "{first}");
    let older = file(&pipeline, "older.csv", (0..10).chain(1_095..1_195).map(good));
    let said = succeed(replay(&pipeline, &older).args(["--older", "publish"]));
    assert!(said.ends_with("downstream: 95 accepted, 5 already there, 10 late, 0 rejected\n"), "{said}");
    let expected =
        json!({ "checked": true, "accepted": 95, "duplicates": 5, "late": 10, "rejected": {}, "rejected_others": {} });
    assert_eq!(summary(&pipeline)["downstream"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_processor_nothing_is_claimed() {
    let pipeline = TestPipeline::new().await;
    let rows = file(&pipeline, "rows.csv", (0..10).map(good));
    let said = succeed(replay(&pipeline, &rows).args(["--downstream-wait", "300ms"]));
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("not checked downstream: no stream-processor has read up to FEED sequence 2 "), "{said}");
    assert!(last.contains("within 300ms"), "{said}");
    assert_eq!(summary(&pipeline)["downstream"]["checked"], false);
    // Nothing new is published, so there is nothing to wait for.
    let again = succeed(&mut replay(&pipeline, &rows));
    assert!(!again.contains("downstream"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_refused_row_in_a_hundred_is_a_failure() {
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let check = |minutes: std::ops::Range<i64>, refused: i64, flags: &[&str], expected: i32| {
        let rows =
            minutes.clone().map(|minute| if minute < minutes.start + refused { bad(minute) } else { good(minute) });
        let rows = file(&pipeline, "rows.csv", rows.rev());
        let (code, said, error) = run(replay(&pipeline, &rows).args(flags));
        assert_eq!(code, Some(expected), "{said}{error}");
        let last = format!("{refused} of 200 rows refused ({refused} high-low-order): see rejects.jsonl");
        assert_eq!(said.lines().last().unwrap(), last, "{said}");
        let lines: Vec<i64> = rejects(&pipeline).iter().map(|reject| reject["line"].as_i64().unwrap()).collect();
        assert_eq!(lines.len() as i64, refused, "each is stored");
        assert!(lines.iter().all(|line| (202 - refused..=201).contains(line)), "{lines:?}");
        error
    };
    check(0..200, 2, &[], 0);
    let error = check(200..400, 3, &[], 1);
    assert!(error.contains("3 of 200 rows refused") && error.contains("--allow-rejects"), "{error}");
    check(400..600, 3, &["--allow-rejects"], 0);
    assert_eq!(pipeline.count("accepted"), 600 - 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_is_counted_without_foreign_ticks() {
    let pipeline = TestPipeline::new().await;
    let _processor = pipeline.start("stream-processor");
    let rows = file(&pipeline, "rows.csv", (0..3_000).map(good));
    let mut slow = pipeline.replay(&rows, "1m");
    let mut killed = Running::start(slow.args(["--speed", "60000x"]).stdout(Stdio::null()));
    eventually("some prices are accepted", || pipeline.count("accepted") > 100);
    killed.kill();
    pipeline.wait_for_market();
    let before = pipeline.count("accepted");
    let mut paced = replay(&pipeline, &rows);
    let mut rest = Running::start(paced.args(["--speed", "60000x"]).stdout(Stdio::null()));
    eventually("it continues", || pipeline.count("accepted") > before);
    let producer = pipeline.server.connect("producer").await;
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let garbage =
        FeedMessage { kind: RecordKind::Tick, instrument, payload: "garbage".into(), id: "garbage".to_owned() };
    publish(&producer, &garbage).await.unwrap();
    assert_eq!(rest.wait(), Some(0));
    let summary = summary(&pipeline);
    assert_eq!(pipeline.standing()["steps"]["stream-processor"]["counts"]["rejected"], json!({ "unparsable": 1 }));
    assert_eq!((pipeline.count("accepted"), &summary["downstream"]["rejected"]), (3_000, &json!({})));
    let [skipped, accepted] =
        [&summary["skipped"], &summary["downstream"]["accepted"]].map(|count| count.as_u64().unwrap());
    assert!(skipped >= before, "{summary}");
    assert_eq!(skipped + accepted, 3_000, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hourly_bars_say_which_windows_they_fill() {
    let pipeline = TestPipeline::new().await;
    let _services = ["stream-processor", "aggregator"].map(|name| pipeline.start(name));
    let said = succeed(&mut pipeline.replay(&file(&pipeline, "rows.csv", (0..48).map(|hour| good(hour * 60))), "1h"));
    let fills =
        "bars of 1h: the shortest window they fill is 1h; the 1-hour moving average has only the windows on the hour";
    assert!(said.contains(fills), "{said}");
    pipeline.wait();
    let note = "bars of 1h count only in windows that hold all of them: the table has only the windows on the hour\n";
    let table = succeed(pipeline.program("aggregator").args(["show", "moving-average"]));
    assert!(table.ends_with(note), "{table}");
    let tables = succeed(pipeline.program("reporter").arg("tables"));
    assert!(tables.contains(note), "{tables}");
}
