//! Keys of rows, which order them, and cursors: the key at which a page ends, as text.

use std::fmt;
use std::str::FromStr;

/// The place of a row among all rows of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Time of the row in milliseconds; for rows in stored order the sequence of their message.
    pub(super) time: i64,
    /// Order among rows of one time.
    pub(super) tie: [u64; 2],
}

impl Key {
    /// Above every row.
    pub(super) const END: Self = Self { time: i64::MAX, tie: [u64::MAX; 2] };

    /// The lowest key of a time.
    pub(super) const fn at(time: i64) -> Self {
        Self { time, tie: [0; 2] }
    }
}

/// The end of a page: rows from its key on were on this page or on earlier ones. To clients it is opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// What the pages consist of. A cursor of other pages is refused.
    pub(super) of: &'static str,
    pub(super) key: Key,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { time, tie: [first, second] } = self.key;
        write!(f, "{}~{time}~{first}~{second}", self.of)
    }
}

impl Cursor {
    /// Parses the cursor of pages of a kind.
    ///
    /// # Errors
    /// A sentence for the client, if it is not a cursor of these pages.
    pub(super) fn parse(text: &str, of: &'static str) -> Result<Self, String> {
        let cursor =
            numbers(text, of).map(|(time, first, second)| Self { of, key: Key { time, tie: [first, second] } });
        // A cursor has one text, so that it can be compared and cached.
        cursor.filter(|cursor| cursor.to_string() == text).ok_or_else(|| {
            format!("cursor is not one of {of}: pass `next` of the page before unchanged, or leave it out for the newest page")
        })
    }
}

fn numbers(text: &str, of: &str) -> Option<(i64, u64, u64)> {
    let mut parts = text.strip_prefix(of)?.strip_prefix('~')?.split('~');
    let numbers = (number(parts.next())?, number(parts.next())?, number(parts.next())?);
    parts.next().is_none().then_some(numbers)
}

fn number<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_as_it_is_written(time: i64, tie: [u64; 2]) {
            let cursor = Cursor { of: "prices", key: Key { time, tie } };
            prop_assert_eq!(Cursor::parse(&cursor.to_string(), "prices"), Ok(cursor));
        }

        #[test]
        fn other_text_is_refused_and_never_a_panic(text in "(prices)?[~0-9a-z +-]{0,40}") {
            if let Ok(cursor) = Cursor::parse(&text, "prices") {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn a_cursor_of_other_pages_is_refused_with_advice() {
        for bad in ["", "prices", "candles~1~0~0", "prices~1~0", "prices~1~0~0~0", "prices~+1~0~0", "prices~1~-1~0"] {
            let refused = Cursor::parse(bad, "prices").expect_err("not a cursor of prices");
            assert!(refused.contains("cursor is not one of prices") && refused.contains("leave it out"), "{refused}");
        }
    }
}
