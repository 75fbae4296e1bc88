//! Errors of an S3 server, with advice.

use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStreamError;

/// Class of an S3 error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketErrorKind {
    /// The key is unknown, its secret does not match, or it has expired.
    WrongKey,
    /// The bucket does not exist.
    NoBucket,
    /// The key has no permission for the request.
    Denied,
    /// The bucket is in another region.
    WrongRegion,
    /// No answer in time, or a server error: retrying may help.
    Unreachable,
    /// Any other error.
    Other,
}

/// A failed request to an S3 server.
#[derive(Debug, Clone)]
pub struct BucketError {
    kind: BucketErrorKind,
    bucket: String,
    key: String,
    endpoint: String,
    /// Message of the server or of the network layer.
    words: String,
}

impl std::error::Error for BucketError {}

impl BucketError {
    /// Returns the class of the error.
    pub fn kind(&self) -> BucketErrorKind {
        self.kind
    }
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, bucket, key, endpoint, words } = self;
        match kind {
            BucketErrorKind::WrongKey => write!(
                f,
                "S3 at {endpoint} does not accept the key ({words}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, \
                 if it is set, AWS_SESSION_TOKEN"
            ),
            BucketErrorKind::NoBucket => {
                write!(f, "S3 at {endpoint} has no bucket {bucket}: create it, or choose another one")
            }
            BucketErrorKind::Denied => write!(
                f,
                "s3://{bucket}/{key} is denied ({words}): allow this key to get, put and delete objects, to list the \
                 bucket and to abort uploads"
            ),
            BucketErrorKind::WrongRegion => {
                write!(f, "the bucket {bucket} is in another region ({words}): set AWS_DEFAULT_REGION")
            }
            BucketErrorKind::Unreachable => write!(
                f,
                "S3 at {endpoint} cannot be reached or does not answer ({words}): check that it runs, the network and \
                 AWS_ENDPOINT_URL"
            ),
            BucketErrorKind::Other => write!(f, "S3 at {endpoint} failed at s3://{bucket}/{key}: {words}"),
        }
    }
}

/// The bucket and the server that an error is about.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Name of the bucket.
    pub(super) bucket: String,
    /// Address of the server.
    pub(super) endpoint: String,
}

impl Target {
    /// Converts an error of the SDK.
    pub(super) fn error<E>(&self, key: &str, error: &SdkError<E, HttpResponse>) -> BucketError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let service = error.as_service_error();
        let code = service.and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let status = error.raw_response().map(|response| response.status().as_u16());
        let words = match (error, service.and_then(ProvideErrorMetadata::message)) {
            (SdkError::TimeoutError(_), _) => "no answer in time".to_owned(),
            (_, Some(message)) => format!("{code}: {message}"),
            (_, None) if !code.is_empty() => code.to_owned(),
            _ => one_line(&DisplayErrorContext(error).to_string()),
        };
        self.failure(kind_of(error, code, status), key, words)
    }

    /// Converts a failure in the middle of an answer.
    pub(super) fn broken(&self, key: &str, error: &ByteStreamError) -> BucketError {
        self.failure(BucketErrorKind::Unreachable, key, one_line(&DisplayErrorContext(error).to_string()))
    }

    pub(super) fn failure(&self, kind: BucketErrorKind, key: &str, words: impl Into<String>) -> BucketError {
        BucketError {
            kind,
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            endpoint: self.endpoint.clone(),
            words: words.into(),
        }
    }
}

/// Classifies an error by the code in the server's answer. The answer to a HEAD request has only a status.
fn kind_of<E>(error: &SdkError<E, HttpResponse>, code: &str, status: Option<u16>) -> BucketErrorKind {
    match code {
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired" => {
            return BucketErrorKind::WrongKey;
        }
        "NoSuchBucket" => return BucketErrorKind::NoBucket,
        "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => {
            return BucketErrorKind::WrongRegion;
        }
        _ => {}
    }
    match (error, status) {
        (SdkError::ConstructionFailure(_), _) => BucketErrorKind::Other,
        (_, Some(401 | 403)) => BucketErrorKind::Denied,
        (_, Some(301)) => BucketErrorKind::WrongRegion,
        (_, Some(400..=499)) => BucketErrorKind::Other,
        _ => BucketErrorKind::Unreachable,
    }
}

/// Returns the first part of an SDK error. The rest is the debug form of all its causes.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().split(" (").next().unwrap_or_default().to_owned()
}
