//! MARKET → STATS: candles of 5 minutes to a day, the 1-hour moving average every 30 minutes, the hour-of-day profile;
//! the tables of all of them, and an audit that computes them again.

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
pub use show::{Format, ShowArgs, TableName};

/// Hourly, daily, moving-average and hour-of-day statistics of the live prices.
#[derive(Debug, Parser)]
#[command(name = "aggregator", version)]
pub struct Args {
    /// What every program of ours is told.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Where NATS is.
    #[command(flatten)]
    pub nats: bus::NatsArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the aggregator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until stopped: MARKET to STATS
    Run(ServeArgs),
    /// Print a table: one row a window, in its newest revision, ordered by coin, quote and start
    Show(ShowArgs),
    /// Compute everything again from FEED in another way and compare; exit code 1 when anything differs
    #[command(long_about = audit::LONG_ABOUT)]
    Audit(AuditArgs),
    /// Ask a running one whether it is ready; exit code 1 when it is not
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

/// Runs the aggregator until shutdown, prints a table, audits, or asks one how it is.
///
/// # Errors
/// What waiting cannot mend: see [`step::run`]; for a table or an audit also a server that does not answer; for an audit
/// whatever is not as FEED says.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
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
