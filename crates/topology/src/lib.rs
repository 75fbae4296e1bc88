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
use args::{Command, ServerCommand};
use commands::{export, plan, show, wait};

/// Runs the program. Its code is compiled here, and not once more with main.rs.
pub fn main() -> std::process::ExitCode {
    service::main(run, bus::exit_code, include_str!("../../../deploy/settings.txt"))
}

/// Runs one command.
///
/// # Errors
/// The reason why the command ended early, with its exit code.
async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let command = match args.command {
        Command::Export(args) => return export::export(&args),
        Command::OnServer(ServerCommand::Restore(args)) if !args.needs_server() => {
            return commands::backup::check(&args);
        }
        Command::OnServer(command) => command,
    };
    let connection = bus::Connection::open(&args.nats, Some("admin")).await?;
    match command {
        ServerCommand::Plan(limits) => plan::plan(&connection, &limits).await,
        ServerCommand::Apply(limits) => plan::apply(&connection, &limits).await,
        ServerCommand::Show(args) => show::show(&connection, &args).await,
        ServerCommand::Wait(args) => wait::wait(&connection, &args, &shutdown).await,
        ServerCommand::Trim(args) => commands::trim::trim(&connection, &args).await,
        ServerCommand::Rebuild(args) => commands::rebuild::rebuild(&connection, &args).await,
        ServerCommand::Backup(args) => commands::backup::backup(&connection, &args, &shutdown).await,
        ServerCommand::Restore(args) => commands::backup::restore(&connection, &args, &shutdown).await,
    }
}
