//! The result of a check.

use serde::Serialize;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The statement that was checked.
    pub check: String,
    /// Whether the statement holds.
    pub ok: bool,
    /// The figures behind it.
    pub detail: String,
}
