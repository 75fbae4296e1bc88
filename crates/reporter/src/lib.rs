//! The reporter: it shows the results of the pipeline as plots, a report, tables, figures, live messages and a web page.
//!
//! It only reads: it writes nothing to NATS and computes no candle, feature or score. Start reading at `run`.
//! [`plot`] draws predictions, [`report`] writes them up, [`web`] serves the page, and `view` holds the newest rows for both tables and page.

pub mod plot;
pub mod query;
pub mod report;
pub mod summary;
pub mod tables;
pub mod watch;
pub mod web;

mod count;
mod number;
mod output;
mod user;
mod view;
mod volume;

use service::{AskArgs, ProcessArgs, Program, Shutdown};

/// Shows the results of the pipeline: plots, a report, tables, figures, live messages, a web page
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Args {
    /// Flags that every program has.
    #[command(flatten)]
    pub process: ProcessArgs,

    /// Address and credentials of the NATS server.
    #[command(flatten)]
    pub nats: bus::NatsArgs,

    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands of the reporter.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Draw a picture of a model, or of candles, as PNG or SVG
    Plot(plot::PlotArgs),
    /// Write a report on a model as one HTML file
    Report(report::ReportArgs),
    /// Print the newest rows of every table, with the last price
    Tables(tables::TablesArgs),
    /// Write the figures of a run as JSON: holdout scores and record counts
    Metrics(summary::MetricsArgs),
    /// Print live messages, one line each; needs no password
    Watch(watch::WatchArgs),
    /// Serve a web page: live price, tables, the plot, health
    Run(web::PageArgs),
    /// Ask a running reporter whether it is ready; exit code 1 if it is not
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

/// Runs the program. Its code is compiled here, and not once more with main.rs.
pub fn main() -> std::process::ExitCode {
    service::main(run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}

/// Runs a command until it is done or shutdown is requested.
///
/// # Errors
/// The error of the command. It says what to do and carries its exit code.
async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    match args.command {
        Command::Plot(plot) => plot::run(&plot),
        Command::Report(report) => report::run(&report),
        Command::Tables(tables) => unless_told(&shutdown, tables::run(&tables, &args.nats)).await,
        Command::Metrics(metrics) => unless_told(&shutdown, summary::run(&metrics, &args.nats)).await,
        Command::Watch(watch) => watch::run(&watch, &args.nats, &shutdown).await,
        Command::Run(web) => web::run(&web, &args.nats, &shutdown).await,
        Command::Health(ask) => ask.ask().await,
    }
}

/// Runs a command that has nothing to clean up, and drops it on shutdown.
async fn unless_told(shutdown: &Shutdown, command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        done = command => done,
        () = shutdown.requested() => anyhow::bail!("interrupted"),
    }
}
