//! Columns of a file: the assignment of a line's fields to slots.

use std::borrow::Cow;

use super::fields::{Separator, bare, fields, raw_fields};
use super::format::FileFormat;
use super::header::{self, ColumnChoice, NoHeader};
use super::json::Object;
use super::names;
use super::slots::{Cells, SLOTS, Slot};
use super::time_text::TextTime;

/// Words in the column names of other programs. A line of such names is a header.
const HEADER_WORDS: [&str; 13] =
    ["open", "high", "low", "close", "volume", "price", "time", "date", "datetime", "timestamp", "unix", "ts", "vol"];
/// Words in a column name, at most; a longer text is a sentence.
const NAME_WORDS_MAX: usize = 3;
/// Numbers in a line without a header that is a row, at least.
const NUMBERS_MIN: usize = 2;

/// Form of the lines of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Fields with a separator between them.
    Fields(Separator),
    /// A JSON object.
    Json,
}

/// Fields of a line by slot, where some may have been unescaped.
pub(crate) type OwnedCells<'a> = [Option<Cow<'a, [u8]>>; SLOTS];

/// Assignment of a line's fields to slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    syntax: Syntax,
    /// Names of the columns; for JSON lines, the keys.
    titles: Vec<String>,
    /// Slot of each column.
    slots: Vec<Option<Slot>>,
    /// Index of the time column.
    time_column: usize,
    /// Indexes of the columns that name the instrument, ascending.
    names: Vec<usize>,
}

impl Columns {
    /// Parses the header of a file with separated fields. Unknown columns are ignored.
    ///
    /// # Errors
    /// A description of the missing, the found and the required columns.
    pub(crate) fn of_header(header: &[u8], separator: Separator, choices: &[ColumnChoice]) -> Result<Self, NoHeader> {
        let titles: Vec<Cow<'_, str>> =
            fields(header.trim_ascii(), separator).map(|field| String::from_utf8_lossy(field)).collect();
        if has_row_form(header, separator) {
            let text = "this is a row, not a header: put a line before it that names its columns, or pass --format with the \
                        name of a format without header";
            return Err(NoHeader { text: text.to_owned(), is_header: false });
        }
        Self::named(Syntax::Fields(separator), &titles, choices)
    }

    /// Returns the columns of JSON lines with these keys.
    ///
    /// # Errors
    /// As [`Columns::of_header`].
    pub(crate) fn of_keys(keys: &[Cow<'_, str>], choices: &[ColumnChoice]) -> Result<Self, NoHeader> {
        Self::named(Syntax::Json, keys, choices)
    }

    /// Returns the columns of a file of this format without header. They have the names of their slots, or their number.
    pub(crate) fn without_header(format: FileFormat, separator: Separator) -> Self {
        let title = |(column, slot): (usize, &Option<Slot>)| match slot {
            Some(Slot::Time) => format.time_title().to_owned(),
            Some(slot) => slot.name().to_owned(),
            None => (column + 1).to_string(),
        };
        let titles = format.columns().iter().enumerate().map(title).collect();
        Self::of(Syntax::Fields(separator), titles, format.columns().to_vec())
    }

    /// Returns the columns with the meaning that they have in a format, unless the user chose another one.
    pub(crate) fn in_format(mut self, format: FileFormat, choices: &[ColumnChoice]) -> Self {
        let is_chosen = choices.iter().any(|choice| matches!(choice.slot, Slot::Volume | Slot::QuoteVolume));
        if format.has_volume_in_quote() && !is_chosen && !self.has(Slot::QuoteVolume) {
            let volume = self.slots.iter_mut().find(|slot| **slot == Some(Slot::Volume));
            volume.into_iter().for_each(|slot| *slot = Some(Slot::QuoteVolume));
        }
        self
    }

    fn named(syntax: Syntax, titles: &[Cow<'_, str>], choices: &[ColumnChoice]) -> Result<Self, NoHeader> {
        let slots = header::assign(titles, choices)?;
        Ok(Self::of(syntax, titles.iter().map(|title| title.as_ref().to_owned()).collect(), slots))
    }

    fn of(syntax: Syntax, titles: Vec<String>, slots: Vec<Option<Slot>>) -> Self {
        let time_column = slots.iter().position(|slot| *slot == Some(Slot::Time)).unwrap_or_default();
        let is_name = |column: &usize| slots[*column].is_none() && names::is_name(titles[*column].as_bytes());
        let names = (0..titles.len()).filter(is_name).collect();
        Self { syntax, titles, slots, time_column, names }
    }

    /// Returns the form of the lines.
    pub(crate) fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// Returns the names of all columns.
    pub(crate) fn titles(&self) -> &[String] {
        &self.titles
    }

    /// Returns the name of the time column.
    pub(crate) fn time_title(&self) -> &str {
        self.title_of(Slot::Time).unwrap_or_default()
    }

    /// Returns the name of a slot's column.
    pub(crate) fn title_of(&self, slot: Slot) -> Option<&str> {
        let column = self.slots.iter().position(|found| *found == Some(slot))?;
        self.titles.get(column).map(String::as_str)
    }

    /// Whether some column has this slot.
    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.slots.contains(&Some(slot))
    }

    /// Returns the names of the columns that name the instrument of a row.
    pub(crate) fn name_titles(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|column| self.titles[*column].as_str())
    }

    /// Returns the fields of a line by slot; `None` when the line has other columns. A line with fewer or more fields than
    /// the header is not assigned, because the assignment is unknown; empty fields at the end are ignored.
    pub(crate) fn pick<'a>(&self, text: &'a [u8], separator: Separator) -> Option<Cells<'a>> {
        let (mut cells, mut count): (Cells<'a>, _) = ([None; SLOTS], 0);
        for field in raw_fields(text, separator) {
            match self.slots.get(count) {
                Some(Some(slot)) => cells[*slot as usize] = Some(bare(field)),
                Some(None) => {}
                None if bare(field).is_empty() => {}
                None => return None,
            }
            count += 1;
        }
        let is_whole = self.slots.iter().skip(count).all(Option::is_none);
        is_whole.then_some(cells)
    }

    /// Returns the fields of a JSON line by slot; `None` when the line is no object.
    pub(crate) fn pick_json<'a>(&self, text: &'a [u8]) -> Option<OwnedCells<'a>> {
        let mut cells: OwnedCells<'a> = Default::default();
        for (key, field) in Object::parse(text)?.0 {
            let column = self.titles.iter().position(|title| title.as_str() == key);
            if let Some(slot) = column.and_then(|column| self.slots[column]) {
                cells[slot as usize] = Some(field);
            }
        }
        Some(cells)
    }

    /// Returns the time field of a line.
    pub(crate) fn time<'a>(&self, text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self.syntax {
            Syntax::Fields(separator) => fields(text, separator).nth(self.time_column).map(Cow::Borrowed),
            Syntax::Json => self.field(text, self.time_column),
        }
    }

    /// Returns the field of a slot.
    pub(crate) fn field_of<'a>(&self, text: &'a [u8], slot: Slot) -> Option<Cow<'a, [u8]>> {
        self.field(text, self.slots.iter().position(|found| *found == Some(slot))?)
    }

    /// Returns the fields that name the instrument.
    pub(crate) fn names<'a>(&self, text: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        self.names.iter().map(|column| self.field(text, *column).unwrap_or_default()).collect()
    }

    fn field<'a>(&self, text: &'a [u8], column: usize) -> Option<Cow<'a, [u8]>> {
        match self.syntax {
            Syntax::Fields(separator) => fields(text, separator).nth(column).map(Cow::Borrowed),
            Syntax::Json => {
                let title = self.titles.get(column)?;
                Object::parse(text)?.0.into_iter().find(|(key, _)| key == title).map(|(_, field)| field)
            }
        }
    }

    /// Whether a line is a header: the same one again, or a line of column names only.
    pub(crate) fn is_header(&self, text: &[u8]) -> bool {
        let Syntax::Fields(separator) = self.syntax else { return self.repeats_keys(text) };
        // Nearly all rows begin with a digit.
        if text.first().is_none_or(|byte| byte.is_ascii_digit() || *byte == b'#') {
            return false;
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let is_same = || fields(text, separator).eq(self.titles.iter().map(|title| title.as_bytes()));
        let is_own_time = |field: &[u8]| field.eq_ignore_ascii_case(b"timestamp_ms");
        is_same() || fields(text, separator).any(is_own_time) || names_columns(text, separator)
    }

    /// Whether a JSON line has its keys as values: a header that was taken for a row.
    fn repeats_keys(&self, text: &[u8]) -> bool {
        let title = self.time_title();
        // Most lines do not hold the name of the time column twice.
        let mut found = memchr::memmem::find_iter(text, title.as_bytes());
        found.nth(1).is_some() && self.time(text).is_some_and(|field| field.eq_ignore_ascii_case(title.as_bytes()))
    }
}

/// Whether a line holds at least two column names and no number.
fn names_columns(text: &[u8], separator: Separator) -> bool {
    let is_word = |word: &[u8]| HEADER_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let is_name = |field: &&[u8]| {
        let words = || field.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        words().count() <= NAME_WORDS_MAX && words().any(is_word)
    };
    let is_number = |field| super::number::plain_of(field).is_some_and(f64::is_finite);
    fields(text, separator).filter(is_name).count() > 1 && !fields(text, separator).any(is_number)
}

/// Whether a line has the form of a row: a time, then numbers.
pub(crate) fn has_row_form(text: &[u8], separator: Separator) -> bool {
    let mut fields = fields(text, separator);
    let is_time = |field: &[u8]| super::number::is_numeric(field) || TextTime::parse(field).is_some();
    let begins = fields.next().is_some_and(is_time);
    begins && fields.filter(|field| super::number::is_numeric(field)).count() >= NUMBERS_MIN - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str) -> Columns {
        Columns::of_header(header.as_bytes(), Separator::of(header.as_bytes()), &[]).unwrap()
    }

    #[test]
    fn a_line_with_other_columns_is_not_assigned() {
        let columns = columns("name,timestamp_ms,close,volume,remark");
        let check = |text: &str, expected: Option<[&str; 3]>| {
            let picked = columns.pick(text.as_bytes(), Separator::Comma);
            let found = picked.map(|cells| {
                [Slot::Time, Slot::Close, Slot::Volume]
                    .map(|slot| str::from_utf8(cells[slot as usize].unwrap()).unwrap())
            });
            assert_eq!(found, expected, "{text}");
        };
        check("x,1,2,3,y", Some(["1", "2", "3"]));
        check("x,1,2,3", Some(["1", "2", "3"]));
        check("x,1,2,3,y,,", Some(["1", "2", "3"]));
        check("x,1,2", None);
        check("x,1,2,3,y,4", None);
    }

    #[test]
    fn keys_are_found_in_any_order() {
        let keys = ["Datetime", "Close", "Symbol"].map(Cow::Borrowed);
        let columns = Columns::of_keys(&keys, &[]).unwrap();
        let text = br#"{"Symbol": "BTC", "Close": 2, "Datetime": "2024-01-01"}"#;
        let cells = columns.pick_json(text).unwrap();
        assert_eq!(cells[Slot::Close as usize].as_deref(), Some(b"2".as_slice()));
        assert_eq!(columns.time(text).as_deref(), Some(b"2024-01-01".as_slice()));
        assert_eq!(columns.names(text), [Cow::Borrowed(b"BTC".as_slice())]);
        assert!(!columns.is_header(text));
        assert!(columns.is_header(br#"{"Symbol": "Symbol", "Close": "Close", "Datetime": "Datetime"}"#));
    }

    #[test]
    fn a_row_is_no_header() {
        for row in ["1583020800000,1,2,3,4,5", "2024-01-01 00:00:00;1,5;2", "1704067200\t8523.5"] {
            let separator = Separator::of(row.as_bytes());
            let problem = Columns::of_header(row.as_bytes(), separator, &[]).unwrap_err();
            assert!(problem.text.starts_with("this is a row, not a header"), "{row}: {}", problem.text);
        }
    }

    #[test]
    fn a_second_header_is_recognized() {
        let columns = columns("name,timestamp_ms,open,high,low,close,volume");
        for header in [
            "name,timestamp_ms,open,high,low,close,volume",
            "TIMESTAMP_MS,open,close",
            "open,high,low",
            "\"close\",\"price\"",
            "time,low,high,open,close,volume",
            "Open time,Open,High,Low,Close,Volume BTC",
            "snapped_at,price,market_cap,total_volume",
        ] {
            assert!(columns.is_header(header.as_bytes()), "{header}");
        }
        for other in [
            "1704067200000,1,2,3,4,5",
            "bitcoin,1704067200000,1,2,3,4,5",
            "close",
            "# open,high",
            "open,market",
            "x,5,open,high",
            "the highest price of the day,at the time of the close of the market",
        ] {
            assert!(!columns.is_header(other.as_bytes()), "{other}");
        }
    }
}
