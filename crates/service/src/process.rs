//! Entry point of every binary: settings, logging, runtime, signals, drain and exit code.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Code, Coded, WithCode};
use crate::settings::{self, EnvFile, Settings};
use crate::shutdown::Shutdown;
use crate::telemetry::ProcessArgs;

/// How long a process may drain after the first signal. Blocking work included, it ends within 5 seconds.
const DRAIN: Duration = Duration::from_secs(4);
/// How long blocking work may take to end after the drain: a fit ends with its current round.
const BLOCKING_MAX: Duration = Duration::from_secs(1);

/// The command line of a binary.
pub trait Program: clap::Parser {
    /// Returns the flags that every binary has.
    fn process(&self) -> &ProcessArgs;

    /// Whether the command runs until stopped. Services log life events; one-shot commands only warn.
    fn is_service(&self) -> bool;
}

/// Runs a binary and returns its exit code.
///
/// Reads `.env` and the command line, refuses unknown settings, starts logging and the runtime, and runs until done or
/// stopped by SIGTERM or SIGINT. A stop drains within 5 seconds; a second signal ends at once. An error is printed as
/// one line. `code_of` maps errors of other crates to exit codes; `settings` lists the names that the environment may
/// set, in the form of [`Settings::parse`].
pub fn main<P: Program, R: Future<Output = anyhow::Result<()>>>(
    run: impl FnOnce(P, Shutdown) -> R,
    code_of: fn(&anyhow::Error) -> Option<Code>,
    settings: &'static str,
) -> ExitCode {
    match start(run, &Settings::parse(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            let code = error.downcast_ref::<Coded>().map(Coded::code).or_else(|| code_of(&error));
            ExitCode::from(code.unwrap_or(Code::Failed) as u8)
        }
    }
}

fn start<P: Program, R: Future<Output = anyhow::Result<()>>>(
    run: impl FnOnce(P, Shutdown) -> R,
    settings: &Settings,
) -> anyhow::Result<()> {
    let file = EnvFile::read(Path::new(".env")).exit_code(Code::BadConfig)?;
    let mut command = P::command();
    let matches = command.get_matches_mut();
    settings::check_names(settings, std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
        .exit_code(Code::BadConfig)?;
    let program = P::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    if program.process().print_config {
        settings::print(settings, &command, &matches, &file);
        return Ok(());
    }
    program.process().start(program.is_service()).exit_code(Code::BadConfig)?;
    tracing::debug!(version = env!("CARGO_PKG_VERSION"), "starting");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(until_stopped(|shutdown| run(program, shutdown)));
    // Running blocking work (a fit, a file) must not hold up the process for long after the drain.
    runtime.shutdown_timeout(BLOCKING_MAX);
    result
}

async fn until_stopped<R: Future<Output = anyhow::Result<()>>>(run: impl FnOnce(Shutdown) -> R) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = Shutdown::new();
    let mut work = std::pin::pin!(run(shutdown.clone()));
    tokio::select! {
        done = &mut work => return done,
        () = signaled(&mut terminate, &mut interrupt) => {}
    }
    tracing::info!("stopping");
    shutdown.request();
    tokio::select! {
        done = &mut work => done,
        () = tokio::time::sleep(DRAIN) => {
            anyhow::bail!("did not stop within {} s; uncommitted work is repeated at the next start", DRAIN.as_secs())
        }
        () = signaled(&mut terminate, &mut interrupt) => anyhow::bail!("stopped at once by a second signal"),
    }
}

async fn signaled(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Writes an error for people: one line with the whole chain. No other place of a binary does.
#[allow(clippy::print_stderr)]
fn print_error(error: &anyhow::Error) {
    eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
}
