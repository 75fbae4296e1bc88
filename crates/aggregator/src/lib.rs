//! MARKET → STATS: candles of 5 minutes to a day, the 1-hour moving average every 30 minutes, the hour-of-day profile;
//! the tables of all of them, and an audit that computes them again.

#![warn(missing_docs)]

pub mod audit;
mod operator;
mod output;
mod show;

use bus::Connection;
use clap::{Parser, Subcommand};
use service::{AskArgs, Health, HealthArgs, ProcessArgs, Program, Shutdown};
use step::{Context, EventTimeArgs, InstanceArgs};

use audit::AuditArgs;
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
    Run(RunArgs),
    /// Print a table: one row a window, in its newest revision, ordered by coin, quote and start
    Show(ShowArgs),
    /// Compute everything again from FEED in another way and compare; exit code 1 when anything differs
    #[command(long_about = audit::LONG_ABOUT)]
    Audit(AuditArgs),
    /// Ask a running one whether it is ready; exit code 1 when it is not
    Health(AskArgs),
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// How event time is judged.
    #[command(flatten)]
    pub event_time: EventTimeArgs,
    /// Which partitions it works on.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Where health is served.
    #[command(flatten)]
    pub health: HealthArgs,
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
        Command::Run(run) => {
            let user = Aggregation::service();
            args.nats.check(Some(user))?;
            let health = Health::new();
            health.serve(&run.health, shutdown.clone()).await?;
            let Some(connection) = Connection::wait(&args.nats, Some(user), &health, &shutdown).await? else {
                return Ok(());
            };
            let context = Context { connection, shutdown, health, on_commit: None, instance: run.instance };
            step::run(context, Aggregation::new(run.event_time.into())).await?;
            Ok(())
        }
        Command::Show(show) => {
            let connection = Connection::open(&args.nats, Some("reader")).await?;
            show::show(&connection, &show).await
        }
        Command::Audit(audit) => {
            let connection = Connection::open(&args.nats, Some(Aggregation::service())).await?;
            audit::audit(&connection, &audit).await
        }
        Command::Health(ask) => ask.ask().await,
    }
}
