//! Lazy parsing of untrusted JSON: a field is parsed only when its value is needed, and a value of an unexpected type
//! counts as absent.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Reason why a body is not the answer that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is not JSON.
    NoJson,
    /// It is JSON of another form, described in a few words.
    Form(Cow<'static, str>),
}

/// Parses a field; `None` if it has another type.
pub(crate) fn field<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// Parses the fields of an object. It refuses a list, which serde would accept for a struct by the order of its fields.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

/// Describes a body that is not an object with the expected fields.
pub(crate) fn misfit(body: &str, expected: &'static str) -> Misfit {
    let is_json = serde_json::from_str::<IgnoredAny>(body).is_ok();
    if is_json { Misfit::Form(expected.into()) } else { Misfit::NoJson }
}
