//! The replayed recording: the bundled minutes, with one instrument for each partition.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::read::GzDecoder;
use pipeline_tests::test_pipeline::sample;
use pipeline_tests::ticks::coin_in;

const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
const QUOTE: &str = "usdt";
const MINUTE_MS: i64 = 60_000;
/// Length of the sample, after which it repeats.
const CYCLE_MS: i64 = 31 * 24 * 60 * MINUTE_MS;

/// Files with one minute per row, one file per instrument.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Values of the producer's flag `--file`.
    pub(crate) files: Vec<String>,
    /// Rows of all files.
    pub(crate) rows: usize,
}

/// Writes a recording into `dir`: one instrument per partition with `rows_each` rows, so that every instance has work.
/// Each instrument's minutes start at another second, so that rows come one at a time, not all at once.
///
/// # Errors
/// The sample cannot be read, or a file cannot be written.
pub(crate) fn write(dir: &Path, partitions: u32, rows_each: usize) -> anyhow::Result<Recording> {
    let rows = sample_rows()?;
    let mut files = Vec::new();
    for partition in 0..partitions {
        let coin = coin_in(partition, QUOTE, partitions);
        let path = dir.join(format!("{coin}.csv"));
        let offset_ms = i64::from(partition) * MINUTE_MS / i64::from(partitions);
        write_file(&path, &rows, rows_each, offset_ms).with_context(|| format!("cannot write {}", path.display()))?;
        files.push(format!("{coin}/{QUOTE}={}", path.display()));
    }
    Ok(Recording { files, rows: rows_each * partitions as usize })
}

/// Rows of the sample: opening time, and the remaining columns.
fn sample_rows() -> anyhow::Result<Vec<(i64, String)>> {
    let path: PathBuf = sample(SAMPLE);
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut rows = Vec::new();
    for line in BufReader::new(GzDecoder::new(file)).lines().skip(1) {
        let line = line?;
        let (time, rest) = line.split_once(',').context("a row of the sample has no comma")?;
        rows.push((time.parse()?, rest.to_owned()));
    }
    Ok(rows)
}

fn write_file(path: &Path, rows: &[(i64, String)], count: usize, offset_ms: i64) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "timestamp_ms,open,high,low,close,volume")?;
    let cycles = (0..).flat_map(|cycle| rows.iter().map(move |row| (cycle * CYCLE_MS, row)));
    for (cycle_ms, (time_ms, rest)) in cycles.take(count) {
        writeln!(file, "{},{rest}", time_ms + cycle_ms + offset_ms)?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_covers_every_partition_and_outlasts_the_sample() {
        let dir = tempfile::tempdir().unwrap();
        let recording = write(dir.path(), 4, 45_000).unwrap();
        assert_eq!((recording.files.len(), recording.rows), (4, 180_000));
        for (partition, file) in recording.files.iter().enumerate() {
            let (name, path) = file.split_once('=').unwrap();
            let (coin, quote) = name.split_once('/').unwrap();
            assert_eq!(bus::subject::partition(coin, quote, 4) as usize, partition);
            let text = std::fs::read_to_string(path).unwrap();
            let times: Vec<i64> =
                text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
            assert_eq!(times.len(), 45_000);
            assert!(times.is_sorted_by(|a, b| a < b), "time continues where the sample repeats");
        }
    }
}
