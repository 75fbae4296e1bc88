//! The trainer: keeps every accepted tick as Parquet, trains models on them, forecasts, and scores models and forecasts
//! beside the naive baseline.
//!
//! It never computes features, splits or scores: that is the crate `learn`, which this crate gives ticks to and whose
//! results it stores. It never reads FEED or STATS: MARKET and its own archive are its only inputs.
//!
//! Start reading at [`train`], the one-shot command, and at [`service`](mod@service), the long-running one. Both read
//! the archive that [`archive_writer`] writes. [`live`] is the forecasting step; it fits its models in child processes.

#![warn(missing_docs)]

use ::service::{Code, Shutdown, WithCode};
use bus::Connection;
use learn::booster;

mod archive_service;
mod archive_update;
pub mod archive_writer;
pub mod args;
pub mod artifacts;
pub mod check;
pub mod cli;
pub mod data;
mod error;
pub mod evaluate;
pub mod input;
pub mod live;
mod output;
mod prices;
pub mod progress;
mod run_args;
mod score_tables;
pub mod service;
pub mod train;
pub mod upload;

pub use cli::Args;
use cli::Command;
pub use error::exit_code;
pub use live::fit_process::child::{is_fit_subprocess, run_fit_subprocess};
pub use run_args::RunArgs;

/// Runs the program. Its code is compiled here, and not once more with main.rs.
pub fn main() -> std::process::ExitCode {
    if is_fit_subprocess() {
        return run_fit_subprocess();
    }
    ::service::main(run, exit_code, include_str!("../../../deploy/settings.txt"))
}

/// Runs a command of the trainer.
///
/// # Errors
/// The command fails; the error has its exit code.
async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let requested = shutdown.clone();
    tokio::spawn(async move {
        requested.requested().await;
        booster::interrupt();
    });
    match args.command {
        Command::Archive(archive) => {
            let connection = Connection::open(&args.nats, Some("trainer")).await?;
            let update = archive_update::bring_up_to_date(&connection, &archive.open()?).await?;
            output::print_update(&update, &archive.archive);
            Ok(())
        }
        Command::Train(train) => tokio::select! {
            done = train::train(train, &args.nats) => done,
            // A fit ends with its present round; the command does not wait for it.
            () = shutdown.requested() => Err(anyhow::anyhow!("stopped before the training was done")).exit_code(Code::Failed),
        },
        Command::Check(check) => tokio::select! {
            done = check::check(check, &args.nats) => done,
            () = shutdown.requested() => Err(anyhow::anyhow!("stopped before the checks were done")).exit_code(Code::Failed),
        },
        Command::Run(run) => service::run(run, &args.nats, shutdown).await,
        Command::Evaluate(evaluate) => {
            let connection = Connection::open(&args.nats, Some("reader")).await?;
            evaluate::evaluate(&connection, &evaluate).await
        }
        Command::Health(ask) => ask.ask().await,
    }
}
