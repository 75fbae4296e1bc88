//! Compatibility of the Parquet files with other programs: files to read, a script per reader, and the expected
//! answers.

use std::path::Path;
use std::process::Command;

use market::band::Band;
use market::{EventTime, Instrument, Span, Tick};
use serde_json::{Value, json};
use store::archive::ArchiveWriter;
use store::archive::catalog::SeqRange;
use store::predictions::{self, Fold, Prediction};
use store::ticks::TickRows;

use crate::server::checkout;

/// Event time of the first tick.
const BEGIN_MS: i64 = 1_583_020_800_000;
/// Ticks of each instrument, in three files.
const TICKS: i64 = 3_000;
/// The price of each trade, 3.6e-15: a power of two, so that sums are the same in any order.
const TINY: f64 = 1.0 / (1_i64 << 48) as f64;
/// The largest integer that every reader keeps, including those that read a column with nulls as `f64`.
const ID: u64 = (1 << 53) - 1;

/// Writes three archive files of two instruments, and `predictions.parquet`, into a folder. One instrument has bars, the
/// other trades with tiny prices.
///
/// # Errors
/// The folder cannot be written.
pub fn write_files(dir: &Path) -> anyhow::Result<()> {
    write_ticks(dir)?;
    write_predictions(dir)
}

fn write_ticks(dir: &Path) -> anyhow::Result<()> {
    let mut writer = ArchiveWriter::open(dir, "MARKET")?;
    let (bitcoin, shiba) = (Instrument::new("bitcoin", "usdt")?, Instrument::new("shiba-inu", "btc")?);
    for first in (1..=TICKS).step_by(1_000) {
        let mut rows = TickRows::default();
        for seq in first..first + 1_000 {
            rows.push(&bitcoin, &bar(seq), seq as u64);
            rows.push(&shiba, &trade(seq), seq as u64);
        }
        writer.append(SeqRange { first: first as u64, last: first as u64 + 999 }, &rows.into_batch())?;
    }
    Ok(())
}

fn bar(seq: i64) -> Tick {
    let (event, close) = (EventTime(BEGIN_MS + seq * 60_000), 8_000.0 + seq as f64);
    let bar = Tick::bar(event, Span::MINUTE, [close - 2.0, close + 4.0, close - 8.0, close]);
    Tick { volume: Some(seq as f64), quote_volume: Some(2.0 * seq as f64), feed_seq: 1, ..bar }
}

fn trade(seq: i64) -> Tick {
    let point = Tick::point(bar(seq).event, TINY);
    Tick { complete: Some(Span(59_999)), id: Some(ID), filled: seq % 3 == 0, feed_seq: 1, ..point }
}

fn write_predictions(dir: &Path) -> anyhow::Result<()> {
    let band = Some(Band { lower: 1.5, upper: 5.0 });
    let prediction = |idx: i64| Prediction {
        timestamp: EventTime(BEGIN_MS + idx),
        close: 3.0 + (idx % 2) as f64,
        prediction: 4.0,
        baseline: 2.0,
        // At 80 % only for folds.
        bands: [band, band.filter(|_| idx < 4), band, band],
        fold: if idx < 4 { Fold::Validation(1) } else { Fold::Holdout },
    };
    let rows: Vec<_> = (0..10).map(prediction).collect();
    predictions::write(std::fs::File::create(dir.join("predictions.parquet"))?, &rows, &[])?;
    Ok(())
}

/// The expected answers: an array for the ticks with a row per instrument, and one for the predictions with a row per
/// fold.
pub fn answers() -> [Value; 2] {
    let ticks = json!([
        {"coin": "bitcoin", "quote": "usdt", "rows": TICKS, "first": BEGIN_MS + 60_000, "last": BEGIN_MS + 180_000_000,
            "grains": TICKS, "grain": 60_000, "completes": 0, "complete": null, "ids": 0, "id": null, "opens": TICKS,
            "high": 11_004.0, "low": 7_993.0, "close": 28_501_500.0, "mean": 9_500.5, "volume": 3_000.0, "market_seq": 4_501_500,
            "quote_volume": 6_000.0, "filled": 0},
        {"coin": "shiba-inu", "quote": "btc", "rows": TICKS, "first": BEGIN_MS + 60_000, "last": BEGIN_MS + 180_000_000,
            "grains": 0, "grain": null, "completes": TICKS, "complete": 59_999, "ids": TICKS, "id": ID, "opens": 0,
            "high": null, "low": null, "close": TICKS as f64 * TINY, "mean": TINY, "volume": null, "market_seq": 4_501_500,
            "quote_volume": null, "filled": TICKS / 3},
    ]);
    let predictions = json!([
        {"fold": "1", "rows": 4, "first": BEGIN_MS, "last": BEGIN_MS + 3, "prediction": 16.0, "mean": 3.5, "lower": 1.5, "bands_80": 4},
        {"fold": "holdout", "rows": 6, "first": BEGIN_MS + 4, "last": BEGIN_MS + 9, "prediction": 24.0, "mean": 3.5, "lower": 1.5,
            "bands_80": 0},
    ]);
    [ticks, predictions]
}

/// The column types of an archive file in a reader's terms for names, times, integers, prices and conditions.
pub fn types([name, time, number, price, condition]: [&str; 5]) -> Value {
    let columns = [
        ("coin", name),
        ("quote", name),
        ("event_ms", time),
        ("grain_ms", number),
        ("complete_ms", number),
        ("id", number),
        ("open", price),
        ("high", price),
        ("low", price),
        ("close", price),
        ("volume", price),
        ("feed_seq", number),
        ("market_seq", number),
        ("quote_volume", price),
        ("filled", condition),
    ];
    columns.iter().map(|(name, of)| json!({"column_name": name, "column_type": of})).collect()
}

/// DuckDB's own program, with the queries.
pub fn duckdb() -> Command {
    let mut duckdb = Command::new(checkout().join(".tools/duckdb"));
    duckdb.args(["-json", "-c", include_str!("readers/duckdb.sql")]);
    duckdb
}

/// A Python program of `tests/src/readers` with its arguments, on packages of `.tools/`.
pub fn python(program: &str, arguments: &[&str], packages: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.arg(checkout().join("tests/src/readers").join(program)).args(arguments);
    let folders = packages.iter().map(|name| checkout().join(".tools").join(name));
    python.env("PYTHONPATH", std::env::join_paths(folders).expect("no colon in the name of the checkout"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// Runs a reader in the folder of the files and returns its answers: the column types, and an array per query. Fails
/// with `advice` when the program cannot run.
pub fn ask(mut program: Command, dir: &Path, advice: &str) -> Vec<Value> {
    let output = program.current_dir(dir).output().unwrap_or_else(|error| panic!("{error}: {advice}"));
    assert!(output.status.success(), "{} ({advice})", String::from_utf8_lossy(&output.stderr));
    serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect()
}
