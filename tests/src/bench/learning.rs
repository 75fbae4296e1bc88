//! What learning costs: the original's recipe on the bundled hours, and a large matrix beside XGBoost's own Python
//! package.

pub mod fit;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use self::fit::Fit;
use super::figures::{Figures, ms};
use crate::programs::program;
use crate::world::sample;

const SAMPLE: &str = "btcusdt_1h_2019-2023.csv.gz";
/// As many rows as the original program had.
pub(super) const CALENDAR_ROWS: usize = 9_200;
/// The promises.
const CALENDAR_TIME_MAX: Duration = Duration::from_millis(400);
const CALENDAR_R2_MIN: f64 = 0.99;
const RATIO_MAX: f64 = 1.2;
const PEAK_BYTES_MAX: u64 = 600_000_000;
/// Repetitions of each; the median counts.
const TRAININGS: usize = 5;
const FITS: usize = 3;

/// What was measured.
#[derive(Debug)]
pub struct Learning {
    /// `trainer train` with the original's recipe: the process, from its start to its end.
    process: Figures,
    /// The part of it that reads, fits and scores, by its own word.
    training: Figures,
    r2: f64,
    ours: Side,
    python: Side,
}

/// One of the two that fit the large matrix.
#[derive(Debug)]
struct Side {
    times: Figures,
    /// The largest of all.
    peak_bytes: u64,
    rmse: f64,
    xgboost: String,
}

/// Measures both.
///
/// # Errors
/// A program fails, or Python's package is not there.
pub fn measure(say: fn(&str)) -> anyhow::Result<Learning> {
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("hours.csv");
    write_hours(&recording)?;
    let (mut process, mut training, mut r2) = (Figures::default(), Figures::default(), f64::NAN);
    for _ in 0..TRAININGS {
        let start = Instant::now();
        let card = train(folder.path(), &recording)?;
        process.add(start.elapsed());
        training.add(Duration::from_millis(card["duration_ms"].as_u64().context("a card without its duration")?));
        r2 = card["holdout"]["r2"].as_f64().context("a card without R2")?;
    }
    say(&format!("{TRAININGS} trainings on {CALENDAR_ROWS} rows"));
    fit::write_matrix(folder.path())?;
    let (mut ours, mut python) = (Vec::new(), Vec::new());
    for _ in 0..FITS {
        // In turns, so that whatever else the machine does hits both.
        ours.push(fit::fit_apart(folder.path())?);
        python.push(fit::fit_in_python(folder.path())?);
    }
    say(&format!("{FITS} fits of {} rows on either side", fit::ROWS));
    Ok(Learning { process, training, r2, ours: Side::of(&ours)?, python: Side::of(&python)? })
}

impl Side {
    fn of(fits: &[Fit]) -> anyhow::Result<Self> {
        let last = fits.last().context("nothing was fitted")?;
        let mut times = Figures::default();
        fits.iter().for_each(|fit| times.add(Duration::from_secs_f64(fit.seconds)));
        let peak_bytes = fits.iter().map(|fit| fit.peak_bytes).max().unwrap_or_default();
        Ok(Self { times, peak_bytes, rmse: last.rmse, xgboost: last.xgboost.clone() })
    }

    fn row(&self, name: &str) -> String {
        let seconds = |time: Duration| time.as_secs_f64();
        let (median, min, max) = (self.times.percentile(50), self.times.percentile(0), self.times.max());
        format!(
            "{name:<34} {:>7.2} s  ({:.2} to {:.2})  peak {:>4} MB, RMSE {:.6}, XGBoost {}",
            seconds(median),
            seconds(min),
            seconds(max),
            self.peak_bytes / 1_000_000,
            self.rmse,
            self.xgboost
        )
    }

    fn json(&self) -> Value {
        json!({
            "p50_ms": ms(self.times.percentile(50)),
            "min_ms": ms(self.times.percentile(0)),
            "max_ms": ms(self.times.max()),
            "peak_bytes": self.peak_bytes,
            "rmse": self.rmse,
            "xgboost": self.xgboost,
        })
    }
}

impl Learning {
    /// Our time ÷ the package's.
    fn ratio(&self) -> f64 {
        self.ours.times.percentile(50).as_secs_f64() / self.python.times.percentile(50).as_secs_f64()
    }

    /// Both sides grew the same trees: sums over threads may round otherwise, no more.
    fn is_same_work(&self) -> bool {
        (self.ours.rmse / self.python.rmse - 1.0).abs() < 1e-3 && self.ours.xgboost == self.python.xgboost
    }

    /// Whether every promise is kept.
    pub fn is_good(&self) -> bool {
        self.process.percentile(50) <= CALENDAR_TIME_MAX
            && self.r2 >= CALENDAR_R2_MIN
            && self.is_same_work()
            && self.ratio() <= RATIO_MAX
            && self.ours.peak_bytes <= PEAK_BYTES_MAX
    }

    /// The printed table.
    pub fn rows(&self) -> Vec<String> {
        let times = |name: &str, times: &Figures| {
            let [median, min, max] = [times.percentile(50), times.percentile(0), times.max()].map(ms);
            format!("{name:<34} {median:>7.1} ms ({min:.1} to {max:.1})")
        };
        let promise = format!(
            "(promise: {} ms and R2 {CALENDAR_R2_MIN} for the process; {RATIO_MAX} times the package, {} MB)",
            CALENDAR_TIME_MAX.as_millis(),
            PEAK_BYTES_MAX / 1_000_000
        );
        vec![
            times(&format!("calendar, {CALENDAR_ROWS} rows: process"), &self.process),
            times("  of it reading, fitting, scoring", &self.training),
            format!("{:<34} {:>7.4}", "  R2 of the random split (leaks)", self.r2),
            self.ours.row("1,000,000 x 20, 100 rounds: ours"),
            self.python.row("  XGBoost's own Python package"),
            format!("{:<34} {:>7.3}", "  ratio", self.ratio()),
            promise,
        ]
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let times = |times: &Figures| {
            json!({
                "p50_ms": ms(times.percentile(50)),
                "min_ms": ms(times.percentile(0)),
                "max_ms": ms(times.max()),
            })
        };
        json!({
            "calendar": {
                "rows": CALENDAR_ROWS,
                "process": times(&self.process),
                "training": times(&self.training),
                "r2": self.r2,
                "promise_ms": ms(CALENDAR_TIME_MAX),
            },
            "matrix": {
                "rows": fit::ROWS,
                "columns": fit::COLUMNS,
                "rounds": fit::ROUNDS,
                "threads": fit::THREADS,
                "ours": self.ours.json(),
                "python": self.python.json(),
                "ratio": self.ratio(),
                "promise_ratio": RATIO_MAX,
                "promise_bytes": PEAK_BYTES_MAX,
            },
        })
    }
}

/// The first rows of the bundled hours.
pub(super) fn write_hours(path: &Path) -> anyhow::Result<()> {
    let sample = sample(SAMPLE);
    let file = File::open(&sample).with_context(|| format!("cannot read {}", sample.display()))?;
    let mut rows = File::create(path).map(std::io::BufWriter::new)?;
    for line in BufReader::new(GzDecoder::new(file)).lines().take(1 + CALENDAR_ROWS) {
        writeln!(rows, "{}", line?)?;
    }
    Ok(rows.flush()?)
}

/// Trains as a user would; returns the card.
pub(super) fn train(folder: &Path, recording: &Path) -> anyhow::Result<Value> {
    let mut command: Command = program("trainer", folder);
    command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--recipe", "calendar", "--split", "random"]);
    let output = command.args(["--out", "out", "--input"]).arg(recording).output()?;
    ensure!(output.status.success(), "trainer failed: {}", String::from_utf8_lossy(&output.stderr));
    let card = folder.join("out").join("model-card.json");
    Ok(serde_json::from_slice(&std::fs::read(card)?)?)
}
