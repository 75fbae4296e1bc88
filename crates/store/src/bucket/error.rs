//! Why S3 did not do what it was asked, and what to do about it.

use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStreamError;

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketErrorKind {
    /// The key is unknown, its secret is another, or it has expired.
    WrongKey,
    /// There is no such bucket.
    NoBucket,
    /// The key may not do this.
    Denied,
    /// The bucket is in another region.
    WrongRegion,
    /// No answer in time, or none that helps: waiting may.
    Unreachable,
    /// Something else, in the server's words.
    Other,
}

/// Why S3 did not do what it was asked.
#[derive(Debug, Clone)]
pub struct BucketError {
    kind: BucketErrorKind,
    bucket: String,
    key: String,
    endpoint: String,
    /// The server's or the network's words.
    words: String,
}

impl std::error::Error for BucketError {}

impl BucketError {
    /// What kind of trouble it is.
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
                write!(f, "S3 at {endpoint} has no bucket {bucket}: create it, or name another one")
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
    /// What to make of an error of the SDK.
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

    /// What to make of an answer that broke off.
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

/// By the code of the server's answer; an answer to a HEAD has none, only a status.
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

/// Causes of the SDK come with the debug form of them all behind; people need the first part.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().split(" (").next().unwrap_or_default().to_owned()
}
