//! Shows what the pipeline has made: a plot, tables, figures, live messages, a web page.
//!
//! This crate writes nothing to NATS and computes no candle, feature or score: it reads and shows. Start reading at
//! [`run`]; [`picture`] is a pure function from predictions to pixels, `view` what tables and page have in common.

pub mod plot;
pub mod summary;
pub mod tables;
pub mod watch;
pub mod web;

mod number;
mod output;
mod user;
mod view;
mod volume;

use service::{AskArgs, ProcessArgs, Program, Shutdown};

/// Shows what the pipeline has made: a plot, tables, figures, live messages, a web page
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Args {
    /// What every program of ours is told.
    #[command(flatten)]
    pub process: ProcessArgs,

    /// Where NATS is.
    #[command(flatten)]
    pub nats: bus::NatsArgs,

    /// What to show.
    #[command(subcommand)]
    pub command: Command,
}

/// What to show.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Draw actual against predicted prices into a PNG file
    Plot(plot::Args),
    /// Print the newest rows of every table, with the last price
    Tables(tables::Args),
    /// Write the figures of a run as JSON: holdout scores and record counts
    Metrics(summary::Args),
    /// Print live messages, one line each; needs no password
    Watch(watch::Args),
    /// Serve a web page: live price, tables, the plot, health
    Run(web::Args),
    /// Ask a running one whether it is ready; exit code 1 when it is not
    Health(AskArgs),
}

impl Program for Args {
    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn is_service(&self) -> bool {
        matches!(self.command, Command::Run(_) | Command::Watch(_))
    }
}

/// Runs a command until it is done or told to stop.
///
/// # Errors
/// Whatever the command meets; each error says what to do and carries its exit code.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    match args.command {
        Command::Plot(plot) => plot::run(&plot),
        Command::Tables(tables) => unless_told(&shutdown, tables::run(&tables, &args.nats)).await,
        Command::Metrics(metrics) => unless_told(&shutdown, summary::run(&metrics, &args.nats)).await,
        Command::Watch(watch) => watch::run(&watch, &args.nats, &shutdown).await,
        Command::Run(web) => web::run(&web, &args.nats, &shutdown).await,
        Command::Health(ask) => ask.ask().await,
    }
}

/// Gives up a command that has nothing to finish.
async fn unless_told(shutdown: &Shutdown, command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        done = command => done,
        () = shutdown.requested() => anyhow::bail!("interrupted"),
    }
}
