//! A row of a recording, and the reasons why a line is not one.

use std::borrow::Cow;

use market::tick::TickLine;
use market::validate::Reason;
use market::{EventTime, Instrument, Span, Tick};

/// Name of this source in ticks.
pub const SOURCE: &str = "recording";

/// A row: a candle that begins at its event time, or a price at its event time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordingRow {
    /// Begin of a candle, or time of a price.
    pub event: EventTime,
    /// First price, in quote currency.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price; for a point, its price.
    pub close: f64,
    /// Volume traded, in units of the coin; absent when unknown.
    pub volume: Option<f64>,
    /// Value traded, in quote currency; absent when unknown.
    pub quote_volume: Option<f64>,
    /// Id of a trade: the file's own, or the position among the trades of its instant, from 0.
    pub id: Option<u64>,
    /// Whether the row is a price at an instant, not a candle.
    pub is_point: bool,
    /// For a point: the span before its event time in which the recording is complete.
    pub complete: Option<Span>,
    /// Whether a jump of the trade ids shows that trades before this row are missing.
    pub is_behind_jump: bool,
    /// Line number in its file, from 1.
    pub line: u32,
    /// Index of the file in the order of the command line.
    pub file: u32,
}

impl RecordingRow {
    /// Returns the key that duplicates share.
    pub(crate) fn identity(&self) -> (EventTime, Option<u64>, bool) {
        (self.event, self.id, self.is_point)
    }

    /// Whether a row of the same identity has the same values.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let values = |row: &Self| (row.open, row.high, row.low, row.close, row.volume, row.quote_volume);
        values(self) == values(other)
    }

    /// Converts the row to a tick that was received at `ingest_ms`; a candle has the length `grain`. Prices that equal
    /// the close are left out.
    pub fn to_line<'a>(&self, instrument: &'a Instrument, grain: Option<Span>, ingest_ms: i64) -> TickLine<'a> {
        let &Self { event, complete, id, open, high, low, close, volume, quote_volume, .. } = self;
        let grain = grain.filter(|_| !self.is_point);
        let tick = Tick { grain, complete, id, open, high, low, volume, quote_volume, ..Tick::point(event, close) };
        let line = TickLine::new(instrument.coin(), instrument.quote(), &tick, ingest_ms);
        TickLine { source: Some(Cow::Borrowed(SOURCE)), ..line }
    }

    /// Formats the row in the documented column order, for rows that are refused after their line is gone.
    pub fn text(&self) -> String {
        let Self { event, open, high, low, close, volume, .. } = self;
        let volume = volume.map(|volume| volume.to_string()).unwrap_or_default();
        format!("{},{open},{high},{low},{close},{volume}", event.ms())
    }
}

/// Reason why a line of a recording does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowRefusal {
    /// A comment, a text, or fields without time and price.
    Foreign,
    /// A header after the first one. Its columns are those of the rows after it.
    Header,
    /// A time without a price.
    NoPrice,
    /// A candle that has not ended yet.
    Unfinished,
    /// A time or number that cannot be parsed, or a wrong number of fields.
    Unparsable,
    /// A line longer than any row.
    TooLong,
    /// Only some of open, high and low are given.
    IncompletePrice,
    /// A time with a fraction of a millisecond.
    FractionalTime,
    /// A time before 2009, when no coin had a price.
    Before2009,
    /// A local time that does not exist, because clocks went forward.
    NonexistentTime,
    /// A local time that exists twice, because clocks went back.
    AmbiguousTime,
    /// A volume below zero.
    NegativeVolume,
    /// Different prices within one trade.
    NotATrade,
    /// Older than a row that was read before: the file changed during the reading.
    OutOfOrder,
    /// A single row that is further from its neighbors than the largest step.
    Jump,
    /// A reason for which the stream-processor rejects a tick.
    Invalid(Reason),
}

impl RowRefusal {
    /// A time after now.
    pub const FUTURE: Self = Self::Invalid(Reason::Future);

    /// Returns the reason as it is written into summaries and rejects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Header => "header",
            Self::NoPrice => "no-price",
            Self::Unfinished => "unfinished",
            Self::Unparsable => "unparsable",
            Self::TooLong => "too-long",
            Self::IncompletePrice => "incomplete-price",
            Self::FractionalTime => "fractional-time",
            Self::Before2009 => "before-2009",
            Self::NonexistentTime => "nonexistent-time",
            Self::AmbiguousTime => "ambiguous-time",
            Self::NegativeVolume => "negative-volume",
            Self::NotATrade => "not-a-trade",
            Self::OutOfOrder => "out-of-order",
            Self::Jump => "jump",
            Self::Invalid(reason) => reason.as_str(),
        }
    }
}

impl From<Reason> for RowRefusal {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}
