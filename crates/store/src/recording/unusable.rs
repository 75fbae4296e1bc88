//! Error of a file that cannot be used as a recording.

/// Error of a file that cannot be read, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct UnusableFile {
    /// The file, with the line if there is one.
    pub(crate) place: String,
    pub(crate) problem: String,
    /// Whether a second header is the cause.
    pub(crate) is_header: bool,
    /// Whether rows with different values at one time are the cause.
    pub(crate) is_conflict: bool,
}

impl UnusableFile {
    /// Returns the error of a file, or of a line of it.
    pub(crate) fn new(place: String, problem: String) -> Self {
        Self { place, problem, is_header: false, is_conflict: false }
    }

    /// Appends more text to the problem.
    pub(crate) fn and(self, more: &str) -> Self {
        Self { problem: format!("{}; {more}", self.problem), ..self }
    }
}
