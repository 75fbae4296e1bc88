//! Errors of answers: a code for programs and a sentence that says what to do.

use bus::Error;
use schemars::JsonSchema;
use serde::Serialize;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueryError {
    /// The kind of error.
    pub code: ErrorCode,
    /// A sentence that says the fault and the remedy.
    pub message: String,
}

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The question has a mistake.
    BadRequest,
    /// There is no such instrument or route.
    NotFound,
    /// The same question may be answered later.
    Unavailable,
    /// The question asks for more than one answer holds.
    TooLarge,
}

impl QueryError {
    /// An error of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A mistake in the question.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }
}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        Self::new(ErrorCode::Unavailable, format!("cannot read what is stored: {error}; try again in some seconds"))
    }
}

/// The answer of a question that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorAnswer {
    /// The error.
    pub error: QueryError,
}
