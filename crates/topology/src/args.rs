//! The command line of `topology`.

use bus::stream::Stream;
use clap::{Parser, Subcommand, ValueEnum};
use service::{ProcessArgs, Program};

use crate::commands::{backup, credentials, export, limits, rebuild, show, trim, wait};

/// The streams of the pipeline: plan and apply them, show where every step stands, wait until all is committed,
/// trim what is old, have results made again, back up and restore.
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
    /// Show what `apply` would do, without doing it; exit code 1 when streams are missing or differ
    Plan(limits::LimitArgs),
    /// Create what is missing and raise limits; refuses whatever could lose data
    Apply(limits::LimitArgs),
    /// Write the definitions of the streams as JSON, in the server's form, as `plan` and `apply` mean them
    Export(export::ExportArgs),
    /// Show positions, lag and counts of every step
    Show(show::ShowArgs),
    /// Wait until the steps have committed all of their input
    Wait(wait::WaitArgs),
    /// Remove history that is old enough and that every reader has behind it
    Trim(trim::TrimArgs),
    /// Empty a stream and all that derives from it, to be made again from its input
    Rebuild(rebuild::RebuildArgs),
    /// Copy all streams and buckets into a new folder, while the pipeline runs
    Backup(backup::BackupArgs),
    /// Make all streams and buckets of a backup, on a server that has none of them
    Restore(backup::RestoreArgs),
    /// Make credentials files for all users, and what nats-server needs to know them, without asking a server
    Credentials(credentials::CredentialsArgs),
}

/// A stream that holds checkpoints beside its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Checkpointed {
    /// Prices and 1-minute candles
    Market,
    /// Candles of longer windows
    Stats,
    /// Forecasts and their scores
    Forecast,
}

impl Checkpointed {
    pub(crate) const ALL: [Self; 3] = [Self::Market, Self::Stats, Self::Forecast];
}

impl From<Checkpointed> for Stream {
    fn from(stream: Checkpointed) -> Self {
        match stream {
            Checkpointed::Market => Self::Market,
            Checkpointed::Stats => Self::Stats,
            Checkpointed::Forecast => Self::Forecast,
        }
    }
}

impl Program for Args {
    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        false
    }
}
