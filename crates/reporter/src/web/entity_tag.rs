//! Entity tags: a browser that has an answer gets no bytes again.

use std::hash::{DefaultHasher, Hasher};

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Returns the tag of a body. It is weak, since the compressed body has the same.
pub(super) fn of(body: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    HeaderValue::from_str(&format!("W/\"{:016x}\"", hasher.finish())).expect("hexadecimal digits are visible ASCII")
}

/// Whether a client has the body with this tag.
pub(super) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_owned();
    lists(headers, IF_NONE_MATCH, |known| known == b"*" || opaque(known) == opaque(tag.as_bytes()))
}

/// Whether a header that is a list has such an entry.
pub(super) fn lists(headers: &HeaderMap, name: HeaderName, is_match: impl Fn(&[u8]) -> bool) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|entry| is_match(entry.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_the_body_is_told_so() {
        let tag = of(b"{}");
        let text = tag.to_str().expect("visible ASCII");
        let check = |value: &str, expected: bool| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_str(value).expect("a header"))]);
            assert_eq!(is_known(&headers, &tag), expected, "{value}");
        };
        check(text, true);
        check(text.trim_start_matches("W/"), true);
        check(&format!("\"other\", {text}"), true);
        check("*", true);
        check("\"other\"", false);
        assert_ne!(of(b"{}"), of(b"{ }"));
        assert!(!is_known(&HeaderMap::new(), &tag));
    }
}
