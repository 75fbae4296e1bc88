//! One fit of a large matrix in a process of its own, with the trainer's learner or with XGBoost's own Python package.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use learn::booster::{BaseScore, Boosting, LabeledRows, Model};
use pipeline_tests::process::peak_bytes;
use pipeline_tests::server::checkout;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// Rows of the matrix.
pub const ROWS: usize = 1_000_000;
/// Features per row.
pub const COLUMNS: usize = 20;
/// Number of trees.
pub const ROUNDS: u32 = 100;
/// Threads of both sides: the trainer's default.
pub const THREADS: usize = 2;

const FEATURES: &str = "features.f32";
const LABELS: &str = "labels.f32";
const PYTHON_SIDE: &str = include_str!("fit.py");
/// Where `scripts/setup --bench` installs the package.
const PYTHON_PACKAGES: &str = ".tools/python-bench";

/// Result of a fit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fit {
    /// Time from rows in memory to a model of [`ROUNDS`] trees.
    pub seconds: f64,
    /// Peak memory of the process, rows included.
    pub peak_bytes: u64,
    /// Error on the first tenth of the rows: equal on both sides if they did the same work.
    pub rmse: f64,
    /// Version of the library.
    pub xgboost: String,
}

impl Fit {
    /// The peak in megabytes.
    pub fn peak_mb(&self) -> f64 {
        self.peak_bytes as f64 / 1e6
    }
}

/// Writes a synthetic regression problem into `folder`: a wave, a product, a step, and noise, with a fixed seed.
///
/// # Errors
/// A file cannot be written.
pub fn write_matrix(folder: &Path) -> anyhow::Result<()> {
    let create = |name: &str| File::create(folder.join(name)).map(BufWriter::new);
    let (mut features, mut labels) = (create(FEATURES)?, create(LABELS)?);
    let mut random = StdRng::seed_from_u64(42);
    for _ in 0..ROWS {
        let row: [f32; COLUMNS] = std::array::from_fn(|_| random.random());
        let noise = random.random::<f32>() - 0.5;
        let label = (6.0 * row[0]).sin() + row[1] * row[2] + f32::from(row[3] > 0.5) + 0.3 * noise;
        row.iter().try_for_each(|value| features.write_all(&value.to_le_bytes()))?;
        labels.write_all(&label.to_le_bytes())?;
    }
    features.flush()?;
    labels.flush()?;
    Ok(())
}

/// Fits the matrix in `folder` with the trainer's learner.
///
/// # Errors
/// The matrix cannot be read, or XGBoost fails.
pub fn fit(folder: &Path) -> anyhow::Result<Fit> {
    let features = read_numbers(&folder.join(FEATURES), ROWS * COLUMNS)?;
    let labels = read_numbers(&folder.join(LABELS), ROWS)?;
    let boosting = Boosting {
        rounds_max: ROUNDS,
        depth: 5,
        learning_rate: 0.1,
        leaf_rows_min: 1,
        base_score: BaseScore::Mean,
        seed: 42,
        threads: THREADS,
    };
    let start = Instant::now();
    let model = Model::fit(LabeledRows { features: &features, labels: &labels }, &boosting, ROUNDS)?;
    let seconds = start.elapsed().as_secs_f64();
    let scored = ROWS / 10;
    let predictions = model.predict(&features[..scored * COLUMNS], scored)?;
    let squares = predictions.iter().zip(&labels).map(|(predicted, label)| f64::from(predicted - label).powi(2));
    let rmse = (squares.sum::<f64>() / scored as f64).sqrt();
    Ok(Fit { seconds, peak_bytes: peak_bytes(std::process::id())?, rmse, xgboost: model.library_version() })
}

/// Starts this program again to run only [`fit`].
///
/// # Errors
/// It ends without a result.
pub fn fit_apart(folder: &Path) -> anyhow::Result<Fit> {
    result_of(Command::new(std::env::current_exe()?).arg("--fit").arg(folder))
}

/// Does the same with XGBoost's own Python package.
///
/// # Errors
/// The package is missing, or it ends without a result.
pub fn fit_in_python(folder: &Path) -> anyhow::Result<Fit> {
    let packages: PathBuf = checkout().join(PYTHON_PACKAGES);
    ensure!(packages.join("xgboost").is_dir(), "{} is missing: run scripts/setup --bench", packages.display());
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages).args(["-c", PYTHON_SIDE]).arg(folder);
    python.args([ROWS, COLUMNS, ROUNDS as usize, THREADS].map(|number| number.to_string()));
    result_of(&mut python)
}

/// Threads of both sides sleep while they wait, as the trainer's do.
fn result_of(command: &mut Command) -> anyhow::Result<Fit> {
    let output = command.env("OMP_WAIT_POLICY", "passive").output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?} failed: {errors}", command.get_program());
    serde_json::from_slice(&output.stdout).with_context(|| format!("{:?} said no result", command.get_program()))
}

fn read_numbers(path: &Path, count: usize) -> anyhow::Result<Vec<f32>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bytes = BufReader::new(file);
    let mut numbers = Vec::with_capacity(count);
    let mut number = [0; size_of::<f32>()];
    for _ in 0..count {
        bytes.read_exact(&mut number)?;
        numbers.push(f32::from_le_bytes(number));
    }
    Ok(numbers)
}
