//! The complete one-shot run: `scripts/run --once` on a recording, from start to plot.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use pipeline_tests::server::checkout;

/// Printed at the end of `scripts/run`, before the seconds from its first process to its last result.
const MADE_IN: &str = "made in ";

/// Runs it with the original's recipe. Returns the time from the start of its first process, after the build, until all
/// results are in place, including the plot.
///
/// # Errors
/// The run fails.
pub fn run(folder: &Path, recording: &Path) -> anyhow::Result<Duration> {
    let out = folder.join("once");
    let mut command = Command::new(checkout().join("scripts/run"));
    command.args(["--once", "--coin", "bitcoin", "--quote", "usdt", "--grain", "1h"]);
    command.args(["--recipe", "calendar", "--split", "random"]);
    command.arg("--recording").arg(recording).arg("--out").arg(&out).stdin(Stdio::null());
    let output = command.output()?;
    ensure!(output.status.success(), "scripts/run failed: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(out.join("output_plot.png").is_file(), "scripts/run drew no plot");
    let said = String::from_utf8_lossy(&output.stdout);
    let seconds = said.lines().rev().find_map(|line| line.split_once(MADE_IN)?.1.strip_suffix(" s")?.parse().ok());
    std::fs::remove_dir_all(&out)?;
    Ok(Duration::from_secs_f64(seconds.context("scripts/run does not say how long it took")?))
}
