//! FEED → MARKET: validates and deduplicates ticks, publishes live prices and 1-minute candles, keeps what was late or
//! refused. What a tick or a window is stands in `market`, how results are stored in `bus`; here is the step between.

#![warn(missing_docs)]

mod operator;
mod output;

use std::sync::Arc;

use bus::Connection;
use clap::{Parser, Subcommand};
use service::{AskArgs, Health, HealthArgs, ProcessArgs, Program, Shutdown};
use step::{Context, EventTimeArgs, InstanceArgs};

pub use operator::Processing;

/// Clean live prices and 1-minute candles from whatever the producer sends.
#[derive(Debug, Parser)]
#[command(name = "stream-processor", version)]
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

/// What the stream-processor can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until stopped: FEED to MARKET
    Run(RunArgs),
    /// Ask a running one whether it is ready; exit code 1 when it is not
    Health(AskArgs),
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Print every committed batch as a table
    #[arg(long)]
    pub print: bool,
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

/// Runs the stream-processor until shutdown, or asks one how it is.
///
/// # Errors
/// What waiting cannot mend: see [`step::run`].
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let run = match args.command {
        Command::Run(run) => run,
        Command::Health(ask) => return ask.ask().await,
    };
    let user = Processing::service();
    args.nats.check(Some(user))?;
    let health = Health::new();
    health.serve(&run.health, shutdown.clone()).await?;
    let Some(connection) = Connection::wait(&args.nats, Some(user), &health, &shutdown).await? else { return Ok(()) };
    let on_commit = run.print.then(|| {
        let printer = output::printer();
        Arc::new(move |batch: &[_]| output::offer(&printer, batch)) as step::OnCommit
    });
    let context = Context { connection, shutdown, health, on_commit, instance: run.instance };
    step::run(context, Processing::new(run.event_time.into())).await?;
    Ok(())
}
