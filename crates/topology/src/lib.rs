//! The admin binary: plan, apply, export and show the streams, wait, trim, rebuild, back up and restore.
//!
//! It never applies input and never holds a lease. [`trim`](mod@trim) removes only messages that no step and no
//! registered reader needs; [`rebuild`](mod@rebuild) refuses while a step runs; nothing here changes a stream in a way
//! that loses data without `--yes`. Stream definitions are in [`bus::topology`]. Start reading at `commands`, which has
//! one file per command, then at [`backup`](mod@backup).

#![warn(missing_docs)]

use service::Shutdown;

mod args;
pub mod backup;
mod commands;
pub mod rebuild;
pub mod trim;

pub use args::Args;
use args::Command;
use commands::{credentials, export, plan, show, wait};

/// Runs one command.
///
/// # Errors
/// The reason why the command ended early, with its exit code.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    match &args.command {
        Command::Export(args) => return export::export(args),
        Command::Credentials(args) => return credentials::credentials(args),
        Command::Restore(args) if !args.needs_server() => return commands::backup::check(args),
        _ => {}
    }
    let connection = bus::Connection::open(&args.nats, Some("admin")).await?;
    match args.command {
        Command::Plan(limits) => plan::plan(&connection, &limits).await,
        Command::Apply(limits) => plan::apply(&connection, &limits).await,
        Command::Show(args) => show::show(&connection, &args).await,
        Command::Wait(args) => wait::wait(&connection, &args, &shutdown).await,
        Command::Trim(args) => commands::trim::trim(&connection, &args).await,
        Command::Rebuild(args) => commands::rebuild::rebuild(&connection, &args).await,
        Command::Backup(args) => commands::backup::backup(&connection, &args, &shutdown).await,
        Command::Restore(args) => commands::backup::restore(&connection, &args, &shutdown).await,
        Command::Export(args) => export::export(&args),
        Command::Credentials(args) => credentials::credentials(&args),
    }
}
