//! The error of a recording that cannot be used.

/// Why a file cannot be read at all, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Unusable {
    /// The file, with the line if it came to that.
    pub(crate) place: String,
    pub(crate) problem: String,
    /// Whether another header is what ends it.
    pub(crate) is_header: bool,
    /// Whether two rows that say different things are what is wrong.
    pub(crate) is_conflict: bool,
}

impl Unusable {
    /// What is wrong with a file, or at a line of it.
    pub(crate) fn new(place: String, problem: String) -> Self {
        Self { place, problem, is_header: false, is_conflict: false }
    }

    /// The same, with more to say.
    pub(crate) fn and(self, more: &str) -> Self {
        Self { problem: format!("{}; {more}", self.problem), ..self }
    }
}
