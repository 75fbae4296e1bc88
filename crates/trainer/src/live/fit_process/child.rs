//! The fit process itself: `trainer fit`, started by the service alone.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use learn::prepare::LearnError;
use learn::training::{Comparison, learn_against};
use rustix::process::{Signal, getpid, kill_process};
use service::{Code, WithCode};
use store::archive::location::ArchiveLocation;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::frame::{FitRequest, FitResponse, Frame};
use crate::artifacts::Artifacts;
use crate::data::read_archive;
use crate::error::code_of;
use crate::live::error::is_fatal;
use crate::live::model::load_model;

/// The first argument of a fit process. It is no command for people, so `--help` does not show it.
pub(super) const ARGUMENT: &str = "fit";

/// Whether this process is a fit process, which only calls [`run_fit_subprocess`].
pub fn is_fit_subprocess() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Reads a request from standard input, fits the model, and writes the response to standard output. It reads no `.env`:
/// the settings of the service are in the request and in the environment.
#[allow(clippy::print_stderr)]
pub fn run_fit_subprocess() -> ExitCode {
    // Lists of processes show this name. The fit works without it too.
    rustix::thread::set_name(c"trainer-fit").ok();
    match respond() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(code_of(&error).unwrap_or(Code::Failed) as u8)
        }
    }
}

fn respond() -> anyhow::Result<()> {
    let Frame { message: request, files } = read_request().exit_code(Code::BadConfig)?;
    end_with_parent();
    // For reading an archive in a bucket.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let within = runtime.enter();
    // A supervisor that sends SIGTERM to all processes of the unit reaches the service too, which ends this process
    // when it does not need it any more.
    let _ignored = signal(SignalKind::terminate())?;
    let response = match fit(&request, files.first()) {
        Ok((comparison, artifacts)) => {
            let message = FitResponse::Trained { comparison: comparison.map(Box::new) };
            Frame { message, files: artifacts.into_contents().into() }
        }
        Err(error) => Frame { message: failure(&error), files: Vec::new() },
    };
    let mut output = io::stdout().lock();
    output.write_all(&response.encode().context("cannot encode the response")?)?;
    output.flush().context("the service does not read the response")?;
    drop(within);
    runtime.shutdown_background();
    Ok(())
}

fn read_request() -> anyhow::Result<Frame<FitRequest>> {
    let mut input = io::stdin();
    let misuse =
        "only the service starts `trainer fit`, and sends what to fit by standard input: see `trainer train --help`";
    ensure!(!input.is_terminal(), misuse);
    let mut len = [0; 8];
    input.read_exact(&mut len).context(misuse)?;
    let mut bytes = Vec::new();
    io::Read::take(&mut input, u64::from_be_bytes(len)).read_to_end(&mut bytes).context(misuse)?;
    Frame::decode(&bytes).context(misuse)
}

/// Kills this process as soon as its parent is gone: EOF on standard input means that. A signal, because no thread can
/// be interrupted inside XGBoost or a request to a bucket.
fn end_with_parent() {
    std::thread::spawn(|| {
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        kill_process(getpid(), Signal::KILL).unwrap_or_else(|_| std::process::abort())
    });
}

fn fit(request: &FitRequest, incumbent: Option<&Vec<u8>>) -> anyhow::Result<(Option<Comparison>, Artifacts)> {
    let started = Instant::now();
    let archive = request.archive.parse::<ArchiveLocation>()?.archive()?;
    let instrument = &request.config.instrument;
    let incumbent = incumbent.map(|content| load_model(content, instrument)).transpose()?;
    let data = read_archive(&archive, instrument, request.through)?;
    let learned = learn_against(&data.ticks, data.range, &request.config, incumbent.as_ref(), |_| ())?;
    let learned = learned.timed(started.elapsed());
    Ok((learned.comparison, Artifacts::new(&learned)?))
}

fn failure(error: &anyhow::Error) -> FitResponse {
    let why = format!("{error:#}");
    if is_of_the_data(error) {
        return FitResponse::NoModel { why };
    }
    let code = code_of(error).unwrap_or(Code::Failed);
    FitResponse::Failed { why, exit_code: code as u8, is_fatal: is_fatal(error) }
}

/// Whether only other data, or other flags, would give a model.
fn is_of_the_data(error: &anyhow::Error) -> bool {
    let of_learning = error.downcast_ref::<LearnError>();
    code_of(error) == Some(Code::NotEnoughData)
        || of_learning.is_some_and(|error| !matches!(error, LearnError::Booster(_)))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use learn::booster::BoosterError;
    use market::Instrument;

    use super::*;
    use crate::live::fit_process::frame::failed;

    /// Only a learner that refuses ends the service: other data may give a model, and a bucket may answer later.
    #[test]
    fn only_a_learner_that_refuses_is_fatal() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let few = LearnError::TooFewRows { instrument, rows: 3, interval: "1h".to_owned(), why: String::new() };
        assert!(matches!(failure(&few.into()), FitResponse::NoModel { why } if why.contains("3 rows of 1h")));
        let refused = LearnError::Booster(BoosterError::Refused("no".to_owned()));
        let FitResponse::Failed { why, exit_code, is_fatal: true } = failure(&refused.into()) else { panic!("fatal") };
        assert!(is_fatal(&failed(why, exit_code, true)));
        let away = failure(&anyhow!("the bucket is away"));
        let FitResponse::Failed { why, exit_code, is_fatal: false } = away else { panic!("not fatal") };
        assert!(!is_fatal(&failed(why, exit_code, false)));
    }
}
