//! The trainer: keeps every accepted tick as Parquet, learns from them, and says honestly how good the model is.
//!
//! The learning core is the crate `learn`; this crate feeds it. Start reading at [`train`], the one-shot command, then
//! [`service`](mod@service), the long-running one; both read the archive that [`archive`] brings up to date.

#![warn(missing_docs)]

use ::service::{Code, Shutdown, WithCode};
use bus::Connection;
use learn::booster;
use learn::training::LearnError;
use store::archive::ArchiveError;
use store::archive::storage::StorageError;
use store::bucket::BucketErrorKind;

mod archive_service;
pub mod archive_writer;
pub mod args;
pub mod artifacts;
pub mod check;
pub mod data;
pub mod evaluate;
pub mod input;
pub mod live;
mod output;
mod patience;
mod prices;
pub mod progress;
mod score_tables;
pub mod service;
pub mod train;
pub mod upload;

pub use args::Args;
use args::Command;
pub use live::fit_process::{fit_as_told, is_told_to_fit};
pub use patience::be_patient;

/// The exit code of the first error of ours in a chain, for [`::service::main`].
pub fn exit_code(error: &anyhow::Error) -> Option<Code> {
    let of_cause = |cause: &(dyn std::error::Error + 'static)| {
        let of_archive = cause.downcast_ref::<ArchiveError>().map(code_of_archive);
        let of_learning = cause.downcast_ref::<LearnError>().map(|error| match error {
            LearnError::TooFewRows { .. } | LearnError::Constant { .. } => Code::NotEnoughData,
            LearnError::TooCoarse { .. } | LearnError::Dataset(_) => Code::BadConfig,
            LearnError::Booster(_) => Code::Failed,
        });
        of_archive.or(of_learning)
    };
    error.chain().find_map(of_cause).or_else(|| bus::exit_code(error))
}

fn code_of_archive(error: &ArchiveError) -> Code {
    match error {
        ArchiveError::OtherSource { .. } => Code::Server,
        ArchiveError::Storage(StorageError::Bucket(error)) => match error.kind() {
            BucketErrorKind::WrongKey | BucketErrorKind::Denied => Code::Server,
            BucketErrorKind::NoBucket | BucketErrorKind::WrongRegion => Code::BadConfig,
            BucketErrorKind::Unreachable | BucketErrorKind::Other => Code::Failed,
        },
        ArchiveError::Overtaken { .. } => Code::Failed,
        ArchiveError::Storage(StorageError::Io { .. } | StorageError::Locked(_))
        | ArchiveError::Catalog { .. }
        | ArchiveError::Damaged { .. }
        | ArchiveError::Gone { .. } => Code::BadConfig,
    }
}

/// The exit code that an error of ours ends the program with.
pub(crate) fn code_of(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<::service::Coded>().map(::service::Coded::code).or_else(|| exit_code(error))
}

/// Runs a command of the trainer.
///
/// # Errors
/// What ends it before it is done, with its exit code.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let told = shutdown.clone();
    tokio::spawn(async move {
        told.requested().await;
        booster::interrupt();
    });
    match args.command {
        Command::Archive(archive) => {
            let connection = Connection::open(&args.nats, Some("trainer")).await?;
            let archived = archive_writer::bring_up_to_date(&connection, &archive.open()?).await?;
            output::print_archived(&archived, &archive.archive);
            Ok(())
        }
        Command::Train(train) => tokio::select! {
            done = train::train(train, &args.nats) => done,
            // A fit cannot be interrupted, but nobody has to wait for it.
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
