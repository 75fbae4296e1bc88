//! Parquet readers that are too large for every run; `scripts/test --peers` installs them and runs these tests. A
//! missing reader fails its test.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use pipeline_tests::readers::{answers, ask, python, types, write_files};
use serde_json::Value;

fn read_with(program: Command) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path()).unwrap();
    ask(program, dir.path(), "run scripts/setup --peers")
}

#[test]
fn spark_reads_the_archive_at_default_settings() {
    let [ticks, predictions] = answers();
    let of_spark = types(["string", "timestamp", "bigint", "double", "boolean"]);
    assert_eq!(read_with(python("spark_read.py", &[], &["spark"])), [of_spark, ticks, predictions]);
}

#[test]
fn pandas_reads_the_archive_with_pyarrow() {
    assert_eq!(read_with(python("pandas_read.py", &["pyarrow"], &["pandas", "pyarrow"])), answers());
}
