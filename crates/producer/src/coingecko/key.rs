//! The API key, and excerpts of the source's texts without it.

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderValue;

/// Bytes of the source's text that are shown, at most.
const EXCERPT_BYTES_MAX: usize = 160;
/// Length from which a part of the key is hidden too, because a source may repeat only a part.
const PART_MIN: usize = 6;
const HIDDEN: &str = "(key)";

/// An API key. Its debug output is hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Whether the key is empty, as from an empty environment variable.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key itself, for a digest.
    pub(crate) fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the key as a header value, if all of its characters are allowed there.
    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.0).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// If the text begins with the key or a part of it, returns the rest of the text.
    fn strip_from<'a>(&self, text: &'a str) -> Option<&'a str> {
        let key = self.0.as_bytes();
        let shortest = PART_MIN.min(key.len()).max(1);
        let parts = (0..key.len()).map(|start| common(&key[start..], text));
        let (count, rest) = parts.max_by_key(|(count, _)| *count)?;
        (count >= shortest).then_some(rest)
    }
}

impl FromStr for ApiKey {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

/// Returns the beginning of a source's text, on one line and without the key. The key is replaced before the text is
/// cut, so that a key across the cut is found too.
pub(crate) fn excerpt(text: &str, key: Option<&ApiKey>) -> String {
    let (mut shown, mut rest) = (String::new(), text.trim());
    while shown.len() < EXCERPT_BYTES_MAX
        && let Some(first) = rest.chars().next()
    {
        if let Some(behind) = key.and_then(|key| key.strip_from(rest)) {
            shown.push_str(HIDDEN);
            rest = behind;
        } else if first.is_whitespace() {
            shown.push(' ');
            rest = rest.trim_start();
        } else {
            shown.push(if first.is_control() { '?' } else { first });
            rest = &rest[first.len_utf8()..];
        }
    }
    shown
}

/// Returns the number of leading characters of the key that the text begins with, and the rest of the text.
fn common<'a>(key: &[u8], mut text: &'a str) -> (usize, &'a str) {
    let mut count = 0;
    for character in key {
        let Some(rest) = strip_character(text, *character) else { break };
        (count, text) = (count + 1, rest);
    }
    (count, text)
}

/// If the text begins with this character in either case, returns the rest. URLs and JSON may escape it as `%2D` and
/// `\u002d`.
fn strip_character(text: &str, expected: u8) -> Option<&str> {
    let is_expected = |found: u8| found.eq_ignore_ascii_case(&expected);
    let escaped = |prefix: &str, digits: usize| {
        let (code, rest) = text.strip_prefix(prefix)?.split_at_checked(digits)?;
        u8::from_str_radix(code, 16).is_ok_and(is_expected).then_some(rest)
    };
    let plain = text.strip_prefix(|found: char| u8::try_from(found).is_ok_and(is_expected));
    plain.or_else(|| escaped("%", 2)).or_else(|| escaped("\\u", 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "CG-SuperSecretKey1234567890";

    fn shown(text: &str) -> String {
        excerpt(text, Some(&KEY.parse().unwrap()))
    }

    #[test]
    fn a_key_is_hidden_before_the_text_is_cut() {
        for before in 0..200 {
            let text = format!("{}{KEY} is wrong", "x".repeat(before));
            let shown = shown(&text);
            assert!(!shown.contains("CG"), "{before}: {shown}");
            assert!(shown.len() < EXCERPT_BYTES_MAX + HIDDEN.len(), "{before}: {shown}");
        }
    }

    #[test]
    fn every_form_of_a_key_is_hidden() {
        let json: String = KEY.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let forms = [
            KEY.to_owned(),
            KEY.to_lowercase(),
            KEY.to_uppercase(),
            KEY.replace('-', "%2d"),
            KEY.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            json,
        ];
        for form in forms {
            assert_eq!(shown(&format!("key {form}?")), "key (key)?", "{form}");
        }
        assert_eq!(shown(&format!("https://host/?key={KEY}&a=b {KEY}{KEY}")), "https://host/?key=(key)&a=b (key)(key)");
    }

    #[test]
    fn a_key_that_the_source_has_cut_is_hidden() {
        assert_eq!(shown("CG-SuperSecretKey123... is wrong"), "(key)... is wrong");
        assert_eq!(shown("...ey1234567890 is wrong"), "...(key) is wrong");
        assert_eq!(shown(&format!("{} CG-Super", " ".repeat(100_000))), "(key)");
        assert_eq!(shown("CG keys are Super"), "CG keys are Super");
    }

    #[test]
    fn a_short_key_is_hidden_only_whole() {
        let excerpt = |text| excerpt(text, Some(&"a%41".parse().unwrap()));
        assert_eq!(excerpt("a%4 a%41 a%"), "a%4 (key) a%");
    }

    #[test]
    fn texts_are_shown_on_one_line_without_control_characters() {
        assert_eq!(excerpt(" a\r\n\t b\u{1b}[31mc\u{e4}% \\u00 ", None), "a b?[31mc\u{e4}% \\u00");
        assert_eq!(excerpt("", None), "");
        assert_eq!(excerpt(&"\u{20ac}".repeat(1_000), None).chars().count(), 54);
    }
}
