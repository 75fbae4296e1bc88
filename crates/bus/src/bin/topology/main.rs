//! `topology`: creates the streams, shows where every step stands, waits until all is committed, trims, rebuilds, keeps
//! and restores.

use std::process::ExitCode;

use bus::topology::Stream;
use clap::{Parser, Subcommand, ValueEnum};
use service::{ProcessArgs, Program, Shutdown};

mod advice;
mod backup;
mod credentials;
mod export;
mod limits;
mod output;
mod patience;
mod plan;
mod rebuild;
mod show;
mod trim;
mod wait;

/// The streams of the pipeline: plan and apply them, show where every step stands, wait until all is committed,
/// trim what is old, have results made again, back up and restore.
#[derive(Debug, Parser)]
#[command(name = "topology", version)]
struct Args {
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    nats: bus::NatsArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
enum Checkpointed {
    /// Prices and 1-minute candles
    Market,
    /// Candles of longer windows
    Stats,
    /// Forecasts and their scores
    Forecast,
}

impl Checkpointed {
    const ALL: [Self; 3] = [Self::Market, Self::Stats, Self::Forecast];
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

fn main() -> ExitCode {
    service::main(run, bus::exit_code)
}

async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    match &args.command {
        Command::Export(args) => return export::export(args),
        Command::Credentials(args) => return credentials::credentials(args),
        Command::Restore(args) if !args.needs_server() => return backup::check(args),
        _ => {}
    }
    let connection = bus::Connection::open(&args.nats, Some("admin")).await?;
    match args.command {
        Command::Plan(limits) => plan::plan(&connection, &limits).await,
        Command::Apply(limits) => plan::apply(&connection, &limits).await,
        Command::Show(args) => show::show(&connection, &args).await,
        Command::Wait(args) => wait::wait(&connection, &args, &shutdown).await,
        Command::Trim(args) => trim::trim(&connection, &args).await,
        Command::Rebuild(args) => rebuild::rebuild(&connection, &args).await,
        Command::Backup(args) => backup::backup(&connection, &args, &shutdown).await,
        Command::Restore(args) => backup::restore(&connection, &args, &shutdown).await,
        Command::Export(args) => export::export(&args),
        Command::Credentials(args) => credentials::credentials(&args),
    }
}
