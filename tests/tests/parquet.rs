//! Parquet that everyone reads: how it is encoded, and what readers make of it that are small enough for every run.
//! Spark, and pandas with pyarrow, are in `readers.rs`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use pipeline_tests::readers::{answers, ask, duckdb, python, types, write_files};
use serde_json::Value;

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
fn duckdb_reads_what_is_written_without_help() {
    check("DuckDB", duckdb(), types(["VARCHAR", "TIMESTAMP WITH TIME ZONE", "BIGINT", "DOUBLE"]));
}

#[test]
fn polars_reads_what_is_written_without_help() {
    let of_polars = types(["Categorical", "Datetime(time_unit='ms', time_zone='UTC')", "Int64", "Float64"]);
    check("Polars", python("polars_read.py", &[], &["python"]), of_polars);
}

#[test]
fn fastparquet_reads_what_is_written_without_help() {
    let program = python("pandas_read.py", &["fastparquet"], &["pandas"]);
    assert_eq!(ask(program, files().path(), SETUP), answers());
}

fn paths(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|of| of == "parquet")).collect()
}

/// Spark 4.0, fastparquet and older Trino know no other encodings and page versions than those of Parquet 1.0.
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

fn is_of_parquet_1(encoding: Encoding) -> bool {
    let of_1 = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
    of_1.contains(&encoding)
}
