//! Result of a slow case.

/// Result of a case.
#[derive(Debug)]
pub(super) enum Ending {
    Good(String),
    Bad(String),
    /// The machine or the user does not allow the case.
    NotPossible(String),
}
