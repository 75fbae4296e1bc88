//! Cost of learning: the complete one-shot run on the bundled hours with the original's recipe, the training alone, and
//! a large matrix compared with XGBoost's own Python package.

pub mod fit;
pub mod once;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pipeline_tests::programs::program;
use pipeline_tests::test_pipeline::sample_lines;
use serde_json::Value;

use self::fit::Fit;
use super::effort::Effort;
use super::report::{Figure, Promise};

const SAMPLE: &str = "btcusdt_1h_2019-2023.csv.gz";
/// The number of rows of the original program.
pub(super) const CALENDAR_ROWS: usize = 9_200;
/// Promises: score of the random split, and ratio of a fit to the package's time.
const R2_MIN: f64 = 0.99;
const RATIO_MAX: f64 = 1.2;
/// Both sides grow the same trees; only the rounding of sums over threads may differ.
const RMSE_DIFFERENCE_MAX: f64 = 1e-3;

/// Measures all three.
///
/// # Errors
/// A program fails, or the Python package is missing.
pub fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("hours.csv");
    write_hours(&recording)?;
    let runs = (0..effort.runs).map(|_| once::run(folder.path(), &recording));
    let times = runs.collect::<Result<Vec<Duration>, _>>()?;
    say(&format!("{} one-shot runs on {CALENDAR_ROWS} rows", effort.runs));
    let once = Figure::seconds("learning.calendar_s", &times);
    let trainings = trainings(folder.path(), &recording, effort, &once)?;
    say(&format!("{} trainings on {CALENDAR_ROWS} rows", effort.runs));
    let matrix = matrix(folder.path(), effort)?;
    say(&format!("{} fits of {} rows on either side", effort.runs, fit::ROWS));
    Ok([once].into_iter().chain(trainings).chain(matrix).collect())
}

/// `trainer train` with the original's recipe: the whole process, and its own figure for reading, fitting and scoring.
fn trainings(folder: &Path, recording: &Path, effort: Effort, whole: &Figure) -> anyhow::Result<[Figure; 3]> {
    let (mut process, mut training, mut r2) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        let start = Instant::now();
        let card = train(folder, recording)?;
        process.push(start.elapsed());
        training.push(Duration::from_millis(card["duration_ms"].as_u64().context("a card without its duration")?));
        r2.push(card["holdout"]["r2"].as_f64().context("a card without R2")?);
    }
    let process = Figure::seconds("learning.fit_s", &process).against(whole);
    let training = Figure::seconds("learning.training_s", &training).against(&process);
    Ok([process, training, Figure::new("learning.r2", "", r2).promise(Promise::AtLeast(R2_MIN))])
}

/// The trainer's learner and the package on the same rows, in turns, so that other load affects both.
fn matrix(folder: &Path, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    fit::write_matrix(folder)?;
    let (mut ours, mut python) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        ours.push(fit::fit_apart(folder)?);
        python.push(fit::fit_in_python(folder)?);
    }
    let versions: Vec<_> = ours.iter().chain(&python).map(|fit| &fit.xgboost).collect();
    ensure!(versions.iter().all(|version| *version == versions[0]), "the sides have other XGBoosts: {versions:?}");
    let figure = |name: &str, unit, fits: &[Fit], value: fn(&Fit) -> f64| {
        Figure::new(format!("learning.matrix.{name}"), unit, fits.iter().map(value).collect())
    };
    let pairs = || ours.iter().zip(&python);
    let ratios = pairs().map(|(ours, python)| ours.seconds / python.seconds).collect();
    let differences = pairs().map(|(ours, python)| (ours.rmse / python.rmse - 1.0).abs()).collect();
    let python_seconds = figure("python_s", "s", &python, |fit| fit.seconds);
    let python_peak = figure("python_peak_mb", "MB", &python, Fit::peak_mb);
    Ok(vec![
        figure("seconds", "s", &ours, |fit| fit.seconds).against(&python_seconds),
        Figure::new("learning.matrix.ratio", "", ratios).promise(Promise::AtMost(RATIO_MAX)),
        figure("peak_mb", "MB", &ours, Fit::peak_mb).against(&python_peak),
        python_seconds,
        python_peak,
        Figure::new("learning.matrix.rmse_difference", "", differences).promise(Promise::AtMost(RMSE_DIFFERENCE_MAX)),
    ])
}

/// The first rows of the bundled hours.
pub(super) fn write_hours(path: &Path) -> anyhow::Result<()> {
    let mut rows = File::create(path).map(std::io::BufWriter::new)?;
    for line in sample_lines(SAMPLE)?.take(1 + CALENDAR_ROWS) {
        writeln!(rows, "{}", line?)?;
    }
    Ok(rows.flush()?)
}

/// Trains like a user; returns the card.
pub(super) fn train(folder: &Path, recording: &Path) -> anyhow::Result<Value> {
    let mut command: Command = program("trainer", folder);
    command.args(["train", "--coin", "bitcoin", "--quote", "usdt", "--recipe", "calendar", "--split", "random"]);
    let output = command.args(["--out", "out", "--input"]).arg(recording).output()?;
    ensure!(output.status.success(), "trainer failed: {}", String::from_utf8_lossy(&output.stderr));
    let card = folder.join("out").join("model-card.json");
    Ok(serde_json::from_slice(&std::fs::read(card)?)?)
}
