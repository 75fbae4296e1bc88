//! The command line of `topology`.

use clap::{Parser, Subcommand};
use service::{ProcessArgs, Program};

use crate::commands::{backup, export, limits, rebuild, show, trim, wait};

/// Administers the streams: plan and apply them, show the progress of every step, wait for commits, trim old history,
/// rebuild derived streams, back up and restore
#[derive(Debug, Parser)]
#[command(name = "topology", version)]
pub struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    pub(crate) nats: bus::NatsArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    OnServer(ServerCommand),
    /// Write the stream definitions that `plan` and `apply` use as JSON, in the server's own form
    Export(export::ExportArgs),
}

/// Commands that connect to a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Show what `apply` would do, without doing it; exit code 1 when streams are missing or differ
    Plan(limits::LimitArgs),
    /// Create missing streams and raise limits; refuses every change that could lose data
    Apply(limits::LimitArgs),
    /// Show positions, lag and counts of every step
    Show(show::ShowArgs),
    /// Wait until the steps have committed all of their input
    Wait(wait::WaitArgs),
    /// Remove history that is old enough and already read by every reader
    Trim(trim::TrimArgs),
    /// Empty a stream and all streams derived from it, so that the steps recreate them from their input
    Rebuild(rebuild::RebuildArgs),
    /// Copy all streams and buckets into a new folder, while the pipeline runs
    Backup(backup::BackupArgs),
    /// Recreate all streams and buckets from a backup, on a server that has none of them
    Restore(backup::RestoreArgs),
}

impl Program for Args {
    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        false
    }
}
