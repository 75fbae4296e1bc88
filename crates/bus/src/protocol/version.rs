//! Versions of stored forms. A form of another version is refused, never misread.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Decodes JSON with a `version` field.
///
/// # Errors
/// Why it cannot be decoded, with `advice` when the version is another one or missing.
pub fn decode<T: DeserializeOwned>(payload: &[u8], version: u32, advice: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct OfAnyVersion {
        version: Option<u32>,
    }
    let stored: OfAnyVersion = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    if stored.version != Some(version) {
        let found = stored.version.map_or("no version".to_owned(), |found| format!("version {found}"));
        return Err(format!(
            "another version of candlewire stored it (its form has {found}, this one reads version {version}): {advice}"
        ));
    }
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Place {
        place: u64,
    }

    #[test]
    fn only_the_version_asked_for_is_read() {
        let read = |payload: &str| decode::<Place>(payload.as_bytes(), 2, "make it again");
        assert_eq!(read(r#"{"version":2,"place":7}"#), Ok(Place { place: 7 }));
        for (payload, found) in [
            (r#"{"place":7}"#, "no version"),
            (r#"{"version":1,"place":7}"#, "version 1"),
            (r#"{"version":3,"position":7}"#, "version 3"),
        ] {
            let error = read(payload).unwrap_err();
            assert!(error.contains("another version of candlewire") && error.contains(found), "{error}");
            assert!(error.ends_with(": make it again"), "{error}");
        }
        let damaged = read(r#"{"version":2}"#).unwrap_err();
        assert!(damaged.contains("place") && !damaged.contains("make it again"), "{damaged}");
        assert!(read("nothing").is_err());
    }
}
