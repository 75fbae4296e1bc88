//! An error of the module that answers questions, as an HTTP answer: all routes refuse in this form.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};

use crate::query::error::{ErrorAnswer, ErrorCode, QueryError};

/// A refused request.
pub(super) struct Refused(pub(super) QueryError);

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::BadRequest | ErrorCode::TooLarge => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(ErrorAnswer { error: self.0 })).into_response()
    }
}
