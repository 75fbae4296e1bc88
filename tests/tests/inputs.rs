//! Bad recordings: accepted rows, refused rows, and messages.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bus::RecordKind;
use bus::publish::{FeedMessage, publish};
use flate2::Compression;
use flate2::write::GzEncoder;
use market::{EventTime, Instrument, Tick};
use pipeline_tests::programs::{Running, fail, succeed};
use pipeline_tests::test_pipeline::{TestPipeline, sample};
use serde_json::Value;
use store::recording::{OnRead, ReadingOptions};

const HEADER: &str = "timestamp_ms,open,high,low,close,volume";
/// 2020-03-01T00:00:00Z.
const START: i64 = 1_583_020_800_000;

/// A pipeline for one recording.
struct Case {
    pipeline: TestPipeline,
    _services: Vec<Running>,
}

impl Case {
    async fn new() -> Self {
        let pipeline = TestPipeline::new().await;
        let services = vec![pipeline.start("stream-processor"), pipeline.start("aggregator")];
        Self { pipeline, _services: services }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.pipeline.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn rows(&self, rows: &[String]) -> PathBuf {
        self.file("rows.csv", format!("{HEADER}\n{}\n", rows.join("\n")).as_bytes())
    }

    /// The rejects file of the producer: (line, reason).
    fn rejects(&self) -> Vec<(u64, String)> {
        let text = std::fs::read_to_string(self.pipeline.dir.path().join("rejects.jsonl")).unwrap_or_default();
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let entry = |reject: Value| {
            assert!(reject["file"].as_str().is_some_and(|file| file.ends_with("rows.csv")), "{reject}");
            (reject["line"].as_u64().unwrap(), reject["reason"].as_str().unwrap().to_owned())
        };
        text.lines().map(parse).map(entry).collect()
    }

    fn rejected(&self) -> Value {
        self.pipeline.standing()["steps"]["stream-processor"]["counts"]["rejected"].clone()
    }

    fn feed_messages(&self) -> u64 {
        self.pipeline.standing()["streams"]["FEED"]["messages"].as_u64().unwrap()
    }
}

/// A good row of a minute.
fn row(minute: i64) -> String {
    prices(minute, [100.0, 110.0, 90.0, 105.0])
}

fn prices(minute: i64, [open, high, low, close]: [f64; 4]) -> String {
    format!("{},{open},{high},{low},{close},1.5", START + minute * 60_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_numbers_are_set_aside_and_others_published() {
    let case = Case::new().await;
    let bad = |minute: i64, price: &str| format!("{},100,110,90,{price},1", START + minute * 60_000);
    let rows = [row(0), "garbage".to_owned(), bad(1, "NaN"), bad(2, "inf"), bad(3, ""), row(4)];
    succeed(case.pipeline.replay(&case.rows(&rows), "1m").arg("--allow-rejects"));
    case.pipeline.wait();
    let lines: Vec<u64> = case.rejects().into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [3, 4, 5, 6]);
    assert_eq!(case.pipeline.count("accepted"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_that_cannot_be_are_refused_with_their_reason() {
    let case = Case::new().await;
    let rows = [
        row(0),
        prices(1, [100.0, 110.0, 90.0, -1.0]),
        prices(2, [100.0, 110.0, 90.0, 0.0]),
        prices(3, [100.0, 90.0, 110.0, 100.0]),
        row(4),
    ];
    let (code, error) = fail(&mut case.pipeline.replay(&case.rows(&rows), "1m"));
    let said = "3 of 5 rows refused (1 high-low-order, 1 negative-price, 1 zero-price), more than 1 %";
    assert!(code == 1 && error.contains(said), "{code} {error}");
    case.pipeline.wait();
    let expected = [(3, "negative-price"), (4, "zero-price"), (5, "high-low-order")];
    assert_eq!(case.rejects(), expected.map(|(line, reason)| (line, reason.to_owned())));
    assert_eq!(case.pipeline.count("accepted"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rows_of_one_time_the_last_counts() {
    let case = Case::new().await;
    let rows = [row(0), row(0), prices(0, [1.0, 2.0, 0.5, 1.5]), row(1)];
    let summary = case.pipeline.dir.path().join("summary.json");
    succeed(case.pipeline.replay(&case.rows(&rows), "1m").arg("--summary").arg(&summary));
    case.pipeline.wait();
    let summary: Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!((&summary["duplicates"], &summary["conflicts"]), (&2.into(), &1.into()), "{summary}");
    let candles = &case.pipeline.tables()["candles-1m"];
    assert!(candles.contains(",1,2,0.5,1.5,1.5,1.5,,1,"), "{candles}");
    assert_eq!(case.pipeline.count("accepted"), 2);
}

/// Rows from the future are refused; they close no window and make no later row late.
#[tokio::test(flavor = "multi_thread")]
async fn rows_from_the_future_are_refused_and_close_no_window() {
    let case = Case::new().await;
    let ahead = (now_ms() - START) / 60_000 + 60;
    succeed(&mut case.pipeline.replay(&case.rows(&[row(0), row(1)]), "1m"));
    let some_ahead = case.rows(&[row(0), row(1), row(ahead), row(ahead + 1)]);
    succeed(case.pipeline.replay(&some_ahead, "1m").arg("--allow-rejects"));
    assert_eq!(case.rejects(), [(4, "future".to_owned()), (5, "future".to_owned())]);
    let producer = case.pipeline.server.connect("producer").await;
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let garbage =
        FeedMessage { kind: RecordKind::Tick, instrument, payload: "garbage".into(), id: "garbage".to_owned() };
    publish(&producer, &garbage).await.unwrap();
    case.pipeline.wait();
    let rejected = serde_json::json!({"unparsable": 1});
    assert_eq!((case.rejected(), case.pipeline.count("accepted")), (rejected.clone(), 2));
    succeed(&mut case.pipeline.replay(&case.rows(&[row(0), row(1), row(2)]), "1m"));
    case.pipeline.wait();
    assert_eq!((case.rejected(), case.pipeline.count("accepted")), (rejected, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_recordings_are_refused_before_publishing() {
    let case = Case::new().await;
    let files: [(&str, &[u8], &str); 9] = [
        ("empty.csv", b"", "line 1"),
        ("header.csv", b"timestamp_ms,open,high,low,close,volume\n", "line"),
        ("column.csv", b"timestamp_ms,open,high,low,volume\n1,2,3,4,5\n", "close"),
        ("plain.csv.gz", b"timestamp_ms,open,high,low,close,volume\n1,2,3,1,2,5\n", "gzip"),
        ("empty.csv.gz", b"", "empty.csv.gz"),
        ("seconds.csv", b"timestamp_ms,close\n1704067200,1\n", "as seconds it is 2024-01-01: convert the column"),
        (
            "mixed.csv",
            b"timestamp_ms,close\n1704067200,1\n1704067260000,1\n",
            "line 2: 1704067200 is a time in seconds",
        ),
        ("sheet.csv", b"timestamp_ms,close\n1.70407E+12,1\n", "has lost its last digits"),
        ("rows.zip", b"PK\x03\x04", "this is a damaged zip archive"),
    ];
    for (name, bytes, hint) in files {
        let path = case.file(name, bytes);
        let (code, error) = fail(&mut case.pipeline.replay(&path, "1m"));
        assert_eq!(code, 2, "{name}: {error}");
        assert!(error.contains(name) && error.contains(hint), "{name}: {error}");
    }
    let (code, error) = fail(&mut case.pipeline.replay(&case.pipeline.dir.path().join("absent.csv"), "1m"));
    assert!(code == 2 && error.contains("absent.csv"), "{error}");
    assert_eq!(case.feed_messages(), 0);
}

/// A recording that breaks off is published up to the break, and not flushed.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_recording_is_published_up_to_the_break() {
    let case = Case::new().await;
    let whole = std::fs::read(sample("btcusdt_1m_2020-03.csv.gz")).unwrap();
    let path = case.file("cut.csv.gz", &whole[..whole.len() / 2]);
    let (code, error) = fail(&mut case.pipeline.replay(&path, "1m"));
    assert!(code == 2 && error.contains("cut.csv.gz") && error.contains("row"), "{code} {error}");
    case.pipeline.wait();
    let (accepted, candles) = (case.pipeline.count("accepted"), case.pipeline.count("candles"));
    assert!((10_000..44_512).contains(&accepted), "{accepted}");
    assert_eq!(candles, accepted - 2, "the last minute is open, the previous one within the disorder bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_one_good_row_is_not_enough_data() {
    let case = Case::new().await;
    let rows = ["garbage".to_owned(), "more,garbage".to_owned()];
    let (code, error) = fail(&mut case.pipeline.replay(&case.rows(&rows), "1m"));
    assert_eq!(code, 4, "{error}");
    assert_eq!(case.feed_messages(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_day_and_then_the_other_half_is_the_whole_day() {
    let day: Vec<String> =
        (0..1_440).map(|minute| prices(minute, [100.0, 110.0, 90.0, 100.0 + (minute % 7) as f64])).collect();
    let (whole, halves) = (Case::new().await, Case::new().await);
    succeed(&mut whole.pipeline.replay(&whole.rows(&day), "1m"));
    for half in [&day[..725], &day[725..]] {
        succeed(&mut halves.pipeline.replay(&halves.rows(half), "1m"));
        halves.pipeline.wait();
    }
    whole.pipeline.wait();
    let without_revision = |csv: &str| {
        let cells = |line: &str| {
            line.split(',').enumerate().filter(|(idx, _)| *idx != 15).map(|(_, cell)| cell.to_owned()).collect()
        };
        csv.lines().map(cells).collect::<Vec<Vec<String>>>()
    };
    let (whole_tables, halves_tables) = (whole.pipeline.tables(), halves.pipeline.tables());
    for (table, csv) in &whole_tables {
        assert_eq!(without_revision(csv), without_revision(&halves_tables[table]), "{table}");
    }
    assert_eq!(halves.pipeline.count("late"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_recording_again_adds_nothing() {
    let case = Case::new().await;
    let path = case.rows(&[row(0), row(1), row(2)]);
    succeed(&mut case.pipeline.replay(&path, "1m"));
    let before = case.feed_messages();
    let said = succeed(&mut case.pipeline.replay(&path, "1m"));
    assert!(said.contains("skipped 3 rows"), "{said}");
    assert_eq!(case.feed_messages(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_rows_to_train_on_are_said_so_and_leave_no_model() {
    let case = Case::new().await;
    let rows: Vec<String> = (0..10).map(row).collect();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(format!("{HEADER}\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    let path = case.file("few.csv.gz", &gzip.finish().unwrap());
    succeed(&mut case.pipeline.replay(&path, "1m"));
    case.pipeline.wait();
    let mut train = case.pipeline.program("trainer");
    train.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--archive", "archive", "--out", "out"]);
    let (code, error) = fail(&mut train);
    assert_eq!(code, 4, "{error}");
    assert!(!case.pipeline.dir.path().join("out/model.ubj").exists());
}

/// The ticks that the trainer reads from a recording: time, grain, completeness, id, close.
fn taught(path: &Path) -> Vec<[Value; 5]> {
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let (now, on_read): (_, OnRead) = (EventTime(now_ms()), Arc::new(|_| ()));
    let recorded = trainer::input::read(&[path.to_owned()], &instrument, &ReadingOptions::at(now), &on_read).unwrap();
    let values = |tick: &Tick| {
        let spans = [tick.grain, tick.complete].map(|span| serde_json::json!(span));
        let [grain, complete] = spans;
        [serde_json::json!(tick.event), grain, complete, serde_json::json!(tick.id), tick.close.into()]
    };
    recorded.ticks.iter().map(values).collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Output and summary of a replay without `--grain`.
fn replayed(case: &Case, path: &Path) -> (String, Value) {
    let summary = case.pipeline.dir.path().join("summary.json");
    let mut replay = case.pipeline.program("producer");
    replay.args(["run", "--source", "recording", "--coin", "bitcoin", "--quote", "usdt", "--file"]).arg(path);
    let output = replay.arg("--summary").arg(&summary).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (said, serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_trades_of_one_millisecond_make_their_candle() {
    let case = Case::new().await;
    let trade = |ms: i64, price: i64, volume: i64| format!("{},{price},{price},{price},{price},{volume}", START + ms);
    let rows =
        [trade(0, 10, 1), trade(0, 11, 2), trade(0, 12, 4), trade(500, 12, 1), trade(500, 9, 8), trade(30_000, 10, 1)];
    let path = case.rows(&rows);
    succeed(&mut case.pipeline.replay(&path, "1ms"));
    succeed(&mut case.pipeline.replay(&path, "trades"));
    case.pipeline.wait();
    let candles = &case.pipeline.tables()["candles-1m"];
    assert!(candles.contains(",10,12,9,10,"), "{candles}");
    assert!(candles.contains(",17,,6,"), "{candles}");
    assert_eq!(case.pipeline.count("accepted"), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_in_whole_seconds_with_sparse_ids_all_count() {
    let case = Case::new().await;
    let trade = |second: i64, nth: i64| {
        let id = 2 * (6_000 * second + nth);
        format!("{},{},0.1,{id}", START + second * 1_000, 100 + (nth + second) % 7)
    };
    let rows: Vec<String> = (0..3).flat_map(|second| (0..6_000).map(move |nth| trade(second, nth))).collect();
    let path = case.file("rows.csv", format!("timestamp_ms,price,volume,id\n{}\n", rows.join("\n")).as_bytes());
    succeed(&mut case.pipeline.replay(&path, "trades"));
    case.pipeline.wait();
    assert_eq!(["accepted", "late", "duplicate"].map(|name| case.pipeline.count(name)), [18_000, 0, 0]);
    let candles = &case.pipeline.tables()["candles-1m"];
    assert!(candles.contains(",100,106,100,102,"), "{candles}");
    assert!(candles.contains(",1800,,18000,"), "{candles}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_and_close_outside_the_range_make_no_hole() {
    let case = Case::new().await;
    let rows =
        [row(0), prices(1, [99.5, 103.0, 100.0, 102.0]), prices(2, [102.0, 103.0, 101.0, 103.000_000_000_1]), row(3)];
    let said = succeed(&mut case.pipeline.replay(&case.rows(&rows), "1m"));
    assert!(said.contains("widened low and high of 2 rows"), "{said}");
    case.pipeline.wait();
    let candles = &case.pipeline.tables()["candles-1m"];
    assert!(candles.contains(",99.5,103,99.5,102,"), "{candles}");
    assert!(candles.contains(",102,103.0000000001,101,103.0000000001,"), "{candles}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_row_first_loses_none() {
    let case = Case::new().await;
    let row = |minute: i64| {
        let [up, down, change] = [11, 5, 7].map(|of| (minute % of) as f64);
        prices(minute, [100.0 + change, 110.0 + up, 90.0 - down, 105.0 - change])
    };
    let rows: Vec<String> = (0..12_000).rev().map(row).collect();
    let (said, summary) = replayed(&case, &case.rows(&rows));
    assert_eq!((&summary["published"], &summary["gaps"]), (&12_000.into(), &0.into()), "{said}");
    let ascending: String = rows.iter().rev().map(|row| format!("{row}\n")).collect();
    let ascending = case.file("ascending.csv", format!("{HEADER}\n{ascending}").as_bytes());
    let mut replay = case.pipeline.program("producer");
    replay.args(["run", "--source", "recording", "--coin", "ascending", "--quote", "usdt", "--file"]).arg(ascending);
    succeed(&mut replay);
    case.pipeline.wait();
    for (name, table) in case.pipeline.tables() {
        let of = |coin: &str| table.lines().filter_map(|line| line.strip_prefix(coin)).collect::<Vec<_>>();
        assert!(of("bitcoin,").len() > 8 && of("bitcoin,") == of("ascending,"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_make_no_day_and_no_hour() {
    let case = Case::new().await;
    let path = case.rows(&(0..6).map(|week| row(week * 7 * 24 * 60)).collect::<Vec<_>>());
    let (said, summary) = replayed(&case, &path);
    assert!(said.contains("warning: bars of 7d fill no window: they are longer than the longest, 1d"), "{said}");
    assert_eq!(summary["published"], 6, "{said}");
    case.pipeline.wait();
    assert_eq!(case.pipeline.count("accepted"), 6);
    for (name, table) in case.pipeline.tables() {
        assert_eq!(table.lines().count(), 1, "{name} has its heading alone: {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hourly_rows_are_hours_without_being_told() {
    let case = Case::new().await;
    let path = case.rows(&(0..48).map(|hour| row(hour * 60)).collect::<Vec<_>>());
    let (code, error) = fail(&mut case.pipeline.replay(&path, "1m"));
    assert!(code == 2 && error.contains("its rows are 1h apart, and --grain says 1m"), "{code} {error}");
    assert_eq!(case.feed_messages(), 0);
    let (said, summary) = replayed(&case, &path);
    assert_eq!((&summary["published"], &summary["gaps"]), (&48.into(), &0.into()), "{said}");
    let ticks = case.pipeline.feed(RecordKind::Tick).await;
    assert!(ticks.iter().all(|tick| tick["grain_ms"] == 3_600_000), "{ticks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_second_header_ends_the_replay_with_its_line() {
    let case = Case::new().await;
    let mut rows: Vec<String> = (0..10).map(row).collect();
    rows.push("timestamp_ms,open,high,low".to_owned());
    rows.extend((10..20).map(row));
    let (code, error) = fail(&mut case.pipeline.replay(&case.rows(&rows), "1m"));
    assert!(code == 2 && error.contains("rows.csv line 12: the file has a second header here"), "{code} {error}");
    case.pipeline.wait();
    assert_eq!(case.pipeline.count("accepted"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_conflict_are_refused_where_that_is_asked_for() {
    let case = Case::new().await;
    let path = case.rows(&[row(0), row(1), prices(1, [1.0, 2.0, 0.5, 1.5]), row(2)]);
    let (code, error) = fail(case.pipeline.replay(&path, "1m").args(["--conflict", "refuse"]));
    assert!(code == 2 && error.contains("rows.csv line 4") && error.contains("rows.csv line 3"), "{code} {error}");
    assert_eq!(case.feed_messages(), 0);
}

/// Trainer and producer read the same ticks from a file.
#[tokio::test(flavor = "multi_thread")]
async fn trainer_and_producer_take_the_same_rows() {
    let unknown = |minute: i64| format!("{},100,110,90,105,NaN", START + minute * 60_000);
    let odd = |rows: Vec<String>| format!("{HEADER}\n{}\n", rows.join("\n")).into_bytes();
    let shuffled = |minute: i64| row(minute * 7_919 % 12_000);
    let mut files = vec![
        ("descending", odd((0..12_000).rev().map(row).collect())),
        ("shuffled", odd((0..12_000).map(shuffled).collect())),
        ("twice", odd((0..500).chain(0..500).map(row).collect())),
        ("unknown", odd((0..300).map(row).chain((300..310).map(unknown)).collect())),
        ("outside", odd((0..300).map(|minute| prices(minute, [80.0, 110.0, 90.0, 115.0])).collect())),
        ("remarks", odd(["# by hand".to_owned(), "x,,,,,".to_owned()].into_iter().chain((0..300).map(row)).collect())),
        ("negative", odd((0..300).map(row).chain([prices(300, [1.0, 1.0, 1.0, -1.0])]).collect())),
        ("lone", odd((0..300).map(row).chain([row(1_000_000)]).collect())),
        (
            "price",
            format!(
                "timestamp_ms,price\n{}",
                (0..400).map(|n| format!("{},{}\n", START + n * 61_000, 100 + n % 9)).collect::<String>()
            )
            .into(),
        ),
        (
            "trades",
            format!(
                "timestamp_ms,price,volume,id\n{}",
                (0..900).map(|n| format!("{},{},1,{n}\n", START + n / 3 * 1_000, 100 + n % 9)).collect::<String>()
            )
            .into(),
        ),
    ];
    for name in ["btcusdt_1m_2020-03.csv.gz", "btcusdt_1h_2019-2023.csv.gz"] {
        files.push((name, std::fs::read(sample(name)).unwrap()));
    }
    for (name, bytes) in files {
        let case = Case { pipeline: TestPipeline::new().await, _services: Vec::new() };
        let path = case.file(name, &bytes);
        let (said, summary) = replayed(&case, &path);
        let keys = ["event_ms", "grain_ms", "complete_ms", "id", "close"];
        let ticks = case.pipeline.feed(RecordKind::Tick).await;
        let published: Vec<_> = ticks.iter().map(|tick| keys.map(|key| tick[key].clone())).collect();
        assert_eq!(summary["published"], published.len(), "{name}: {said}");
        assert!(published == taught(&path) && !published.is_empty(), "{name}: {said}");
    }
}
