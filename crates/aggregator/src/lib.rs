//! The aggregator, MARKET → STATS: candles of 5 minutes to a day, the 1-hour moving average every 30 minutes, and the
//! hour-of-day profile; prints tables of them, and runs the audit.
//!
//! It reads only records that the stream-processor accepted, and never judges a tick again. Windows and the profile are
//! computed in `market`, commits are made by `step`. Start reading at `operator`.

#![warn(missing_docs)]

mod audit;
mod operator;
mod output;
mod show;

use bus::Connection;
use clap::{Parser, Subcommand};
use service::{AskArgs, ProcessArgs, Program, Shutdown};
use step::ServeArgs;

pub use audit::AuditArgs;
pub use operator::Aggregation;
pub use show::{ShowArgs, TableFormat, TableName};

/// Hourly, daily, moving-average and hour-of-day statistics of the live prices.
#[derive(Debug, Parser)]
#[command(name = "aggregator", version)]
pub struct Args {
    /// Flags of every binary.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Connection to NATS.
    #[command(flatten)]
    pub nats: bus::NatsArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands of the aggregator.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until stopped: MARKET to STATS
    Run(ServeArgs),
    /// Print a table: one row per window, in its newest revision, ordered by coin, quote and start
    Show(ShowArgs),
    /// Recompute everything from FEED independently and compare; exit code 1 when rows differ
    #[command(long_about = audit::LONG_ABOUT)]
    Audit(AuditArgs),
    /// Ask a running aggregator whether it is ready; exit code 1 when it is not
    Health(AskArgs),
}

impl Program for Args {
    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }
}

/// Runs the program. Its code is compiled here, and not once more with main.rs.
pub fn main() -> std::process::ExitCode {
    service::main(run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}

/// Runs one command.
///
/// # Errors
/// `run`: errors that waiting cannot resolve, see [`step::run`]. `show` and `audit`: also a server that does not answer.
/// `audit`: also rows that differ. `health`: an aggregator that is not ready.
async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    match args.command {
        Command::Run(run) => step::serve(&args.nats, run, None, shutdown, Aggregation::new).await,
        Command::Show(show) => {
            let connection = Connection::open(&args.nats, Some("reader")).await?;
            show::show(&connection, &show).await
        }
        Command::Audit(audit) => {
            let connection = Connection::open(&args.nats, Some("aggregator")).await?;
            audit::run(&connection, &audit).await
        }
        Command::Health(ask) => ask.ask().await,
    }
}
