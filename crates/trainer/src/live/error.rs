//! Errors of trainings: which of them are fatal, and which are tried again.

use std::process::ExitStatus;

use bus::error::Disposition;
use learn::booster::BoosterError;
use learn::prepare::LearnError;
use service::Code;

use crate::error::code_of;

/// Advice for a model in use that cannot be read.
pub(super) const REBUILD_ADVICE: &str = "run `topology rebuild forecast`, and the trainer learns anew";

/// A fit that failed for a reason that neither time nor another attempt changes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct PermanentFitError(pub(super) String);

/// The fit process ended without a response: it panicked or was killed, perhaps for lack of memory, or its library was
/// being replaced at that moment.
#[derive(Debug, thiserror::Error)]
#[error("the process that was to fit a model ended before it was done ({0})")]
pub(super) struct FitProcessDied(pub(super) ExitStatus);

/// Whether neither time nor another attempt can resolve an error: a setting, a permission, a damaged model, a learner
/// that refuses.
pub(super) fn is_fatal(error: &anyhow::Error) -> bool {
    let of_bus = error.downcast_ref::<bus::Error>().is_some_and(|error| error.disposition() == Disposition::Stop);
    let is_permanent = error.is::<PermanentFitError>() || error.is::<LearnError>() || error.is::<BoosterError>();
    of_bus || is_permanent || matches!(code_of(error), Some(Code::Server | Code::BadConfig))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_fit_process_without_a_response_is_tried_again() {
        // Exit codes of its own, of a panic and of a missing library; a signal.
        for raw in [2 << 8, 3 << 8, 101 << 8, 127 << 8, 9] {
            assert!(!is_fatal(&FitProcessDied(ExitStatus::from_raw(raw)).into()), "{raw}");
        }
    }
}
