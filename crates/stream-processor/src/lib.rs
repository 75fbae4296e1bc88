//! FEED → MARKET: validates and deduplicates ticks, publishes live prices and 1-minute candles, keeps what was late or
//! refused. What a tick or a window is stands in `market`, how results are stored in `bus`; here is the step between.

#![warn(missing_docs)]

mod operator;
mod output;

use std::sync::Arc;

use clap::{Parser, Subcommand};
use service::{AskArgs, ProcessArgs, Program, Shutdown};
use step::ServeArgs;

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
    /// How the step runs.
    #[command(flatten)]
    pub serve: ServeArgs,
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
    let on_commit = run.print.then(|| {
        let printer = output::printer();
        Arc::new(move |batch: &[_]| output::offer(&printer, batch)) as step::OnCommit
    });
    step::serve(&args.nats, run.serve, on_commit, shutdown, Processing::new).await
}
