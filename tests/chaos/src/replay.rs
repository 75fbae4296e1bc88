//! Command and speed of the replay.

use std::path::Path;
use std::process::Command;

use pipeline_tests::host::Host;
use pipeline_tests::test_pipeline::TestPipeline;

use super::options::{GRAIN, ROWS_A_SECOND};

/// The replay of the files at full speed.
pub(crate) fn replay(pipeline: &TestPipeline<impl Host>, files: &[String]) -> Command {
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "recording", "--grain", "1m"]);
    command.args(files.iter().flat_map(|file| ["--file", file]));
    command
}

/// The `--speed` that gives each instrument [`ROWS_A_SECOND`].
pub(crate) fn speed() -> String {
    format!("{}x", u64::from(ROWS_A_SECOND) * GRAIN.as_secs())
}

/// The folder of a pipeline.
pub(crate) fn dir_of<S>(pipeline: &TestPipeline<S>) -> &Path {
    pipeline.dir.path()
}
