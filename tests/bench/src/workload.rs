//! Synthetic recordings with a fixed seed: the same bytes on every machine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use market::{Instrument, Span};
use pipeline_tests::test_pipeline::sample_lines;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Ticks of a full workload.
pub const TICKS: usize = 1_000_000;
/// Seed of the random walk of W1.
pub const SEED: u64 = 1;
/// 2013-01-01: ten million ticks end before today; later ones would be refused.
const FIRST_MS: i64 = 1_356_998_400_000;
const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
/// Columns of a recording.
const HEADER: &str = "timestamp_ms,open,high,low,close,volume";

/// Recordings on disk, and how to replay them.
#[derive(Debug)]
pub struct Workload {
    /// Instruments and their files.
    pub recordings: Vec<(Instrument, PathBuf)>,
    /// Length of a candle; `None` when each row is a trade.
    pub grain: Option<Span>,
    /// Rows of all files.
    pub ticks: usize,
}

impl Workload {
    /// W1: one instrument, spot ticks 5 to 55 s apart, the price a random walk.
    ///
    /// # Errors
    /// The folder cannot be written; the same for the other workloads.
    pub fn one(dir: &Path, ticks: usize) -> anyhow::Result<Self> {
        Self::of_each(dir, [walk(SEED).take(ticks).collect()])
    }

    /// W4: the same rows distributed to this many instruments in turn.
    pub fn dealt(dir: &Path, ticks: usize, instruments: usize) -> anyhow::Result<Self> {
        let mut dealt = vec![String::new(); instruments];
        for (idx, row) in walk(SEED).take(ticks).enumerate() {
            dealt[idx % instruments].push_str(&row);
        }
        Self::of_each(dir, dealt)
    }

    /// This many instruments at the same time, each with ticks like W1 and an equal share of the rows, so that the
    /// number of ticks per window is the same for any number of instruments.
    pub fn side_by_side(dir: &Path, ticks: usize, instruments: usize) -> anyhow::Result<Self> {
        let each = (0..instruments as u64).map(|idx| walk(SEED + idx).take(ticks / instruments).collect());
        Self::of_each(dir, each)
    }

    /// One recording for each of these iterators of rows.
    fn of_each(dir: &Path, rows: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut recordings = Vec::new();
        let mut ticks = 0;
        // One file at a time: ten thousand open files are more than a process may have.
        for (idx, rows) in rows.into_iter().enumerate() {
            let coin = if idx == 0 { "bitcoin".to_owned() } else { format!("coin-{idx}") };
            let path = dir.join(format!("{coin}.csv"));
            std::fs::write(&path, format!("{HEADER}\n{rows}"))
                .with_context(|| format!("cannot write {}", path.display()))?;
            ticks += rows.lines().count();
            recordings.push((Instrument::new(&coin, "usd")?, path));
        }
        Ok(Self { recordings, grain: None, ticks })
    }

    /// Wm: the bundled month of minutes repeatedly, later each time: every tick also makes a 1-minute candle.
    pub fn minutes(dir: &Path, ticks: usize) -> anyhow::Result<Self> {
        let path = dir.join("minutes.csv");
        let mut file = BufWriter::new(File::create(&path)?);
        writeln!(file, "{HEADER}")?;
        let month = month()?;
        let (first, last) = (month[0].0, month[month.len() - 1].0);
        let length = last - first + Span::MINUTE.ms();
        for idx in 0..ticks {
            let (time, values) = &month[idx % month.len()];
            let shift = (idx / month.len()) as i64 * length;
            writeln!(file, "{},{values}", time + shift)?;
        }
        file.flush()?;
        Ok(Self { recordings: vec![(Instrument::new("bitcoin", "usdt")?, path)], grain: Some(Span::MINUTE), ticks })
    }

    /// This many instruments with this many minutes each, all at the same time.
    pub fn minutes_of_each(dir: &Path, minutes: usize, instruments: usize) -> anyhow::Result<Self> {
        let row = |minute: usize| format!("{},100,101,99,100.5,1\n", FIRST_MS + minute as i64 * Span::MINUTE.ms());
        let rows: String = (0..minutes).map(row).collect();
        Ok(Self { grain: Some(Span::MINUTE), ..Self::of_each(dir, std::iter::repeat_n(rows, instruments))? })
    }

    /// The `--file` values of the producer.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.recordings.iter().map(|(instrument, path)| format!("{instrument}={}", path.display()))
    }
}

/// An endless sequence of rows of spot ticks.
fn walk(seed: u64) -> impl Iterator<Item = String> {
    quotes(seed).map(|(time_ms, price)| format!("{time_ms},{price},{price},{price},{price},\n"))
}

/// An endless sequence of times in milliseconds and prices of spot ticks.
pub fn quotes(seed: u64) -> impl Iterator<Item = (i64, String)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut time_ms, mut price) = (FIRST_MS, 30_000.0_f64);
    std::iter::repeat_with(move || {
        time_ms += rng.random_range(5_000..55_000);
        price *= 1.0 + rng.random_range(-0.0005..0.0005);
        (time_ms, format!("{price:.2}"))
    })
}

/// The bundled month: times, and the other columns unchanged.
fn month() -> anyhow::Result<Vec<(i64, String)>> {
    let mut lines = sample_lines(SAMPLE)?;
    ensure!(lines.next().transpose()?.as_deref() == Some(HEADER), "{SAMPLE} has other columns");
    let mut rows = Vec::new();
    for line in lines {
        let line = line?;
        let (time, values) = line.split_once(',').with_context(|| format!("a row without columns: {line}"))?;
        rows.push((time.parse()?, values.to_owned()));
    }
    Ok(rows)
}
