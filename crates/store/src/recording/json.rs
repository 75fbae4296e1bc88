//! JSON lines: one object per line, whose keys are columns.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object in the order of its keys, with values as they are written.
pub(crate) struct Object<'a>(pub(crate) Vec<(Cow<'a, str>, Cow<'a, [u8]>)>);

/// A key that is borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// Parses a line; `None` when it is no JSON object.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            entries.push((key, field(value.get())));
        }
        Ok(Object(entries))
    }
}

/// Returns a value as the field of a line: a text without its quotes, nothing for null, any other value as written.
fn field(value: &str) -> Cow<'_, [u8]> {
    if value == "null" {
        return Cow::Borrowed(b"");
    }
    let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Cow::Borrowed(value.as_bytes());
    };
    if !text.contains('\\') {
        return Cow::Borrowed(text.trim_ascii().as_bytes());
    }
    let unescaped = serde_json::from_str::<String>(value).unwrap_or_default();
    Cow::Owned(unescaped.trim_ascii().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_fields_as_they_are_written() {
        let text = br#"{"Datetime": "2024-01-01T00:00:00\u002B00:00", "Open": 8523.50, "Volume": " 12 ", "Close": null, "x": [1]}"#;
        let Object(entries) = Object::parse(text).unwrap();
        let found: Vec<_> = entries.iter().map(|(key, field)| (key.as_ref(), str::from_utf8(field).unwrap())).collect();
        let expected = [
            ("Datetime", "2024-01-01T00:00:00+00:00"),
            ("Open", "8523.50"),
            ("Volume", "12"),
            ("Close", ""),
            ("x", "[1]"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn other_lines_are_no_objects() {
        for text in ["", "[1]", "{\"a\": 1", "null", "\"Datetime\"", "{\"a\": 1} {\"b\": 2}", "a,b"] {
            assert!(Object::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
