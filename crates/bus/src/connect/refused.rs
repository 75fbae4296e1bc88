//! Classifies failed attempts to connect, with advice for the operator.

use std::error::Error as StdError;
use std::io;

use async_nats::rustls::{self, AlertDescription, CertificateError};
use async_nats::{ConnectError, ConnectErrorKind, ServerError};

use super::identity::Identity;
use crate::error::Error;

/// The error of a failed attempt. Only [`Error::NoServer`] is worth another attempt.
pub(super) fn error_of(error: &ConnectError, url: &str, identity: &Identity) -> Error {
    let url = url.to_owned();
    let is_refused =
        matches!(error.kind(), ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication);
    if is_refused || find::<ServerError>(error).is_some_and(is_login_refused) {
        let (who, advice) = identity.refusal();
        return Error::Authentication { url, who, advice };
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return Error::Tls { url, detail: explain(tls, identity.has_certificate()) };
    }
    if error.kind() == ConnectErrorKind::Tls {
        return Error::Tls { url, detail: root_cause(error) };
    }
    Error::NoServer { url, detail: root_cause(error) }
}

/// Whether the server refuses a login that it knows: expired or revoked.
fn is_login_refused(error: &ServerError) -> bool {
    let ServerError::Other(words) = error else { return false };
    let words = words.to_lowercase();
    ["authentication expired", "authentication revoked"].iter().any(|refusal| words.contains(refusal))
}

fn explain(error: &rustls::Error, has_certificate: bool) -> String {
    match error {
        // A bad signature means a certificate with the name of a trusted CA, signed by another key.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server certificate is not signed by a trusted CA; pass the CA with --tls-ca (NATS_TLS_CA)".to_owned()
        }
        rustls::Error::InvalidCertificate(_) => {
            format!("{error}: give the server a certificate that is valid for this address and time")
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::HandshakeFailure,
        ) if !has_certificate => {
            "the server asks for a client certificate: pass --tls-cert and --tls-key (NATS_TLS_CERT, NATS_TLS_KEY)"
                .to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!(
                "the server refuses the client certificate ({alert:?}): pass one that its CA has signed with --tls-cert"
            )
        }
        rustls::Error::InvalidMessage(_) => {
            "the server does not use TLS: start it with deploy/nats/tls.conf, or connect to nats:// without any --tls-…"
                .to_owned()
        }
        other => other.to_string(),
    }
}

/// The first error of a type in a chain. An I/O error does not list the error that it wraps among its sources.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error.downcast_ref().or_else(|| wrapped.and_then(|wrapped| wrapped.downcast_ref()));
        if found.is_some() {
            return found;
        }
        cause = error.source();
    }
    None
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
