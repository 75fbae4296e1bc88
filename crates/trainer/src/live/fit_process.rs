//! A fit in a process of its own, which is this program called as `trainer fit`.
//!
//! Its rows and XGBoost take many times what the service needs otherwise. An allocator gives back some of that, the end of a
//! process all of it. And a fit that crashes, or is killed for want of memory, takes nothing with it.
//!
//! The service writes an order to the process's standard input and keeps that open: when it ends, however it does, the
//! process finds out and ends too. What became of the fit comes back by standard output. Only that can end the service:
//! a process that dies, by a signal or a panic, is tried again, after pauses that grow.

use std::io::{self, IsTerminal, Read, Write};
use std::process::{ExitCode, ExitStatus, Stdio};

use anyhow::{Context, anyhow, ensure};
use learn::forecaster::Forecaster;
use learn::training::{Duel, LearnConfig, LearnError, learn_against};
use market::Instrument;
use rustix::process::{Signal, getpid, kill_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service::{Code, Coded, WithCode};
use store::archive::Through;
use store::archive::location::ArchiveLocation;
use store::model_card::ModelCard;
use store::paths::{MODEL, MODEL_CARD, MODEL_FILES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::trainings::{LIVE_THREADS, Trained, is_fatal, trained};
use crate::artifacts::Artifacts;
use crate::data::read_archive;

/// This very program, whatever has been installed in its place since it started.
const OWN_PROGRAM: &str = "/proc/self/exe";
const OWN_NAME: &str = "trainer";
/// What the program is told to be such a process; no command for people.
const ARGUMENT: &str = "fit";
/// What helps when the model in use cannot be read.
pub(super) const REBUILD: &str = "run `topology rebuild forecast`, and the trainer learns anew";

/// What is to be fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    /// The archive's place, as it is typed.
    pub(super) place: String,
    /// What to learn, of whom, and how.
    pub(super) config: LearnConfig,
    /// Nothing later.
    pub(super) through: Through,
}

/// What a fit leaves behind.
pub(super) struct Made {
    pub(super) card: ModelCard,
    pub(super) artifacts: Artifacts,
    pub(super) trained: Trained,
}

/// What became of a fit, beside the files of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Answer {
    /// A model.
    Made { duel: Option<Box<Duel>> },
    /// None, because of the data: the same data would give the same answer.
    Nothing { why: String },
    /// None, because something went wrong.
    Failed { why: String, exit_code: u8, is_fatal: bool },
}

/// Neither time nor another try can mend a fit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

/// The process ended without an answer: it panicked or was killed, for want of memory perhaps, or its library was just being
/// replaced.
#[derive(Debug, thiserror::Error)]
#[error("the process that was to fit a model ended before it was done ({0})")]
pub(super) struct Died(pub(super) ExitStatus);

/// A text and files, as they go through a pipe.
type Parcel = (String, Vec<Vec<u8>>);

// ---- In the service ---------------------------------------------------------------------------------------------------

/// Fits a model in a process of its own; `Err` within says why the data give none. The process ends with whoever waits.
///
/// # Errors
/// The archive cannot be read, the learner refuses, or the process ends before it is done.
pub(super) async fn fit_apart(order: &Order, rival: Option<Vec<u8>>) -> anyhow::Result<Result<Made, String>> {
    let order = pack(order, rival.into_iter().collect())?;
    let mut process = Command::new(OWN_PROGRAM);
    // What a terminal sends to the service is for the service.
    process.arg0(OWN_NAME).arg(ARGUMENT).process_group(0).kill_on_drop(true);
    process.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = process.spawn().context("cannot start a process to fit a model in")?;
    let answer = exchange(&mut process, &order).await?;
    let ended = process.wait().await?;
    if !ended.success() || answer.is_empty() {
        return Err(Died(ended).into());
    }
    match unpack(&answer)? {
        (Answer::Made { duel }, files) => made(duel.map(|duel| *duel), files).map(Ok),
        (Answer::Nothing { why }, _) => Ok(Err(why)),
        (Answer::Failed { why, exit_code, is_fatal }, _) => Err(failed(why, exit_code, is_fatal)),
    }
}

/// Hands over the order, and takes the answer, which is empty when there is none.
async fn exchange(process: &mut Child, order: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (mut input, output) = (process.stdin.take().context("no way in")?, process.stdout.take());
    // One that has ended already says by its end why.
    let handed_over = async {
        input.write_u64(order.len() as u64).await?;
        input.write_all(order).await
    };
    drop(handed_over.await);
    let mut answer = Vec::new();
    output.context("no way out")?.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn made(duel: Option<Duel>, files: Vec<Vec<u8>>) -> anyhow::Result<Made> {
    let files = <[Vec<u8>; MODEL_FILES.len()]>::try_from(files).map_err(|_| anyhow!("a model has other files"))?;
    let artifacts = Artifacts::from_contents(files);
    let card: ModelCard = serde_json::from_slice(artifacts.content(MODEL_CARD))?;
    let trained = trained(&card, artifacts.content(MODEL), duel)?;
    Ok(Made { card, artifacts, trained })
}

fn failed(why: String, exit_code: u8, is_fatal: bool) -> anyhow::Error {
    let error = if is_fatal { Broken(why).into() } else { anyhow!(why) };
    match [Code::BadConfig, Code::Server].into_iter().find(|code| *code as u8 == exit_code) {
        Some(code) => Coded::new(code, error).into(),
        None => error,
    }
}

// ---- In the process of its own ----------------------------------------------------------------------------------------

/// Whether this is such a process, which has nothing to do but [`fit_as_told`].
pub fn is_told_to_fit() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Takes an order from standard input, and answers to standard output. It reads no setting anew: what the service was told
/// counts, and the environment has it.
#[allow(clippy::print_stderr)]
pub fn fit_as_told() -> ExitCode {
    // In lists of processes it is told from the service; without that it works as well.
    rustix::thread::set_name(c"trainer-fit").ok();
    match carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(crate::code_of(&error).unwrap_or(Code::Failed) as u8)
        }
    }
}

fn carry_out() -> anyhow::Result<()> {
    let (order, rival) = take_order().exit_code(Code::BadConfig)?;
    // Whoever has ordered it has ended when nothing more can come. No thread can be called out of XGBoost or a bucket.
    std::thread::spawn(|| {
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        kill_process(getpid(), Signal::KILL).unwrap_or_else(|_| std::process::abort())
    });
    // What a bucket is read with.
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let within = runtime.enter();
    // Whoever tells all processes of a unit to end tells the service too, which says when this one is not needed any more.
    let _unheard = signal(SignalKind::terminate())?;
    let answer = match fit(&order, rival.first()) {
        Ok((duel, artifacts)) => pack(&Answer::Made { duel: duel.map(Box::new) }, artifacts.into_contents().into()),
        Err(error) => pack(&refusal(&error), Vec::new()),
    };
    let mut output = io::stdout().lock();
    output.write_all(&answer.context("the answer cannot be written down")?)?;
    output.flush().context("nobody takes the answer")?;
    drop(within);
    runtime.shutdown_background();
    Ok(())
}

fn take_order() -> anyhow::Result<(Order, Vec<Vec<u8>>)> {
    let mut input = io::stdin();
    let wrong = "this is for the service alone, which says what to fit by standard input: see `trainer train --help`";
    ensure!(!input.is_terminal(), wrong);
    let mut len = [0; 8];
    input.read_exact(&mut len).context(wrong)?;
    let mut bytes = Vec::new();
    io::Read::take(&mut input, u64::from_be_bytes(len)).read_to_end(&mut bytes).context(wrong)?;
    unpack(&bytes).context(wrong)
}

fn fit(order: &Order, rival: Option<&Vec<u8>>) -> anyhow::Result<(Option<Duel>, Artifacts)> {
    let started = std::time::Instant::now();
    let archive = order.place.parse::<ArchiveLocation>()?.archive()?;
    let rival = rival.map(|rival| load(rival, &order.config.instrument)).transpose()?;
    let data = read_archive(&archive, &order.config.instrument, order.through)?;
    let learned =
        learn_against(&data.ticks, data.range, &order.config, rival.as_ref(), |_| ())?.timed(started.elapsed());
    Ok((learned.duel, Artifacts::new(&learned)?))
}

fn refusal(error: &anyhow::Error) -> Answer {
    let why = format!("{error:#}");
    if is_of_the_data(error) {
        return Answer::Nothing { why };
    }
    let code = crate::code_of(error).unwrap_or(Code::Failed);
    Answer::Failed { why, exit_code: code as u8, is_fatal: is_fatal(error) }
}

/// Whether only other data, or other flags, would give a model.
fn is_of_the_data(error: &anyhow::Error) -> bool {
    let of_learning = error.downcast_ref::<LearnError>();
    crate::code_of(error) == Some(Code::NotEnoughData)
        || of_learning.is_some_and(|error| !matches!(error, LearnError::Booster(_)))
}

// ---- In both ----------------------------------------------------------------------------------------------------------

/// The model in use, from the bytes of its file.
///
/// # Errors
/// When they are no model that can be used; the exit code is that of a server that somebody must mend.
pub(super) fn load(bytes: &[u8], instrument: &Instrument) -> anyhow::Result<Forecaster> {
    let useless = || format!("the model in use of {instrument} cannot be used: {REBUILD}");
    Forecaster::load(bytes, LIVE_THREADS).with_context(useless).exit_code(Code::Server)
}

/// Numbers as JSON, which gives back each as it was, and files as they are.
fn pack(what: &impl Serialize, files: Vec<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let parcel: Parcel = (serde_json::to_string(what)?, files);
    Ok(postcard::to_stdvec(&parcel)?)
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<(T, Vec<Vec<u8>>)> {
    let (what, files): Parcel = postcard::from_bytes(bytes)?;
    Ok((serde_json::from_str(&what)?, files))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use learn::booster::BoosterError;

    use super::*;
    use crate::args;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let flags = ["trainer", "run", "--recipe", "volatility", "--holdout", "0.3", "--learning-rate", "0.1"];
        let args::Command::Run(run) = args::Args::parse_from(flags).command else { panic!("run was asked for") };
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let config = LearnConfig { instrument, ..run.config().expect("valid") };
        let order = Order { place: "-/archive".to_owned(), config, through: Through { seq: 812, ..Through::ALL } };
        let parcel = pack(&order, vec![vec![7; 100]]).expect("packed");
        assert_eq!(unpack::<Order>(&parcel).expect("whole"), (order, vec![vec![7; 100]]));
        assert!(unpack::<Order>(&parcel[..parcel.len() - 1]).is_err());
    }

    #[test]
    fn what_data_alone_can_mend_is_no_failure_and_a_learner_that_refuses_ends_the_service() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let few = LearnError::TooFewRows { instrument, rows: 3, interval: "1h".to_owned(), why: String::new() };
        assert!(matches!(refusal(&few.into()), Answer::Nothing { why } if why.contains("3 rows of 1h")));
        let refused = LearnError::Booster(BoosterError::Refused("no".to_owned()));
        let Answer::Failed { why, exit_code, is_fatal: true } = refusal(&refused.into()) else { panic!("fatal") };
        assert!(is_fatal(&failed(why, exit_code, true)));
        let Answer::Failed { why, exit_code, is_fatal: false } = refusal(&anyhow!("the bucket is away")) else {
            panic!("not fatal")
        };
        assert!(!is_fatal(&failed(why, exit_code, false)));
    }

    #[test]
    fn however_a_process_ends_that_says_nothing_it_is_tried_again() {
        use std::os::unix::process::ExitStatusExt;

        // By its words, by a panic, without its library, by a signal.
        for raw in [2 << 8, 3 << 8, 101 << 8, 127 << 8, 9] {
            assert!(!is_fatal(&Died(ExitStatus::from_raw(raw)).into()), "{raw}");
        }
    }
}
