//! One row of a recording, and why a line is none.

use std::borrow::Cow;

use market::tick::TickLine;
use market::validate::Reason;
use market::{EventTime, Instrument, Span};

/// The source of every tick of a recording.
pub const SOURCE: &str = "recording";

/// A row: a candle from its event time on, or a price at its event time, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When a candle begins, or when there was this price.
    pub event: EventTime,
    /// First price, in quote currency.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price; for a point the price.
    pub close: f64,
    /// Volume traded, in units of the coin; absent when unknown.
    pub volume: Option<f64>,
    /// The number of a trade: the file's own, or its place among the trades of its instant, from 0.
    pub id: Option<u64>,
    /// Whether it is a price at an instant, and no candle.
    pub is_point: bool,
    /// For a point, how far back from its event time the recording has every price.
    pub complete: Option<Span>,
    /// Whether the numbers of the file's trades say that some are missing before it.
    pub is_behind_jump: bool,
    /// Its line in its file, counted from 1.
    pub line: u32,
    /// The file, by its place on the command line.
    pub file: u32,
}

impl Row {
    /// What it has in common with its duplicates.
    pub(crate) fn identity(&self) -> (EventTime, Option<u64>, bool) {
        (self.event, self.id, self.is_point)
    }

    /// Whether another row of the same identity says the same.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let values = |row: &Self| (row.open, row.high, row.low, row.close, row.volume);
        values(self) == values(other)
    }

    /// The row as a tick that was received at `ingest_ms`: a candle observed `grain` from its event time on. What equals
    /// the close is left out.
    pub fn to_line<'a>(&self, instrument: &'a Instrument, grain: Option<Span>, ingest_ms: i64) -> TickLine<'a> {
        let unless_close = |price: f64| (price != self.close).then_some(price);
        TickLine {
            coin: Cow::Borrowed(instrument.coin()),
            quote: Cow::Borrowed(instrument.quote()),
            event_ms: self.event.ms(),
            grain_ms: grain.filter(|_| !self.is_point).map(Span::ms),
            complete_ms: self.complete.map(Span::ms),
            id: self.id,
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

/// Why a line of a recording does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A comment, text, or fields without time and price.
    Foreign,
    /// A header that is not the first: the reading ends there.
    Header,
    /// A time without a price.
    NoPrice,
    /// A candle that has not ended yet.
    Unfinished,
    /// A time or a number that cannot be read, or more or fewer fields than the header has.
    Unparsable,
    /// A line longer than any row.
    TooLong,
    /// Open, high and low are given in part.
    IncompletePrice,
    /// A time with a fraction of a millisecond.
    FractionalTime,
    /// A time before 2009, when no coin had a price.
    Before2009,
    /// A volume below zero.
    NegativeVolume,
    /// Prices that differ within one trade.
    NotATrade,
    /// Older than what was already taken: the file was changed while it was read.
    OutOfOrder,
    /// Alone, further from its neighbours than the largest step.
    Jump,
    /// What no tick may be, by the name that MARKET gives it.
    Invalid(Reason),
}

impl Refusal {
    /// Later than now.
    pub const FUTURE: Self = Self::Invalid(Reason::Future);

    /// The reason as it is written into summaries and rejects.
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
            Self::NegativeVolume => "negative-volume",
            Self::NotATrade => "not-a-trade",
            Self::OutOfOrder => "out-of-order",
            Self::Jump => "jump",
            Self::Invalid(reason) => reason.as_str(),
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}
