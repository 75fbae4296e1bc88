//! What came of a run: tables, counts, and what the audit says.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};
use pipeline_tests::server::Host;
use pipeline_tests::world::{TABLES, World};
use serde::Deserialize;
use serde_json::Value;

/// Counts of the stream-processor that must be what they are without disturbance.
const COUNTS: [&str; 3] = ["accepted", "duplicate", "late"];

/// Every table as CSV and the counts.
#[derive(Debug)]
pub(super) struct Outcome {
    tables: BTreeMap<&'static str, String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// Reads what a finished pipeline has stored.
    ///
    /// # Errors
    /// A command failed.
    pub(super) async fn read(world: &World<impl Host>) -> anyhow::Result<Self> {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let csv = output(program(world, "aggregator", &["show", table, "--all", "--format", "csv"])).await?;
            tables.insert(table, csv);
        }
        let standing = output(program(world, "topology", &["show", "--format", "json"])).await?;
        let standing: Value = serde_json::from_str(&standing)?;
        let count = |name| standing["steps"]["stream-processor"]["counts"][name].as_u64().unwrap_or(0);
        Ok(Self { tables, counts: COUNTS.into_iter().map(|name| (name, count(name))).collect() })
    }

    /// What is not as in another run, in words.
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

/// What `aggregator audit` counts.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Audit {
    /// Windows that were computed again.
    pub windows: u64,
    /// Those that are as they should be.
    pub equal: u64,
    /// Those with other values.
    pub different: u64,
    /// Those that should be there.
    pub missing: u64,
    /// Those that should not be there.
    pub extra: u64,
}

impl Audit {
    /// Whether it found windows, and nothing wrong with them.
    pub fn is_clean(&self) -> bool {
        self.windows > 0 && self.different + self.missing + self.extra == 0
    }

    /// Audits a pipeline.
    ///
    /// # Errors
    /// The audit did not come to an end.
    pub async fn take(world: &World<impl Host>) -> anyhow::Result<Self> {
        let output = finish(program(world, "aggregator", &["audit", "--format", "json"])).await?;
        let read = serde_json::from_slice(&output.stdout);
        read.with_context(|| format!("the audit failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A command of ours with its arguments.
pub fn program(world: &World<impl Host>, name: &str, args: &[&str]) -> Command {
    let mut command = world.program(name);
    command.args(args);
    command
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// It failed.
pub async fn output(command: Command) -> anyhow::Result<String> {
    let name = format!("{command:?}");
    let output = finish(command).await?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Ends it when it is no longer waited for.
async fn finish(command: Command) -> anyhow::Result<Output> {
    let name = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.with_context(|| format!("{name} cannot be started"))
}
