//! Bad recordings: what is kept, what is refused, and what is said.

use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bus::Kind;
use bus::publish::{FeedMessage, publish};
use flate2::Compression;
use flate2::write::GzEncoder;
use market::Instrument;
use pipeline_tests::programs::{Running, fail, succeed};
use pipeline_tests::world::{World, sample};
use serde_json::Value;

const HEADER: &str = "timestamp_ms,open,high,low,close,volume";
/// 2020-03-01T00:00:00Z.
const START: i64 = 1_583_020_800_000;

/// A pipeline for one recording.
struct Case {
    world: World,
    _services: [Running; 2],
}

impl Case {
    async fn new() -> Self {
        let world = World::new().await;
        let services = [world.start("stream-processor"), world.start("aggregator")];
        Self { world, _services: services }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.world.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn rows(&self, rows: &[String]) -> PathBuf {
        self.file("rows.csv", format!("{HEADER}\n{}\n", rows.join("\n")).as_bytes())
    }

    /// What the producer kept of rows that it refused: (line, reason).
    fn rejects(&self) -> Vec<(u64, String)> {
        let text = std::fs::read_to_string(self.world.dir.path().join("rejects.jsonl")).unwrap_or_default();
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let entry = |reject: Value| {
            assert!(reject["file"].as_str().is_some_and(|file| file.ends_with("rows.csv")), "{reject}");
            (reject["line"].as_u64().unwrap(), reject["reason"].as_str().unwrap().to_owned())
        };
        text.lines().map(parse).map(entry).collect()
    }

    fn rejected(&self) -> Value {
        self.world.standing()["steps"]["stream-processor"]["counts"]["rejected"].clone()
    }

    fn feed_messages(&self) -> u64 {
        self.world.standing()["streams"]["FEED"]["messages"].as_u64().unwrap()
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
async fn rows_that_are_not_numbers_are_kept_aside_and_the_rest_goes_on() {
    let case = Case::new().await;
    let bad = |minute: i64, price: &str| format!("{},100,110,90,{price},1", START + minute * 60_000);
    let rows = [row(0), "garbage".to_owned(), bad(1, "NaN"), bad(2, "inf"), bad(3, ""), row(4)];
    succeed(&mut case.world.replay(&case.rows(&rows), "1m"));
    case.world.wait();
    let lines: Vec<u64> = case.rejects().into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [3, 4, 5, 6]);
    assert_eq!(case.world.count("accepted"), 2);
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
    succeed(&mut case.world.replay(&case.rows(&rows), "1m"));
    case.world.wait();
    let expected = serde_json::json!({"negative-price": 1, "zero-price": 1, "high-low-order": 1});
    assert_eq!((case.rejected(), case.world.count("accepted")), (expected, 2));
    assert_eq!(case.rejects(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rows_of_one_time_the_first_counts() {
    let case = Case::new().await;
    let rows = [row(0), row(0), prices(0, [1.0, 2.0, 0.5, 1.5]), row(1)];
    let summary = case.world.dir.path().join("summary.json");
    succeed(case.world.replay(&case.rows(&rows), "1m").arg("--summary").arg(&summary));
    case.world.wait();
    let summary: Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    assert_eq!((&summary["duplicates"], &summary["conflicts"]), (&2.into(), &1.into()), "{summary}");
    let candles = &case.world.tables()["candles-1m"];
    assert!(candles.contains(",100,110,90,105,105,1.5,1,"), "{candles}");
    assert_eq!(case.world.count("accepted"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_the_future_are_refused_close_nothing_and_hide_nothing() {
    let case = Case::new().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let ahead = (now - START) / 60_000 + 60;
    succeed(&mut case.world.replay(&case.rows(&[row(0), row(1)]), "1m"));
    // Beyond the largest step a row is believed only when the next one follows it.
    succeed(&mut case.world.replay(&case.rows(&[row(0), row(1), row(ahead), row(ahead + 1)]), "1m"));
    let producer = case.world.server.connect("producer").await;
    let instrument = Instrument::new("bitcoin", "usdt").unwrap();
    let garbage = FeedMessage { kind: Kind::Tick, instrument, payload: "garbage".into(), id: "garbage".to_owned() };
    publish(&producer, &garbage).await.unwrap();
    case.world.wait();
    let rejected = serde_json::json!({"future": 2, "unparsable": 1});
    assert_eq!((case.rejected(), case.world.count("accepted")), (rejected.clone(), 2));
    succeed(&mut case.world.replay(&case.rows(&[row(0), row(1), row(2)]), "1m"));
    case.world.wait();
    assert_eq!((case.rejected(), case.world.count("accepted")), (rejected, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_recordings_are_refused_before_anything_is_published() {
    let case = Case::new().await;
    let files: [(&str, &[u8], &str); 5] = [
        ("empty.csv", b"", "line 1"),
        ("header.csv", b"timestamp_ms,open,high,low,close,volume\n", "line"),
        ("column.csv", b"timestamp_ms,open,high,low,volume\n1,2,3,4,5\n", "close"),
        ("plain.csv.gz", b"timestamp_ms,open,high,low,close,volume\n1,2,3,1,2,5\n", "gzip"),
        ("empty.csv.gz", b"", "empty.csv.gz"),
    ];
    for (name, bytes, hint) in files {
        let path = case.file(name, bytes);
        let (code, error) = fail(&mut case.world.replay(&path, "1m"));
        assert_eq!(code, 2, "{name}: {error}");
        assert!(error.contains(name) && error.contains(hint), "{name}: {error}");
    }
    let (code, error) = fail(&mut case.world.replay(&case.world.dir.path().join("absent.csv"), "1m"));
    assert!(code == 2 && error.contains("absent.csv"), "{error}");
    assert_eq!(case.feed_messages(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_breaks_off_is_published_up_to_the_break_and_not_flushed() {
    let case = Case::new().await;
    let whole = std::fs::read(sample("btcusdt_1m_2020-03.csv.gz")).unwrap();
    let path = case.file("cut.csv.gz", &whole[..whole.len() / 2]);
    let (code, error) = fail(&mut case.world.replay(&path, "1m"));
    assert!(code == 2 && error.contains("cut.csv.gz") && error.contains("row"), "{code} {error}");
    case.world.wait();
    let (accepted, candles) = (case.world.count("accepted"), case.world.count("candles"));
    assert!((10_000..44_512).contains(&accepted), "{accepted}");
    assert_eq!(candles, accepted - 2, "the last minute is open, the one before within the disorder bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_one_good_row_is_not_enough_data() {
    let case = Case::new().await;
    let rows = ["garbage".to_owned(), "more,garbage".to_owned()];
    let (code, error) = fail(&mut case.world.replay(&case.rows(&rows), "1m"));
    assert_eq!(code, 4, "{error}");
    assert_eq!(case.feed_messages(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_day_and_then_the_other_half_is_the_whole_day() {
    let day: Vec<String> =
        (0..1_440).map(|minute| prices(minute, [100.0, 110.0, 90.0, 100.0 + (minute % 7) as f64])).collect();
    let (whole, halves) = (Case::new().await, Case::new().await);
    succeed(&mut whole.world.replay(&whole.rows(&day), "1m"));
    for half in [&day[..725], &day[725..]] {
        succeed(&mut halves.world.replay(&halves.rows(half), "1m"));
        halves.world.wait();
    }
    whole.world.wait();
    let without_revision = |csv: &str| {
        let cells = |line: &str| {
            line.split(',').enumerate().filter(|(idx, _)| *idx != 14).map(|(_, cell)| cell.to_owned()).collect()
        };
        csv.lines().map(cells).collect::<Vec<Vec<String>>>()
    };
    let (whole_tables, halves_tables) = (whole.world.tables(), halves.world.tables());
    for (table, csv) in &whole_tables {
        assert_eq!(without_revision(csv), without_revision(&halves_tables[table]), "{table}");
    }
    assert_eq!(halves.world.count("late"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_recording_again_adds_nothing() {
    let case = Case::new().await;
    let path = case.rows(&[row(0), row(1), row(2)]);
    succeed(&mut case.world.replay(&path, "1m"));
    let before = case.feed_messages();
    let said = succeed(&mut case.world.replay(&path, "1m"));
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
    succeed(&mut case.world.replay(&path, "1m"));
    case.world.wait();
    let mut train = case.world.program("trainer");
    train.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--archive", "archive", "--out", "out"]);
    let (code, error) = fail(&mut train);
    assert_eq!(code, 4, "{error}");
    assert!(!case.world.dir.path().join("out/model.ubj").exists());
}
