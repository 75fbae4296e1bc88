//! Messages between the service and its fit process.

use anyhow::anyhow;
use learn::config::LearnConfig;
use learn::training::Comparison;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service::{Code, Coded};
use store::archive::Through;

use crate::live::error::PermanentFitError;

/// A request for a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::live) struct FitRequest {
    /// The archive, as the flag `--archive` names it.
    pub(in crate::live) archive: String,
    /// The instrument, and how to learn.
    pub(in crate::live) config: LearnConfig,
    /// The newest line of MARKET to learn from.
    pub(in crate::live) through: Through,
}

/// The result of a fit. The files of a model follow it in the same [`Frame`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum FitResponse {
    /// A model.
    Trained { comparison: Option<Box<Comparison>> },
    /// No model because of the data: the same data would give the same response.
    NoModel { why: String },
    /// No model because of an error.
    Failed { why: String, exit_code: u8, is_fatal: bool },
}

/// The error that [`FitResponse::Failed`] describes, with its exit code.
pub(super) fn failed(why: String, exit_code: u8, is_fatal: bool) -> anyhow::Error {
    let error = if is_fatal { PermanentFitError(why).into() } else { anyhow!(why) };
    match [Code::BadConfig, Code::Server].into_iter().find(|code| *code as u8 == exit_code) {
        Some(code) => Coded::new(code, error).into(),
        None => error,
    }
}

/// A message and files, as they go through a pipe: the message as JSON, which gives back each number as it was, and the
/// files as they are.
#[derive(Debug, PartialEq)]
pub(super) struct Frame<T> {
    pub(super) message: T,
    pub(super) files: Vec<Vec<u8>>,
}

impl<T: Serialize> Frame<T> {
    pub(super) fn encode(self) -> anyhow::Result<Vec<u8>> {
        Ok(postcard::to_stdvec(&(serde_json::to_string(&self.message)?, self.files))?)
    }
}

impl<T: DeserializeOwned> Frame<T> {
    pub(super) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let (message, files): (String, Vec<Vec<u8>>) = postcard::from_bytes(bytes)?;
        Ok(Self { message: serde_json::from_str(&message)?, files })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use market::Instrument;

    use super::*;
    use crate::cli::{Args, Command};

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let flags = ["trainer", "run", "--recipe", "volatility", "--holdout", "0.3", "--learning-rate", "0.1"];
        let Command::Run(run) = Args::parse_from(flags).command else { panic!("run was asked for") };
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let config = LearnConfig { instrument, ..run.learn_config().expect("valid") };
        let through = Through { seq: 812, ..Through::ALL };
        let message = FitRequest { archive: "-/archive".to_owned(), config, through };
        let files = vec![vec![7; 100]];
        let bytes = Frame { message: message.clone(), files: files.clone() }.encode().expect("encoded");
        assert_eq!(Frame::<FitRequest>::decode(&bytes).expect("whole"), Frame { message, files });
        assert!(Frame::<FitRequest>::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
