//! Outcome of a run: tables, counts, and the result of the audit.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};
use pipeline_tests::host::Host;
use pipeline_tests::test_pipeline::{TABLES, TestPipeline};
use serde::Deserialize;
use serde_json::Value;

/// Counts of the stream-processor that must equal those of the undisturbed run.
const COUNTS: [&str; 3] = ["accepted", "duplicate", "late"];

/// Every table as CSV and the counts.
#[derive(Debug)]
pub(super) struct Outcome {
    tables: BTreeMap<&'static str, String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// Reads the outcome of a finished pipeline.
    ///
    /// # Errors
    /// A command failed.
    pub(super) async fn read(pipeline: &TestPipeline<impl Host>) -> anyhow::Result<Self> {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let csv = output(program(pipeline, "aggregator", &["show", table, "--all", "--format", "csv"])).await?;
            tables.insert(table, csv);
        }
        let standing = output(program(pipeline, "topology", &["show", "--format", "json"])).await?;
        let standing: Value = serde_json::from_str(&standing)?;
        let count = |name| standing["steps"]["stream-processor"]["counts"][name].as_u64().unwrap_or(0);
        Ok(Self { tables, counts: COUNTS.into_iter().map(|name| (name, count(name))).collect() })
    }

    /// Describes the differences to another run.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let tables = TABLES.into_iter().filter_map(|table| {
            let (mut ours, mut theirs) = (self.tables[table].lines(), other.tables[table].lines());
            loop {
                match (ours.next(), theirs.next()) {
                    (None, None) => return None,
                    (ours, theirs) if ours == theirs => {}
                    (ours, theirs) => {
                        let (ours, theirs) = (ours.unwrap_or("nothing"), theirs.unwrap_or("nothing"));
                        return Some(format!("{table}: {ours} instead of {theirs}"));
                    }
                }
            }
        });
        let counts = COUNTS.into_iter().filter(|name| self.counts[name] != other.counts[name]);
        let counts = counts.map(|name| format!("{name}: {} instead of {}", self.counts[name], other.counts[name]));
        tables.chain(counts).collect()
    }
}

/// Counts of `aggregator audit`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Audit {
    /// Recomputed windows.
    pub windows: u64,
    /// Windows equal to the stored ones.
    pub equal: u64,
    /// Windows stored with other values.
    pub different: u64,
    /// Expected windows that are not stored.
    pub missing: u64,
    /// Stored windows that are not expected.
    pub extra: u64,
}

impl Audit {
    /// Whether the audit found windows, and no difference.
    pub fn is_clean(&self) -> bool {
        self.windows > 0 && self.different + self.missing + self.extra == 0
    }

    /// Audits a pipeline.
    ///
    /// # Errors
    /// The audit failed to finish.
    pub async fn take(pipeline: &TestPipeline<impl Host>) -> anyhow::Result<Self> {
        let output = finish(program(pipeline, "aggregator", &["audit", "--format", "json"])).await?;
        let read = serde_json::from_slice(&output.stdout);
        read.with_context(|| format!("the audit failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A program of the pipeline with its arguments.
pub fn program(pipeline: &TestPipeline<impl Host>, name: &str, args: &[&str]) -> Command {
    let mut command = pipeline.program(name);
    command.args(args);
    command
}

/// Runs a command to its end and returns its output.
///
/// # Errors
/// The command failed.
pub async fn output(command: Command) -> anyhow::Result<String> {
    let name = format!("{command:?}");
    let output = finish(command).await?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command; kills it when the future is dropped.
async fn finish(command: Command) -> anyhow::Result<Output> {
    let name = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.with_context(|| format!("{name} cannot be started"))
}
