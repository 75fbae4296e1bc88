//! Splitting of a line into fields.

/// Separator of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    Comma,
    Semicolon,
    Tab,
}

impl Separator {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// Returns the separator of a line: a tab or a semicolon outside quotes separates fields, since commas may be decimal
    /// marks beside them.
    pub(crate) fn of(text: &[u8]) -> Self {
        let has = |separator: &Self| fields(text, *separator).nth(1).is_some();
        [Self::Tab, Self::Semicolon].into_iter().find(has).unwrap_or(Self::Comma)
    }

    /// Returns the name of separated fields; `None` for the usual comma.
    pub(crate) fn words(self) -> Option<&'static str> {
        match self {
            Self::Comma => None,
            Self::Semicolon => Some("semicolons"),
            Self::Tab => Some("tabs"),
        }
    }
}

/// Splits a line into fields, without surrounding blanks and quotes. A separator inside quotes does not separate fields. A
/// line break inside quotes ends the line, so that one broken line cannot swallow the rest of the file.
pub(crate) fn fields(text: &[u8], separator: Separator) -> impl Iterator<Item = &[u8]> {
    raw_fields(text, separator).map(bare)
}

/// Splits a line into fields as they are written.
pub(crate) fn raw_fields(text: &[u8], separator: Separator) -> RawFields<'_> {
    let is_quoted = memchr::memchr(b'"', text).is_some();
    RawFields { rest: Some(text), separator: separator.byte(), is_quoted }
}

/// Returns a field without surrounding blanks and quotes.
pub(crate) fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    match field {
        [b'"', inner @ .., b'"'] => inner.trim_ascii(),
        _ => field,
    }
}

/// Fields of a line.
pub(crate) struct RawFields<'a> {
    /// The part that is not split yet; `None` at the end.
    rest: Option<&'a [u8]>,
    separator: u8,
    /// Whether the line has quotes.
    is_quoted: bool,
}

impl<'a> Iterator for RawFields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = if self.is_quoted { self.quoted_end(rest) } else { memchr::memchr(self.separator, rest) };
        let Some(end) = end else { return self.rest.take() };
        self.rest = Some(&rest[end + 1..]);
        Some(&rest[..end])
    }
}

impl RawFields<'_> {
    /// Returns the position of the next separator outside quotes.
    fn quoted_end(&self, rest: &[u8]) -> Option<usize> {
        let mut is_inside = false;
        rest.iter().position(|&byte| {
            is_inside ^= byte == b'"';
            byte == self.separator && !is_inside
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_its_separator() {
        let check = |text: &str, expected: Separator| assert_eq!(Separator::of(text.as_bytes()), expected, "{text}");
        check("time,close", Separator::Comma);
        check("1704067200;1,5;2,5", Separator::Semicolon);
        check("time\tclose, in USD", Separator::Tab);
        check("time,\"close; in USD\"", Separator::Comma);
        check("one", Separator::Comma);
    }

    #[test]
    fn quotes_and_blanks_around_a_field_are_left_out() {
        let check = |text: &str, separator: Separator, expected: &[&str]| {
            let found: Vec<_> =
                fields(text.as_bytes(), separator).map(|field| str::from_utf8(field).unwrap()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check(" a , \"b, c\" ,\" d \",", Separator::Comma, &["a", "b, c", "d", ""]);
        check("1;\"2;3\";4,5", Separator::Semicolon, &["1", "2;3", "4,5"]);
    }
}
