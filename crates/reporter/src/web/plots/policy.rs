//! Content security policies of plots and reports. A document may have its own style and its own font, and nothing else:
//! the policy names the digest of the style.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::cache::FileName;
use crate::{plot, report};

/// Returns the policy of a file.
pub(super) fn of(name: FileName) -> HeaderValue {
    static PLOT: LazyLock<HeaderValue> = LazyLock::new(|| with_style(plot::style()));
    static REPORT: LazyLock<HeaderValue> = LazyLock::new(|| with_style(report::style()));
    match name {
        FileName::Plot(..) | FileName::Narrow(_) => PLOT.clone(),
        FileName::Report => REPORT.clone(),
    }
}

/// Returns the policy of an answer that loads nothing.
pub(super) fn nothing() -> HeaderValue {
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")
}

fn with_style(style: &str) -> HeaderValue {
    let digest = BASE64.encode(&Sha256::digest(style));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("a policy is visible ASCII")
}
