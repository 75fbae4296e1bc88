//! Reasons to stop following a consumer.

use crate::error::Error;

/// The caller has dropped the reader.
pub(super) struct Dropped;

/// A reason to stop following a consumer.
pub(super) enum Interruption {
    /// The caller has dropped the reader.
    Dropped,
    /// The reader must create a new consumer.
    Restart(&'static str),
    /// A request failed.
    Failed(Error),
}

impl From<Dropped> for Interruption {
    fn from(_: Dropped) -> Self {
        Self::Dropped
    }
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
