//! JSON of an untrusted source, read in place: a field takes no memory until its value is asked for, and a value of another
//! type than the one asked for counts as absent.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a field holds, if it is of this type.
pub(crate) fn field<'a, T: Deserialize<'a>>(field: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(field?.get()).ok()
}

/// The fields of an object. A struct would be read from a list as well, by its order.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}
