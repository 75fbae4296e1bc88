//! The other programs, and the packages that `scripts/setup --peers` installs for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use pipeline_tests::server::checkout;
use serde::de::DeserializeOwned;
use tokio::process::Command;

/// Folder of the programs, which import each other.
const PROGRAMS: &str = "tests/bench/src/peers";

/// Runtime of a program.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tool {
    Spark,
    Flink,
    Polars,
}

impl Tool {
    /// Folders of Python packages below `.tools/`. Spark and Flink need different versions of py4j.
    fn packages(self) -> &'static [&'static str] {
        match self {
            // Spark's learning uses NumPy from the second folder.
            Self::Spark => &["spark", "python-bench"],
            Self::Flink => &["flink"],
            Self::Polars => &["python"],
        }
    }

    fn folders(self) -> impl Iterator<Item = PathBuf> {
        self.packages().iter().map(|name| checkout().join(".tools").join(name))
    }

    /// Whether its packages are installed.
    pub(super) fn is_installed(self) -> bool {
        self.folders().all(|folder| folder.is_dir())
    }
}

/// Runs a program in `dir` with numbers as its arguments; returns its result.
///
/// # Errors
/// The tool is missing, or the program fails.
pub(super) async fn outcome_of<T: DeserializeOwned>(
    tool: Tool,
    program: &str,
    dir: &Path,
    numbers: &[usize],
) -> anyhow::Result<T> {
    ensure!(tool.is_installed(), "{tool:?} is missing: run scripts/setup --peers");
    // No program may reuse the files of another.
    let folder = tempfile::tempdir_in(dir)?;
    let mut command = Command::new("python3");
    command.arg(checkout().join(PROGRAMS).join(program)).arg(dir).args(numbers.iter().map(usize::to_string));
    let paths: OsString = std::env::join_paths(tool.folders())?;
    command.current_dir(folder.path()).env("PYTHONPATH", paths).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.context("python3 does not start")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {errors}");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().with_context(|| format!("{program} printed nothing: {errors}"))?;
    serde_json::from_str(last).with_context(|| format!("{program} printed no result: {last}"))
}
