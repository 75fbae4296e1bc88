//! Parquet for every reader: encodings, and checks with the readers that are small enough for every run. Spark, and
//! pandas with pyarrow, are in `readers.rs`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use market::{Instrument, Span, Tick};
use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use pipeline_tests::readers::{answers, ask, duckdb, python, types, write_files};
use pipeline_tests::test_pipeline::sample_candles;
use serde_json::Value;
use store::archive::ArchiveWriter;
use store::archive::catalog::SeqRange;
use store::ticks::TickRows;

const SETUP: &str = "run scripts/setup --test";

fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path()).unwrap();
    dir
}

fn check(reader: &str, program: Command, types: Value) {
    let [ticks, predictions] = answers();
    assert_eq!(ask(program, files().path(), SETUP), [types, ticks, predictions], "{reader}");
}

#[test]
fn duckdb_reads_the_archive_without_options() {
    check("DuckDB", duckdb(), types(["VARCHAR", "TIMESTAMP WITH TIME ZONE", "BIGINT", "DOUBLE", "BOOLEAN"]));
}

#[test]
fn polars_reads_the_archive_without_options() {
    let of_polars = types(["Categorical", "Datetime(time_unit='ms', time_zone='UTC')", "Int64", "Float64", "Boolean"]);
    check("Polars", python("polars_read.py", &[], &["python"]), of_polars);
}

#[test]
fn fastparquet_reads_the_archive_without_options() {
    let program = python("pandas_read.py", &["fastparquet"], &["pandas"]);
    assert_eq!(ask(program, files().path(), SETUP), answers());
}

fn paths(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|of| of == "parquet")).collect()
}

/// Spark 4.0, fastparquet and older Trino only know the encodings and page versions of Parquet 1.0.
#[test]
fn every_column_chunk_is_as_every_reader_knows_it() {
    let dir = files();
    let paths = paths(dir.path());
    assert_eq!(paths.len(), 4);
    for path in paths {
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(reader.metadata().file_metadata().version(), 1, "{path:?}");
        for (number, group) in reader.metadata().row_groups().iter().enumerate() {
            for (idx, column) in group.columns().iter().enumerate() {
                let place = format!("{path:?}, {}", column.column_path());
                assert!(matches!(column.compression(), Compression::ZSTD(_)), "{place}: {:?}", column.compression());
                for encoding in column.encodings() {
                    assert!(is_of_parquet_1(encoding), "{place}: {encoding}");
                }
                for page in reader.get_row_group(number).unwrap().get_column_page_reader(idx).unwrap() {
                    let page = page.unwrap();
                    assert_ne!(page.page_type(), PageType::DATA_PAGE_V2, "{place}");
                    assert!(is_of_parquet_1(page.encoding()), "{place}: {}", page.encoding());
                }
            }
        }
    }
}

/// Bytes per row of the bundled month as one file, like a replay's: 500 ticks a message.
fn bytes_a_row(ticks: &[Tick]) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let bitcoin = Instrument::new("bitcoin", "usdt").unwrap();
    let mut rows = TickRows::default();
    for (idx, tick) in ticks.iter().enumerate() {
        let seq = idx as u64 / 500 + 1;
        rows.push(&bitcoin, &Tick { feed_seq: seq, ..*tick }, seq);
    }
    let range = SeqRange { first: 1, last: ticks.len() as u64 };
    ArchiveWriter::open(dir.path(), "MARKET").unwrap().append(range, &rows.into_batch()).unwrap();
    let bytes: u64 = paths(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    bytes as f64 / ticks.len() as f64
}

/// The sizes stated in docs/decisions/0016-plain-parquet-with-digests.md.
#[test]
fn a_row_takes_no_more_bytes_than_is_stated() {
    let minutes = sample_candles("btcusdt_1m_2020-03.csv.gz").unwrap();
    // Polls 5 to 55 s apart, each certified back to the one before.
    let mut event = minutes[0].event;
    let quotes = (0_i64..).zip(&minutes).map(|(idx, minute)| {
        let step = Span(5_000 + idx * 15_485_863 % 50_001);
        event = event + step;
        let close = minute.close;
        Tick { event, grain: None, complete: Some(step), open: close, high: close, low: close, volume: None, ..*minute }
    });
    let (of_minutes, of_quotes) = (bytes_a_row(&minutes), bytes_a_row(&quotes.collect::<Vec<_>>()));
    assert!(of_minutes <= 22.7 && of_quotes <= 8.5, "{of_minutes} and {of_quotes} bytes");
}

fn is_of_parquet_1(encoding: Encoding) -> bool {
    let of_1 = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
    of_1.contains(&encoding)
}
