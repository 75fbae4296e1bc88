//! One row of a recording, and how a line of text becomes one.

use std::borrow::Cow;

use market::tick::TickLine;
use market::{EventTime, Instrument, Span};

/// The columns that a recording must have, in the order in which they are documented.
pub const COLUMNS: [&str; 6] = ["timestamp_ms", "open", "high", "low", "close", "volume"];

/// The source of every tick of a recording.
pub const SOURCE: &str = "recording";

/// A row: what was observed from its event time on, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When what it observed begins.
    pub event: EventTime,
    /// First price, in quote currency. Like the other prices finite, and nothing else is known of it.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Volume traded, in units of the coin; absent when the field is empty.
    pub volume: Option<f64>,
    /// Its line in its file, counted from 1.
    pub line: u32,
    /// The file, by its place on the command line.
    pub file: u32,
}

impl Row {
    /// Whether another row of the same instant says the same.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let values = |row: &Self| (row.open, row.high, row.low, row.close, row.volume);
        values(self) == values(other)
    }

    /// The row as a tick that is not yet validated: it observed `grain` from its event time on, and was received at
    /// `ingest_ms`. What equals the close is left out.
    pub fn to_line<'a>(&self, instrument: &'a Instrument, grain: Span, ingest_ms: i64) -> TickLine<'a> {
        let unless_close = |price: f64| (price != self.close).then_some(price);
        TickLine {
            coin: Cow::Borrowed(instrument.coin()),
            quote: Cow::Borrowed(instrument.quote()),
            event_ms: self.event.ms(),
            grain_ms: Some(grain.ms()),
            complete_ms: None,
            id: None,
            open: unless_close(self.open),
            high: unless_close(self.high),
            low: unless_close(self.low),
            close: self.close,
            volume: self.volume,
            ingest_ms,
            source: Some(Cow::Borrowed(SOURCE)),
            market_cap: None,
            volume_24h: None,
            high_24h: None,
            low_24h: None,
        }
    }

    /// The row as text in the documented column order, for rows that are refused after their line is gone.
    pub fn text(&self) -> String {
        let Self { event, open, high, low, close, volume, .. } = self;
        let volume = volume.map(|volume| volume.to_string()).unwrap_or_default();
        format!("{},{open},{high},{low},{close},{volume}", event.ms())
    }
}

/// Why a row is refused while a recording is read. A price that cannot be (negative, high below low) is not refused here:
/// that is judged by name where ticks are validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not a row of the header's columns.
    Unparsable,
    /// A price field without a price.
    EmptyPrice,
    /// NaN or infinite: JSON cannot carry it.
    NonFinite,
    /// A time outside 1970 to 9999.
    OutOfRange,
    /// A line longer than any row.
    TooLong,
    /// Older than what was already taken: beyond the reorder buffer.
    OutOfOrder,
    /// Alone, further from its neighbours than the largest step.
    Jump,
}

impl Refusal {
    /// The reason as it is written into summaries and rejects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::EmptyPrice => "empty-price",
            Self::NonFinite => "non-finite",
            Self::OutOfRange => "out-of-range",
            Self::TooLong => "too-long",
            Self::OutOfOrder => "out-of-order",
            Self::Jump => "jump",
        }
    }
}

/// Which field of a line is which column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    /// For each field the index into [`COLUMNS`], if it is one of them.
    slots: Vec<Option<usize>>,
}

impl Columns {
    /// Reads the header; other columns are ignored.
    ///
    /// # Errors
    /// The first column that is missing.
    pub(crate) fn parse(header: &[u8]) -> Result<Self, &'static str> {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
        let mut slots = Vec::new();
        for field in fields(header) {
            let slot = COLUMNS.iter().position(|column| field.eq_ignore_ascii_case(column.as_bytes()));
            slots.push(slot.filter(|_| !slots.contains(&slot)));
        }
        match COLUMNS.iter().enumerate().find(|(idx, _)| !slots.contains(&Some(*idx))) {
            Some((_, missing)) => Err(missing),
            None => Ok(Self { slots }),
        }
    }

    /// Reads a line; `file` and `line` say where it stands.
    ///
    /// # Errors
    /// The named reason why it is not a row.
    pub(crate) fn row(&self, text: &[u8], file: u32, line: u32) -> Result<Row, Refusal> {
        let [time, open, high, low, close, volume] = self.pick(text)?;
        let event = parse_time(time)?;
        let volume = if volume.is_empty() { None } else { Some(parse_number(volume)?) };
        let last = parse_price(close)?;
        // In a recording of single prices all four are the same text.
        let price = |field: &[u8]| if field == close { Ok(last) } else { parse_price(field) };
        let (open, high, low, close) = (price(open)?, price(high)?, price(low)?, last);
        Ok(Row { event, open, high, low, close, volume, line, file })
    }

    /// Reads only the time of a line.
    pub(crate) fn event(&self, text: &[u8]) -> Option<EventTime> {
        parse_time(self.pick(text).ok()?[0]).ok()
    }

    fn pick<'a>(&self, text: &'a [u8]) -> Result<[&'a [u8]; COLUMNS.len()], Refusal> {
        let mut picked = [None; COLUMNS.len()];
        for (field, slot) in fields(text).zip(&self.slots) {
            if let Some(slot) = *slot {
                picked[slot] = Some(field);
            }
        }
        match picked {
            [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)] => Ok([a, b, c, d, e, f]),
            _ => Err(Refusal::Unparsable),
        }
    }
}

/// The fields of a line, without blanks and quotes around them. A comma between quotes does not separate; a line break
/// between quotes does, so that one broken line cannot swallow the rest of the file.
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

fn parse_price(field: &[u8]) -> Result<f64, Refusal> {
    if field.is_empty() { Err(Refusal::EmptyPrice) } else { parse_number(field) }
}

fn parse_number(field: &[u8]) -> Result<f64, Refusal> {
    let number: f64 = str::from_utf8(field).ok().and_then(|text| text.parse().ok()).ok_or(Refusal::Unparsable)?;
    if number.is_finite() { Ok(number) } else { Err(Refusal::NonFinite) }
}

/// Whole milliseconds, also as programs write them that know only floats (`1583020800000.0`).
fn parse_time(field: &[u8]) -> Result<EventTime, Refusal> {
    let text = str::from_utf8(field).map_err(|_| Refusal::Unparsable)?;
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    let parsed = text.parse::<i64>().ok().or_else(|| text.parse::<f64>().ok().and_then(whole));
    let event = EventTime(parsed.ok_or(Refusal::Unparsable)?);
    if (EventTime::EARLIEST..=EventTime::LATEST).contains(&event) { Ok(event) } else { Err(Refusal::OutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"timestamp_ms,open,high,low,close,volume";

    fn check(line: &str, expected: Result<(i64, f64, Option<f64>), Refusal>) {
        let columns = Columns::parse(HEADER).unwrap();
        let found = columns.row(line.as_bytes(), 0, 2).map(|row| (row.event.ms(), row.close, row.volume));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn every_bad_row_has_its_own_name() {
        check("60000,1,3,1,2,5", Ok((60_000, 2.0, Some(5.0))));
        check(" 60000 , 1,3,1, 2 ,\r", Ok((60_000, 2.0, None)));
        check("\"60000\",\"1\",\"3\",\"1\",\"2\",\"5\"", Ok((60_000, 2.0, Some(5.0))));
        check("60000.0,1,3,1,2e0,5", Ok((60_000, 2.0, Some(5.0))));
        check("60000,1,3,1,-2,5", Ok((60_000, -2.0, Some(5.0))));
        check("60000,1,0,9,2,5", Ok((60_000, 2.0, Some(5.0))));
        check("garbage", Err(Refusal::Unparsable));
        check("60000,1,3,1,2", Err(Refusal::Unparsable));
        check("60000,1,3,1,x,5", Err(Refusal::Unparsable));
        check("60000.5,1,3,1,2,5", Err(Refusal::Unparsable));
        check("\u{fffd},1,3,1,2,5", Err(Refusal::Unparsable));
        check("60000,1,3,1,,5", Err(Refusal::EmptyPrice));
        check("60000,,3,1,2,5", Err(Refusal::EmptyPrice));
        check("60000,1,3,1,NaN,5", Err(Refusal::NonFinite));
        check("60000,1,inf,1,2,5", Err(Refusal::NonFinite));
        check("60000,1,3,1,1e999,5", Err(Refusal::NonFinite));
        check("-1,1,3,1,2,5", Err(Refusal::OutOfRange));
        check("253402300800000,1,3,1,2,5", Err(Refusal::OutOfRange));
    }

    #[test]
    fn columns_are_found_by_name_whatever_their_order() {
        let columns = Columns::parse(b"\xef\xbb\xbfname,\"Close\",low,high,open,volume,timestamp_ms\r").unwrap();
        let row = columns.row(b"\"a, b\",2,1,3,1.5,9,60000", 1, 7).unwrap();
        assert_eq!((row.text().as_str(), row.line, row.file), ("60000,1.5,3,1,2,9", 7, 1));
        assert_eq!(columns.event(b"x,2,1,3,1.5,9,60000"), Some(EventTime(60_000)));
    }

    #[test]
    fn a_missing_column_is_named() {
        for (header, missing) in [
            ("timestamp_ms,open,high,low,volume", "close"),
            ("1583020800000,1,2,3,4,5", "timestamp_ms"),
            ("timestamp_ms,open,high,low,close,close", "volume"),
        ] {
            assert_eq!(Columns::parse(header.as_bytes()), Err(missing), "{header}");
        }
    }
}
