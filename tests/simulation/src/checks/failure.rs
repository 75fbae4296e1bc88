//! Violated invariants.

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The check that found it.
    pub check: &'static str,
    /// The details.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, detail: detail.into() }
    }
}

/// The result of a check.
pub(super) type Checked = Result<(), Failure>;
