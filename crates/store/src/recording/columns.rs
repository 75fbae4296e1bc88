//! Columns of a recording: the header, and parsing a line into a row.

use market::EventTime;
use market::validate::Reason;

use super::names;
use super::row::{RecordingRow, RowRefusal};
use super::time::Stamp;

/// Columns of a recording, in documented order. Time and close are required. Open, high and low are all present or all
/// absent.
pub const COLUMNS: [&str; 7] = ["timestamp_ms", "open", "high", "low", "close", "volume", "id"];

const TIME: usize = 0;
const OPEN: usize = 1;
const HIGH: usize = 2;
const LOW: usize = 3;
const CLOSE: usize = 4;
const VOLUME: usize = 5;
const ID: usize = 6;

/// Accepted name of the close column in a file without candles.
const PRICE: &str = "price";
/// Fields that mean "no value", in lower case. NaN, which parses as a number, means it too.
const NOTHING: [&str; 9] = ["", "null", "none", "nil", "na", "n/a", "#n/a", "-", "--"];
/// Column names quoted in an error, at most.
const NAMED_MAX: usize = 12;
/// Characters of a field quoted in an error, at most.
const EXCERPT_CHARS_MAX: usize = 40;

/// Words in the column names of other programs. A line of such names is a header.
const HEADER_WORDS: [&str; 13] =
    ["open", "high", "low", "close", "volume", "price", "time", "date", "datetime", "timestamp", "unix", "ts", "vol"];
/// Words in a column name, at most; a longer text is a sentence.
const NAME_WORDS_MAX: usize = 3;

/// Error of a line that is not a usable header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoHeader {
    pub(crate) text: String,
    /// Whether the line is a header, although not a usable one.
    pub(crate) is_header: bool,
}

/// Assignment of a line's fields to columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    /// For each field the index into [`COLUMNS`], or `None` for any other column.
    slots: Vec<Option<usize>>,
    /// Index of the time field.
    time_field: usize,
    /// Indexes of the fields that name the instrument, ascending.
    names: Vec<usize>,
    header: Vec<u8>,
}

impl Columns {
    /// Parses the header. Unknown columns are ignored.
    ///
    /// # Errors
    /// A description of the missing, the found and the required columns.
    pub(crate) fn parse(header: &[u8]) -> Result<Self, NoHeader> {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header).trim_ascii();
        let has_close = fields(header).any(|field| slot_of(field, false) == Some(CLOSE));
        let mut slots: Vec<Option<usize>> = Vec::new();
        for field in fields(header) {
            let slot = slot_of(field, !has_close);
            if slot.is_some() && slots.contains(&slot) {
                let name = excerpt(field);
                let text = format!("two columns are called {name}: give the one that is meant this name alone");
                return Err(NoHeader { text, is_header: true });
            }
            slots.push(slot);
        }
        let has = |slot: usize| slots.contains(&Some(slot));
        let candle = [OPEN, HIGH, LOW];
        let needed = candle.into_iter().filter(|_| candle.into_iter().any(has));
        let missing = [TIME, CLOSE].into_iter().chain(needed).find(|&slot| !has(slot));
        let time_field = slots.iter().position(|slot| *slot == Some(TIME));
        match (missing, time_field) {
            (None, Some(time_field)) => {
                let names = fields(header).enumerate().filter(|(_, field)| names::is_name(field)).map(|(idx, _)| idx);
                Ok(Self { slots, time_field, names: names.collect(), header: header.to_vec() })
            }
            (missing, _) => Err(problem(header, missing.unwrap_or(TIME))),
        }
    }

    /// Whether rows are candles with open, high and low.
    pub(crate) fn has_candles(&self) -> bool {
        self.slots.contains(&Some(OPEN))
    }

    /// Whether rows have a trade id.
    pub(crate) fn has_id(&self) -> bool {
        self.slots.contains(&Some(ID))
    }

    /// Whether a line is a header: the same one again, or a line of column names only.
    pub(crate) fn is_header(&self, text: &[u8]) -> bool {
        // Nearly all rows begin with a digit.
        if text.first().is_none_or(u8::is_ascii_digit) {
            return false;
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
        let is_time = |field: &[u8]| slot_of(field, true) == Some(TIME);
        text == self.header || (!text.starts_with(b"#") && (fields(text).any(is_time) || names_columns(text)))
    }

    /// Whether some columns name the instrument of a row.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns the columns that name the instrument, each with its field in this line.
    pub(crate) fn names<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let field = |text, idx| fields(text).nth(idx).unwrap_or_default();
        self.names.iter().map(move |&idx| (field(&self.header, idx), field(text, idx)))
    }

    /// Parses a line. `file` and `line` locate it; a time after `latest` is refused.
    ///
    /// # Errors
    /// The reason why the line is not a row.
    pub(crate) fn row(&self, text: &[u8], file: u32, line: u32, latest: EventTime) -> Result<RecordingRow, RowRefusal> {
        let picked = self.pick(text)?;
        let (Some(time), Some(close)) = (picked[TIME], picked[CLOSE]) else { return Err(self.misshapen(text)) };
        let price = parse_cell(close);
        let Some(stamp) = Stamp::parse(time) else {
            return Err(if matches!(price, Ok(Some(_))) { RowRefusal::Unparsable } else { self.misshapen(text) });
        };
        let candle = [picked[OPEN], picked[HIGH], picked[LOW]];
        let Some(price) = price? else {
            let is_empty = |cell: &Option<&[u8]>| cell.is_none_or(|cell| matches!(parse_cell(cell), Ok(None)));
            return Err(if candle.iter().all(is_empty) { RowRefusal::NoPrice } else { RowRefusal::IncompletePrice });
        };
        let event = stamp.event(latest)?;
        // Where all four prices are the same text, it is parsed only once.
        let cell = |field: Option<&[u8]>| match field {
            Some(field) if field == close => Ok(Some(price)),
            Some(field) => parse_cell(field),
            None => Ok(None),
        };
        let [open, high, low] = candle;
        let (open, high, low, is_point) = match (cell(open)?, cell(high)?, cell(low)?) {
            (Some(open), Some(high), Some(low)) => (open, high, low, false),
            (None, None, None) => (price, price, price, true),
            _ => return Err(RowRefusal::IncompletePrice),
        };
        let volume = picked[VOLUME].map_or(Ok(None), parse_volume)?;
        let id = picked[ID].and_then(parse_id);
        Ok(RecordingRow {
            event,
            open,
            high,
            low,
            close: price,
            volume,
            id,
            is_point,
            complete: None,
            is_behind_jump: false,
            line,
            file,
        })
    }

    /// Parses only the time of a line, and returns it with its field.
    pub(crate) fn stamp<'a>(&self, text: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
        let field = fields(text).nth(self.time_field)?;
        Some((Stamp::parse(field)?, field))
    }

    /// Parses only the trade id of a line.
    pub(crate) fn id(&self, text: &[u8]) -> Option<u64> {
        let field = self.slots.iter().position(|slot| *slot == Some(ID))?;
        parse_id(fields(text).nth(field)?)
    }

    /// Returns the fields of the known columns. A line with fewer or more fields than the header is refused, because
    /// the assignment is unknown; empty fields at the end are ignored.
    fn pick<'a>(&self, text: &'a [u8]) -> Result<[Option<&'a [u8]>; COLUMNS.len()], RowRefusal> {
        let mut picked = [None; COLUMNS.len()];
        for (idx, field) in fields(text).enumerate() {
            match self.slots.get(idx) {
                Some(Some(slot)) => picked[*slot] = Some(field),
                Some(None) => {}
                None if field.is_empty() => {}
                None => return Err(self.misshapen(text)),
            }
        }
        let is_whole = self.slots.iter().flatten().all(|&slot| picked[slot].is_some());
        if is_whole { Ok(picked) } else { Err(self.misshapen(text)) }
    }

    /// Classifies a line with a wrong number of fields: it is an unparsable row if it holds a time or several numbers,
    /// otherwise it is not a row.
    fn misshapen(&self, text: &[u8]) -> RowRefusal {
        let is_number = |part: &&[u8]| {
            let part = part.strip_prefix(b"\"").unwrap_or(part).trim_ascii();
            part.first().is_some_and(|byte| byte.is_ascii_digit() || b"+-.$".contains(byte))
        };
        // Another program may use another separator.
        let numbers = text.split(|byte| b",;\t|".contains(byte)).filter(is_number).count();
        if self.stamp(text).is_some() || (numbers > 1 && !text.starts_with(b"#")) {
            RowRefusal::Unparsable
        } else {
            RowRefusal::Foreign
        }
    }
}

/// Returns the index into [`COLUMNS`] of a column with this name.
fn slot_of(field: &[u8], price_is_close: bool) -> Option<usize> {
    if price_is_close && field.eq_ignore_ascii_case(PRICE.as_bytes()) {
        return Some(CLOSE);
    }
    COLUMNS.iter().position(|column| field.eq_ignore_ascii_case(column.as_bytes()))
}

/// Whether a line holds at least two column names and no number.
fn names_columns(text: &[u8]) -> bool {
    let is_word = |word: &[u8]| HEADER_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let is_name = |field: &&[u8]| {
        let words = || field.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        words().count() <= NAME_WORDS_MAX && words().any(is_word)
    };
    let is_number = |field| number_of(field).is_some_and(f64::is_finite);
    fields(text).filter(is_name).count() > 1 && !fields(text).any(is_number)
}

/// Parses a field as a number, which may be NaN or infinite.
pub(crate) fn number_of(field: &[u8]) -> Option<f64> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// Returns the beginning of a field, for an error.
pub(crate) fn excerpt(field: &[u8]) -> String {
    String::from_utf8_lossy(field).chars().take(EXCERPT_CHARS_MAX).collect()
}

/// Describes why a line is not a usable header.
fn problem(header: &[u8], missing: usize) -> NoHeader {
    let needed = "needed are timestamp_ms and close (or price); open, high and low together, volume and id are read where there are any";
    let names: Vec<_> = fields(header).map(|field| String::from_utf8_lossy(field)).collect();
    if fields(header).any(|field| number_of(field).is_some()) {
        let text = format!("this is a row, not a header: put a line before it that names its columns; {needed}");
        return NoHeader { text, is_header: false };
    }
    let known = |separator: char| {
        let mut parts = names.iter().flat_map(|name| name.split(separator));
        parts.any(|part| slot_of(part.trim_matches(['"', ' ']).as_bytes(), true).is_some())
    };
    let separators = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
    if let Some((_, name)) = separators
        .into_iter()
        .find(|(separator, _)| names.len() == 1 && names[0].contains(*separator) && known(*separator))
    {
        let text = format!("the columns are separated by {name}: export the file with commas and decimal points");
        return NoHeader { text, is_header: true };
    }
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    let found = fields(header).take(NAMED_MAX).map(excerpt).collect::<Vec<_>>();
    let text = format!(
        "no column {:?} among the columns {}{more}; {needed}: rename the columns",
        COLUMNS[missing],
        found.join(", ")
    );
    NoHeader { text, is_header: false }
}

/// Splits a line into fields, without surrounding blanks and quotes. A comma inside quotes does not separate fields. A
/// line break inside quotes ends the line, so that one broken line cannot swallow the rest of the file.
fn fields(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    text.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == b',' && !is_quoted
    })
    .map(|field| {
        let field = field.trim_ascii();
        field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field).trim_ascii()
    })
}

/// Parses a finite number; `None` for a field that means "no value".
fn parse_cell(field: &[u8]) -> Result<Option<f64>, RowRefusal> {
    let text = str::from_utf8(field).map_err(|_| RowRefusal::Unparsable)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        Ok(number) if number.is_nan() => Ok(None),
        Ok(_) => Err(Reason::NonFinite.into()),
        Err(_) if NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing)) => Ok(None),
        Err(_) => Err(RowRefusal::Unparsable),
    }
}

fn parse_volume(field: &[u8]) -> Result<Option<f64>, RowRefusal> {
    match parse_cell(field)? {
        Some(volume) if volume < 0.0 => Err(RowRefusal::NegativeVolume),
        volume => Ok(volume),
    }
}

/// Parses a trade id; a text that is not a number gives `None`.
fn parse_id(field: &[u8]) -> Option<u64> {
    str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"timestamp_ms,open,high,low,close,volume";
    /// 2026-01-01.
    const LATEST: EventTime = EventTime(1_767_225_600_000);

    fn check(line: &str, expected: Result<(f64, f64, Option<f64>), RowRefusal>) {
        let columns = Columns::parse(HEADER).unwrap();
        let line = line.replace('T', "1704067200000");
        let found = columns.row(line.as_bytes(), 0, 2, LATEST).map(|row| (row.open, row.close, row.volume));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn a_row_is_read_in_every_notation_of_its_numbers() {
        check("T,1,3,1,2,5", Ok((1.0, 2.0, Some(5.0))));
        check(" T , 1,3,1, 2 ,\r", Ok((1.0, 2.0, None)));
        check("\"T\",\"1\",\"3\",\"1\",\"2\",\"5\"", Ok((1.0, 2.0, Some(5.0))));
        check("T.0,1,3,1,2e0,5", Ok((1.0, 2.0, Some(5.0))));
        check("T,1,3,1,2,5,,", Ok((1.0, 2.0, Some(5.0))));
        check("T,,,,2,5", Ok((2.0, 2.0, Some(5.0))));
    }

    #[test]
    fn a_volume_that_is_not_there_is_unknown() {
        for nothing in ["", "NaN", "nan", "null", "-", "None", "N/A", "\"\""] {
            check(&format!("T,1,3,1,2,{nothing}"), Ok((1.0, 2.0, None)));
        }
        check("T,1,3,1,2,-0.5", Err(RowRefusal::NegativeVolume));
        check("T,1,3,1,2,inf", Err(Reason::NonFinite.into()));
        check("T,1,3,1,2,much", Err(RowRefusal::Unparsable));
    }

    #[test]
    fn every_bad_row_has_its_own_name() {
        check("T,1,3,1,x,5", Err(RowRefusal::Unparsable));
        check("T,1,3", Err(RowRefusal::Unparsable));
        check("T,1,3,1,2", Err(RowRefusal::Unparsable));
        check("T,8,523.5,8,600.0,8,510.0,8,520.0,5", Err(RowRefusal::Unparsable));
        check("2024-01-01,1,3,1,2,5", Err(RowRefusal::Unparsable));
        check("T.5,1,3,1,2,5", Err(RowRefusal::FractionalTime));
        check("T,,3,1,2,5", Err(RowRefusal::IncompletePrice));
        check("T,1,3,1,,5", Err(RowRefusal::IncompletePrice));
        check("T,1,3,NaN,2,5", Err(RowRefusal::IncompletePrice));
        check("T,1,inf,1,2,5", Err(Reason::NonFinite.into()));
        check("T,1,3,1,1e999,5", Err(Reason::NonFinite.into()));
        // Rows of another layout are rows too, and count as unparsable.
        check("2024-01-01 03:20:00,1,3,1,2,2,5", Err(RowRefusal::Unparsable));
        check("2024-01-01,\"1,5\",\"3,5\",x,y", Err(RowRefusal::Unparsable));
        check("1704067200000;1;3.5;1;2;5", Err(RowRefusal::Unparsable));
        check("0,1,3,1,2,5", Err(RowRefusal::Before2009));
        check("T0,1,3,1,2,5", Err(RowRefusal::FUTURE));
    }

    #[test]
    fn lines_without_a_price_are_told_from_bad_rows() {
        for line in ["T,,,,,", "T,NaN,NaN,NaN,NaN,0", "T,null,null,null,null,null", "T,-,-,-,-,-"] {
            check(line, Err(RowRefusal::NoPrice));
        }
        for line in [
            "garbage",
            "# made by hand",
            "https://example.com/a,b",
            ",,,,,",
            "ms,USD,USD,USD,USD,BTC",
            "\u{fffd}",
            "a,b,c,d,e,f,g",
            "exported 2024-01-01,by me",
        ] {
            check(line, Err(RowRefusal::Foreign));
        }
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let columns = Columns::parse(b"\xef\xbb\xbfname,\"Close\",low,high,open,volume,timestamp_ms\r").unwrap();
        let row = columns.row(b"\"a, b\",2,1,3,1.5,9,1704067200000", 1, 7, LATEST).unwrap();
        assert_eq!((row.text().as_str(), row.line, row.file), ("1704067200000,1.5,3,1,2,9", 7, 1));
    }

    #[test]
    fn a_file_of_prices_needs_no_candles_and_no_volume() {
        for header in
            ["timestamp_ms,price", "close,timestamp_ms", "Timestamp_ms,Price,volume,id", "timestamp_ms,price,close"]
        {
            let columns = Columns::parse(header.as_bytes()).unwrap();
            let line = header.to_ascii_lowercase().replace("timestamp_ms", "1704067200000").replace("close", "7");
            let line = line.replace("price", "7").replace("volume", "2").replace("id", "12");
            let row = columns.row(line.as_bytes(), 0, 2, LATEST).unwrap();
            assert_eq!((row.open, row.close, row.is_point), (7.0, 7.0, true), "{header}");
            assert_eq!(row.id, columns.has_id().then_some(12), "{header}");
        }
    }

    #[test]
    fn an_unusable_header_is_refused_with_the_needed_columns() {
        let check = |header: &str, expected: &str| {
            let said = Columns::parse(header.as_bytes()).expect_err("no header").text;
            assert!(said.contains(expected), "{header}: {said}");
        };
        check(
            "timestamp_ms,open,high,low,volume",
            "no column \"close\" among the columns timestamp_ms, open, high, low, volume; needed",
        );
        check("timestamp_ms,open,high,close", "no column \"low\"");
        check("Date,Open,High,Low,Last", "no column \"timestamp_ms\" among the columns Date, Open");
        check("1583020800000,1,2,3,4,5", "this is a row, not a header");
        check("timestamp_ms;open;high;low;close", "separated by semicolons");
        check("timestamp_ms\tclose", "separated by tabs");
        check("timestamp_ms,close,volume,Close", "two columns are called Close");
    }

    #[test]
    fn a_second_header_is_recognized() {
        let columns = Columns::parse(b"name,timestamp_ms,open,high,low,close,volume").unwrap();
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
