//! The stream-processor, FEED → MARKET: validates and deduplicates ticks, publishes live prices and 1-minute candles, and
//! keeps late and refused records.
//!
//! It never changes a price and never drops a record uncounted. Ticks, windows and the verdict on late ticks are in
//! `market`, commits in `step`; this crate joins them. Start reading at `operator`.

#![warn(missing_docs)]

mod operator;
mod output;

use std::sync::Arc;

use clap::{Parser, Subcommand};
use service::{AskArgs, ProcessArgs, Program, Shutdown};
use step::ServeArgs;

pub use operator::Processing;

/// Clean live prices and 1-minute candles from the ticks of the producer.
#[derive(Debug, Parser)]
#[command(name = "stream-processor", version)]
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

/// Commands of the stream-processor.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until stopped: FEED to MARKET
    Run(RunArgs),
    /// Ask a running stream-processor whether it is ready; exit code 1 when it is not
    Health(AskArgs),
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Print every committed batch as a table
    #[arg(long)]
    pub print: bool,
    /// Flags of every step.
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

/// Runs the program. Its code is compiled here, and not once more with main.rs.
pub fn main() -> std::process::ExitCode {
    service::main(run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}

/// Runs one command.
///
/// # Errors
/// `run`: errors that waiting cannot resolve, see [`step::run`]. `health`: a stream-processor that is not ready.
async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
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
