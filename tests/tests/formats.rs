//! Files of other programs: the same rows give the same tables in every format, and every row of a history is accounted
//! for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bus::RecordKind;
use pipeline_tests::formats::{FORMATS, FormatRow, Told, own, walk};
use pipeline_tests::programs::{fail, program, succeed};
use pipeline_tests::server::checkout;
use pipeline_tests::test_pipeline::{TABLES, TestPipeline};
use serde_json::Value;

/// 2024-03-01T00:00Z.
const START: i64 = 1_709_251_200_000;

fn replay(pipeline: &TestPipeline, file: &Path, coin: &str, told: Told) -> String {
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "recording", "--coin", coin, "--quote", "usd", "--file"]).arg(file);
    if told == Told::Trades {
        command.args(["--grain", "trades"]);
    }
    succeed(&mut command)
}

fn file(pipeline: &TestPipeline, name: &str, bytes: &[u8]) -> PathBuf {
    let path = pipeline.dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Returns the rows of all tables of a coin, without its name.
fn tables_of(tables: &BTreeMap<&'static str, String>, coin: &str) -> Vec<String> {
    let prefix = format!("{coin},");
    let rows = TABLES.into_iter().flat_map(|table| tables[table].lines());
    rows.filter_map(|row| row.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// The same 500 rows in every format give byte-identical tables.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_give_the_same_tables_in_every_format() {
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let rows = walk(START, 500);
    for (told, coin) in REFERENCES {
        replay(&pipeline, &file(&pipeline, &format!("{coin}.csv"), &own(&rows, told)), coin, told);
    }
    for format in &FORMATS {
        let path = file(&pipeline, &format!("{}.{}", format.name, format.ending), &format.write(&rows));
        let said = replay(&pipeline, &path, format.name, format.told);
        assert!(said.contains(": read as "), "{}: {said}", format.name);
    }
    pipeline.wait();
    let tables = pipeline.tables();
    for format in &FORMATS {
        let (_, reference) = REFERENCES.into_iter().find(|(told, _)| *told == format.told).unwrap();
        let (found, expected) = (tables_of(&tables, format.name), tables_of(&tables, reference));
        assert!(expected.len() > 500, "{reference}: {}", expected.len());
        assert_eq!(found, expected, "{}", format.name);
    }
}

/// Coins whose recording is our own CSV.
const REFERENCES: [(Told, &str); 5] = [
    (Told::Both, "own-both"),
    (Told::Volume, "own-volume"),
    (Told::Value, "own-value"),
    (Told::Prices, "own-prices"),
    (Told::Trades, "own-trades"),
];

/// The sample of each format is what its writer writes, and `producer inspect` reads it.
#[test]
fn the_sample_of_each_format_is_read() {
    let folder = checkout().join("tests/data/formats");
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for format in &FORMATS {
        let name = format!("{}.{}", format.name, format.ending);
        let path = folder.join(&name);
        let expected = format.write(&walk(START, 5));
        if std::env::var_os("TEST_WRITE_SAMPLES").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        // Parquet names the program that wrote it.
        if format.ending != "parquet" {
            assert_eq!(
                String::from_utf8_lossy(&std::fs::read(&path).unwrap()),
                String::from_utf8_lossy(&expected),
                "{name}"
            );
        }
        let grain: &[&str] = if format.told == Told::Trades { &["--grain", "trades"] } else { &[] };
        let mut inspect = program("producer", &folder);
        let said = succeed(inspect.arg("inspect").arg(&path).args(grain));
        assert!(said.contains("  outcome  5 of "), "{name}: {said}");
        assert!(readme.contains(&name) && readme.contains(format.origin), "{name}");
    }
}

/// `producer inspect` says how a file is read, publishes nothing, and has the exit codes of a replay.
#[test]
fn inspect_says_how_a_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let inspect = |name: &str, bytes: &[u8], flags: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut command = program("producer", folder.path());
        command.arg("inspect").arg(name).args(flags);
        command
    };
    let binance = FORMATS.iter().find(|format| format.name == "binance").unwrap().write(&walk(START, 5));
    let expected = "\
binance.csv
  format   Binance klines, no header
  columns  time=open_time open high low close volume quote_volume of 12
  time     open_time in µs
  rows     candles of 1m
  first    2024-03-01T00:00:00Z open 62123.45 high 62123.45 low 62113.44 close 62113.44 volume 0.001 quote volume 62.11
  last     2024-03-01T00:04:00Z open 62137.92 high 62144.26 low 62137.88 close 62144.22 volume 58.913 quote volume 3661102.43
  outcome  5 of 5 lines count
";
    assert_eq!(succeed(&mut inspect("binance.csv", &binance, &[])), expected);
    let local = b"time,price,remark\n2024-03-01 00:00,5,\n2024-03-01 00:01,6,\n2024-03-01 00:02,x,\n";
    let (code, error) = fail(&mut inspect("local.csv", local, &["--time-zone", "Europe/Berlin"]));
    assert!(
        code == 1 && error.contains("local.csv: 1 of 3 rows refused (1 unparsable), more than 1 %"),
        "{code} {error}"
    );
    let said = succeed(&mut inspect("local.csv", local, &["--time-zone", "Europe/Berlin", "--allow-rejects"]));
    assert!(said.contains("  zone     Europe/Berlin for times without offset (--time-zone)\n"), "{said}");
    assert!(said.contains("  first    2024-02-29T23:00:00Z price 5\n"), "{said}");
    let (code, error) = fail(&mut inspect("a.pdf", b"%PDF-1.7", &[]));
    assert!(code == 2 && error.contains("a.pdf: this is a PDF"), "{code} {error}");
    let (code, error) = fail(&mut inspect("none.csv", b"time,price\ngarbage\n", &[]));
    assert!(code == 4 && error.contains("none.csv: no row can be used"), "{code} {error}");
}

/// Lines of the history of the PySpark program: 9,192 in all, shuffled.
fn history(rows: &[FormatRow]) -> String {
    let pyspark = FORMATS.iter().find(|format| format.name == "pyspark").unwrap();
    let text = String::from_utf8(pyspark.write(rows)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // The poller asked more often than the price changed.
    lines.extend_from_within(..2_000);
    let foreign = [
        "{\"Message\": \"too many requests\"}",
        "null",
        "",
        "{\"Datetime\": \"Datetime\", \"Open\": \"Open\", \"High\": \"High\", \"Low\": \"Low\", \"Close\": \"Close\", \"Volume\": \"Volume\"}",
        "{\"Datetime\": \"2024-03-02 00:00:00\", \"Open\": null, \"High\": null, \"Low\": null, \"Close\": null, \"Volume\": \"\"}",
        "{\"Datetime\": \"2024-03-02 00:00:0",
    ];
    lines.extend((0..192).map(|idx| foreign[idx % foreign.len()].to_owned()));
    assert_eq!(lines.len(), 9_192);
    let shuffled = (0..lines.len()).map(|idx| lines[idx * 4_999 % lines.len()].as_str());
    shuffled.collect::<Vec<_>>().join("\n") + "\n"
}

/// Every row of such a history is a tick, a counted duplicate, or left out with its reason; a second import adds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_the_pyspark_program_is_imported_once() {
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let path = file(&pipeline, "history.jsonl", history(&walk(START, 7_000)).as_bytes());
    let summary = pipeline.dir.path().join("summary.json");
    let import = || {
        let mut command = pipeline.program("producer");
        command.args(["run", "--source", "recording", "--coin", "bitcoin", "--quote", "usd", "--file"]).arg(&path);
        let said = succeed(command.arg("--summary").arg(&summary));
        let counts: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
        (said, counts)
    };
    let (said, counts) = import();
    let count = |key: &str| counts[key].as_u64().unwrap_or_default();
    // A blank line is no line.
    assert_eq!(count("rows"), 9_192 - 32, "{said}");
    assert_eq!([count("published"), count("duplicates"), count("conflicts")], [7_000, 2_000, 0], "{said}");
    assert_eq!([count("foreign"), count("headers"), count("without_price")], [64, 32, 32], "{said}");
    assert_eq!(counts["rejected"], serde_json::json!({"unparsable": 32}), "{said}");
    assert!(
        said.contains("history.jsonl: read as history of the PySpark program: Datetime as text, without offset in UTC"),
        "{said}"
    );
    pipeline.wait();
    let (accepted, ticks) = (pipeline.count("accepted"), pipeline.feed(RecordKind::Tick).await.len());
    assert_eq!((accepted, ticks), (7_000, 7_000));
    let (said, counts) = import();
    assert_eq!((&counts["published"], &counts["skipped"]), (&0.into(), &7_000.into()), "{said}");
    pipeline.wait();
    assert_eq!((pipeline.count("accepted"), pipeline.feed(RecordKind::Tick).await.len()), (7_000, 7_000));
}
