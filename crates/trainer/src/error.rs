//! Errors of the trainer: their exit codes, and which of them waiting can resolve.

use learn::prepare::LearnError;
use service::{Code, Coded};
use store::archive::ArchiveError;
use store::archive::storage::StorageError;
use store::bucket::BucketErrorKind;

/// Returns the exit code of the first error of candlewire in a chain, for [`service::main`].
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

/// Returns the exit code with which an error ends the program.
pub(crate) fn code_of(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<Coded>().map(Coded::code).or_else(|| exit_code(error))
}

/// Whether the archive is being written by a running service.
pub(crate) fn is_locked(error: &anyhow::Error) -> bool {
    is_of_archive(error, ArchiveError::is_locked)
}

/// Whether the archive is in a bucket that cannot be reached now.
pub(crate) fn is_outage(error: &anyhow::Error) -> bool {
    is_of_archive(error, ArchiveError::is_outage)
}

/// Whether writing to the archive can go on later, with nothing changed but room or a way to its bucket.
pub(crate) fn can_wait(error: &anyhow::Error) -> bool {
    is_of_archive(error, |error| error.is_outage() || error.is_full())
}

fn is_of_archive(error: &anyhow::Error, is: fn(&ArchiveError) -> bool) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is))
}
