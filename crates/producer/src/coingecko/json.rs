//! Lazy parsing of untrusted JSON: a field is parsed only when its value is needed, and a value of an unexpected type
//! counts as absent.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Parses a field; `None` if it has another type.
pub(crate) fn field<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// Parses the fields of an object. It refuses a list, which serde would accept for a struct by the order of its fields.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}
