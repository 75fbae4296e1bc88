//! Fits a model in a child process: this program, started as `trainer fit`.
//!
//! A fit needs many times the memory that the service needs otherwise. An allocator gives back part of it, the end of a
//! process all of it. And a fit that crashes, or is killed for lack of memory, does not end the service.
//!
//! The service writes a request to the process's standard input and keeps that open, so the process sees an EOF when
//! the service ends, and ends too. The response comes back by standard output. A process that ends without a response
//! is started again, after pauses that grow; only a response can end the service. Requests and responses go through
//! pipes rather than files: a service in a container may have no folder to write to, and a killed service leaves no
//! file behind.

pub(crate) mod child;
pub(super) mod frame;

use std::process::Stdio;

use anyhow::{Context, anyhow};
use learn::training::Comparison;
use store::model_card::ModelCard;
use store::paths::{MODEL, MODEL_CARD, MODEL_FILES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use self::frame::{FitRequest, FitResponse, Frame, failed};
use super::error::FitProcessDied;
use super::model::TrainedModel;
use crate::artifacts::Artifacts;

/// The running program, also when another version has been installed in its place since.
const OWN_PROGRAM: &str = "/proc/self/exe";
const OWN_NAME: &str = "trainer";

/// Let the threads of a fit sleep after a short spin while they wait for each other. The environment overrules these
/// variables with [`WAIT_POLICY`]. OpenMP reads them when the library is loaded, so only a new process gets them.
///
/// By default threads spin, and a tree is a few hundred such waits: on busy cores a thread spins for as long as the one
/// that it waits for is not scheduled. Threads that sleep at once cost a wake-up of an idle core at each wait. So they
/// spin for some microseconds, which is long enough when both have a core, and then sleep. docs/decisions/0009 has the
/// figures.
const OPENMP_VARIABLES: [(&str, &str); 2] = [(WAIT_POLICY, "passive"), ("GOMP_SPINCOUNT", "1000")];
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

/// A model as a fit process returned it.
pub(super) struct FittedModel {
    pub(super) card: ModelCard,
    pub(super) artifacts: Artifacts,
    pub(super) trained: TrainedModel,
}

/// Fits a model in a child process. The inner `Err` says why the data give no model. Dropping the future kills the
/// process.
///
/// # Errors
/// The archive cannot be read, the learner refuses, or the process ends without a response.
pub(super) async fn spawn_fit(
    request: FitRequest,
    incumbent: Option<Vec<u8>>,
) -> anyhow::Result<Result<FittedModel, String>> {
    let request = Frame { message: request, files: incumbent.into_iter().collect() }.encode()?;
    let mut process = command().spawn().context("cannot start a process to fit a model in")?;
    let response = exchange(&mut process, &request).await?;
    let ended = process.wait().await?;
    if !ended.success() || response.is_empty() {
        return Err(FitProcessDied(ended).into());
    }
    let Frame { message, files } = Frame::decode(&response)?;
    match message {
        FitResponse::Trained { comparison } => fitted(comparison.map(|comparison| *comparison), files).map(Ok),
        FitResponse::NoModel { why } => Ok(Err(why)),
        FitResponse::Failed { why, exit_code, is_fatal } => Err(failed(why, exit_code, is_fatal)),
    }
}

fn command() -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    // In a process group of its own: a Ctrl-C in a terminal is for the service.
    command.arg0(OWN_NAME).arg(child::ARGUMENT).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if std::env::var_os(WAIT_POLICY).is_none() {
        command.envs(OPENMP_VARIABLES);
    }
    command
}

/// Sends the request and reads the response, which is empty when there is none.
async fn exchange(process: &mut Child, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (mut input, output) = (process.stdin.take().context("no standard input")?, process.stdout.take());
    let sent = async {
        input.write_u64(request.len() as u64).await?;
        input.write_all(request).await
    };
    // The exit status of a process that has ended already says more than this error.
    drop(sent.await);
    let mut response = Vec::new();
    output.context("no standard output")?.read_to_end(&mut response).await?;
    Ok(response)
}

fn fitted(comparison: Option<Comparison>, files: Vec<Vec<u8>>) -> anyhow::Result<FittedModel> {
    let files = <[Vec<u8>; MODEL_FILES.len()]>::try_from(files).map_err(|_| anyhow!("a model has other files"))?;
    let artifacts = Artifacts::from_contents(files);
    let card: ModelCard = serde_json::from_slice(artifacts.content(MODEL_CARD))?;
    let trained = TrainedModel::new(&card, artifacts.content(MODEL), comparison)?;
    Ok(FittedModel { card, artifacts, trained })
}
