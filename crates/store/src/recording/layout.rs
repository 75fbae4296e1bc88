//! Layout of a file: its format, its columns, and the notation of its times and numbers.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use market::EventTime;

use super::columns::{Columns, Syntax};
use super::fields::Separator;
use super::format::FileFormat;
use super::header::ColumnChoice;
use super::number::{self, Decimal, DecimalEvidence};
use super::row::{RecordingRow, RowRefusal};
use super::slots::{Cells, Slot};
use super::time::{Stamp, TimeNotation, Unit};

/// The user's settings of a file's layout. Everything else is detected.
#[derive(Debug, Clone, Default)]
pub struct LayoutOptions {
    /// The format.
    pub format: Option<FileFormat>,
    /// Columns, by the name that the header gives them.
    pub columns: Vec<ColumnChoice>,
    /// The decimal mark.
    pub decimal: Option<Decimal>,
    /// The zone of times without offset; UTC by default.
    pub time_zone: Option<Tz>,
    /// The end of a candle to which its time belongs.
    pub stamp: Option<StampedAt>,
}

/// End of a candle to which its time belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StampedAt {
    /// The candle begins at its time.
    #[default]
    Open,
    /// The candle ends at its time.
    Close,
}

impl FromStr for StampedAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "close" => Ok(Self::Close),
            _ => Err("write open or close".to_owned()),
        }
    }
}

/// Layout of a file.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) format: FileFormat,
    pub(crate) columns: Columns,
    pub(crate) times: TimeNotation,
    /// Whether some times have no offset.
    pub(crate) has_local_times: bool,
    pub(crate) decimal: Decimal,
    /// Evidence of the first rows for the decimal mark; `None` when the user says it.
    pub(crate) decimals: Option<DecimalEvidence>,
    pub(crate) stamped_at: StampedAt,
    pub(crate) has_header: bool,
    /// Number of lines before the header.
    pub(crate) preamble: u64,
    /// Columns that the user chose, for further headers.
    pub(crate) choices: Vec<ColumnChoice>,
}

impl Layout {
    /// Returns the number of lines that are not blank before the first row.
    pub(crate) fn lines_before_rows(&self) -> u64 {
        self.preamble + u64::from(self.has_header && self.columns.syntax() != Syntax::Json)
    }

    /// Parses a further header of the file.
    pub(crate) fn columns_of(&self, header: &[u8]) -> Option<Columns> {
        match self.columns.syntax() {
            Syntax::Fields(separator) => {
                let columns = Columns::of_header(header, separator, &self.choices).ok()?;
                Some(columns.in_format(self.format, &self.choices))
            }
            Syntax::Json => Some(self.columns.clone()),
        }
    }

    /// Whether a single decimal point needs no further evidence: beside commas between the fields it cannot separate
    /// thousands.
    pub(crate) fn is_point_usual(&self) -> bool {
        matches!(self.columns.syntax(), Syntax::Fields(Separator::Comma) | Syntax::Json)
    }

    /// Adds the numbers of a line to the evidence for the decimal mark.
    pub(crate) fn note_decimals(&self, columns: &Columns, text: &[u8], line: u32, evidence: &mut DecimalEvidence) {
        let mut note = |cells: &Cells<'_>| {
            let amounts = Slot::ALL.into_iter().filter(|slot| slot.is_amount());
            amounts.filter_map(|slot| cells[slot as usize]).for_each(|field| evidence.note(field, line));
        };
        match columns.syntax() {
            Syntax::Fields(separator) => columns.pick(text, separator).iter().for_each(note),
            Syntax::Json => {
                if let Some(cells) = columns.pick_json(text) {
                    note(&cells.each_ref().map(Option::as_deref));
                }
            }
        }
    }

    /// Whether the numbers of a line can tell anything about the decimal mark that the layout does not say.
    pub(crate) fn may_show_decimals(&self, text: &[u8]) -> bool {
        match self.columns.syntax() {
            _ if self.decimals.is_none() => false,
            // Only a quoted field holds a comma.
            Syntax::Fields(Separator::Comma) => memchr::memchr(b'"', text).is_some(),
            Syntax::Fields(_) | Syntax::Json => true,
        }
    }

    /// Parses a line with these columns. `file` and `line` locate it; a time after `latest` is refused.
    ///
    /// # Errors
    /// The reason why the line is not a row.
    pub(crate) fn row(&self, columns: &Columns, text: &[u8], place: Place) -> Result<RecordingRow, RowRefusal> {
        match columns.syntax() {
            Syntax::Fields(separator) => {
                let misshapen = || self.misshapen(columns, text);
                let cells = columns.pick(text, separator).ok_or_else(misshapen)?;
                self.row_of(&cells, place, misshapen)
            }
            Syntax::Json => {
                let cells = columns.pick_json(text).ok_or_else(|| foreign_json(text))?;
                let cells = cells.each_ref().map(Option::as_deref);
                self.row_of(&cells, place, || self.misshapen_object(&cells))
            }
        }
    }

    fn row_of(
        &self,
        cells: &Cells<'_>,
        Place { file, line, latest }: Place,
        misshapen: impl Fn() -> RowRefusal,
    ) -> Result<RecordingRow, RowRefusal> {
        let of = |slot: Slot| cells[slot as usize];
        let (Some(time), Some(close)) = (of(Slot::Time), of(Slot::Close)) else { return Err(misshapen()) };
        let price = number::parse(close, self.decimal);
        let Some(stamp) = Stamp::parse(time, self.times) else {
            return Err(if matches!(price, Ok(Some(_))) { RowRefusal::Unparsable } else { misshapen() });
        };
        let candle = Slot::CANDLE.map(of);
        let Some(price) = price? else {
            let is_empty =
                |cell: &Option<&[u8]>| cell.is_none_or(|cell| matches!(number::parse(cell, self.decimal), Ok(None)));
            return Err(if candle.iter().all(is_empty) { RowRefusal::NoPrice } else { RowRefusal::IncompletePrice });
        };
        let event = stamp.event(latest)?;
        // Where all four prices are the same text, it is parsed only once.
        let cell = |field: Option<&[u8]>| match field {
            Some(field) if field == close => Ok(Some(price)),
            Some(field) => number::parse(field, self.decimal),
            None => Ok(None),
        };
        let [open, high, low] = candle;
        let (open, high, low, is_point) = match (cell(open)?, cell(high)?, cell(low)?) {
            (Some(open), Some(high), Some(low)) => (open, high, low, false),
            (None, None, None) => (price, price, price, true),
            _ => return Err(RowRefusal::IncompletePrice),
        };
        let volume = of(Slot::Volume).map_or(Ok(None), |field| self.volume(field))?;
        let quote_volume = of(Slot::QuoteVolume).map_or(Ok(None), |field| self.volume(field))?;
        let id = of(Slot::Id).and_then(parse_id);
        Ok(RecordingRow {
            event,
            open,
            high,
            low,
            close: price,
            volume,
            quote_volume,
            id,
            is_point,
            complete: None,
            is_behind_jump: false,
            line,
            file,
        })
    }

    fn volume(&self, field: &[u8]) -> Result<Option<f64>, RowRefusal> {
        match number::parse(field, self.decimal)? {
            Some(volume) if volume < 0.0 => Err(RowRefusal::NegativeVolume),
            volume => Ok(volume),
        }
    }

    /// Parses only the time of a line.
    pub(crate) fn stamp(&self, field: &[u8]) -> Option<Stamp> {
        Stamp::parse(field, self.times)
    }

    /// Classifies a line with a wrong number of fields: it is an unparsable row if it holds a time or several numbers,
    /// otherwise it is not a row.
    fn misshapen(&self, columns: &Columns, text: &[u8]) -> RowRefusal {
        let is_number = |part: &&[u8]| {
            let part = part.strip_prefix(b"\"").unwrap_or(part).trim_ascii();
            part.first().is_some_and(|byte| byte.is_ascii_digit() || b"+-.$".contains(byte))
        };
        // Another program may use another separator.
        let numbers = text.split(|byte| b",;\t|".contains(byte)).filter(is_number).count();
        let has_time = || columns.time(text).is_some_and(|field| self.stamp(&field).is_some());
        if has_time() || (numbers > 1 && !text.starts_with(b"#")) {
            RowRefusal::Unparsable
        } else {
            RowRefusal::Foreign
        }
    }

    /// Classifies an object without a time or without a price.
    fn misshapen_object(&self, cells: &Cells<'_>) -> RowRefusal {
        let has_time = cells[Slot::Time as usize].is_some_and(|field| self.stamp(field).is_some());
        let numbers = cells.iter().flatten().filter(|field| number::is_numeric(field)).count();
        if has_time || numbers > 1 { RowRefusal::Unparsable } else { RowRefusal::Foreign }
    }
}

/// Place of a line, and the latest time that a row may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Index of the file.
    pub(crate) file: u32,
    /// Line number, from 1.
    pub(crate) line: u32,
    pub(crate) latest: EventTime,
}

/// Classifies a line that is no JSON object: a damaged one is an unparsable row.
fn foreign_json(text: &[u8]) -> RowRefusal {
    if text.starts_with(b"{") { RowRefusal::Unparsable } else { RowRefusal::Foreign }
}

/// Parses a trade id; a text that is not a number gives `None`.
pub(crate) fn parse_id(field: &[u8]) -> Option<u64> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// A layout in words, as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutWords {
    /// FileFormat, such as `Binance klines`.
    pub format: &'static str,
    /// Time column with its unit, such as `open_time in µs`.
    pub time: String,
    /// Zone of times without offset; `None` when there are none.
    pub zone: Option<String>,
    /// Columns that are read, such as `close`, or with another name in the file, `time=Date`.
    pub columns: Vec<String>,
    /// Number of all columns.
    pub column_count: usize,
    /// Whether the file has a header.
    pub has_header: bool,
    /// Further notes, such as `decimal comma`.
    pub notes: Vec<String>,
    /// A remark about values that the columns do not tell.
    pub remark: Option<&'static str>,
    /// Rows with a time between 2009 and tomorrow.
    pub rows: u64,
}

impl LayoutWords {
    /// Describes a layout. `units` are those that the times have.
    pub(crate) fn of(layout: &Layout, units: &[Unit], rows: u64) -> Self {
        let Layout { format, columns, times, has_local_times, decimal, stamped_at, has_header, .. } = layout;
        let title = |slot: Slot| columns.title_of(slot).unwrap_or_default();
        let symbols = || units.iter().map(|unit| unit.symbol()).collect::<Vec<_>>().join(" and ");
        let (notation, zone) = match times {
            TimeNotation::Text(zone) => {
                let zone = has_local_times.then(|| zone.map_or("UTC", |zone| zone.name()).to_owned());
                ("as text".to_owned(), zone)
            }
            _ => (format!("in {}", symbols()), None),
        };
        let separator = match columns.syntax() {
            Syntax::Fields(separator) => separator.words().map(|words| format!("separated by {words}")),
            Syntax::Json => None,
        };
        let stamp = (*stamped_at == StampedAt::Close).then(|| "times are the ends of candles".to_owned());
        let decimal = (*decimal == Decimal::Comma).then(|| "decimal comma".to_owned());
        let column = |slot: Slot| match title(slot) {
            title if title == slot.name() => title.to_owned(),
            title => format!("{}={title}", slot.name()),
        };
        let read = Slot::ALL.into_iter().filter(|slot| columns.has(*slot));
        Self {
            format: format.words(),
            time: format!("{} {notation}", title(Slot::Time)),
            zone,
            columns: read.map(column).collect(),
            column_count: columns.titles().len(),
            has_header: *has_header,
            notes: [separator, decimal, stamp].into_iter().flatten().collect(),
            remark: format.remark(),
            rows,
        }
    }
}

/// Writes the layout as `Binance klines: open_time in µs, no header, 12 columns`.
impl fmt::Display for LayoutWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.format, self.time)?;
        if let Some(zone) = &self.zone {
            write!(f, ", without offset in {zone} (--time-zone)")?;
        }
        if !self.has_header {
            f.write_str(", no header")?;
        }
        write!(f, ", {} columns", self.column_count)?;
        self.notes.iter().try_for_each(|note| write!(f, ", {note}"))
    }
}

#[cfg(test)]
mod tests;
