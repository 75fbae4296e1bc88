//! Kinds of records, their subject tokens and schemas.

use std::fmt;

use market::Window;

use crate::stream::Stream;

/// The kind of a record: the third token of a stored subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// FEED: observations.
    Tick,
    /// FEED and MARKET: no earlier event time follows.
    Heartbeat,
    /// FEED and MARKET: a span without data.
    Gap,
    /// MARKET: accepted ticks.
    Price,
    /// MARKET: final 1-minute candles.
    Candle,
    /// MARKET: ticks after the allowed lateness.
    Late,
    /// MARKET: refused records.
    Rejected,
    /// STATS: final candles of a longer window.
    Stats(Window),
    /// STATS: rows of the hour-of-day profile.
    HourOfDay,
    /// FORECAST: a forecast for a coming candle.
    Next,
    /// FORECAST: a forecast with the actual value and its error.
    Score,
    /// FORECAST: a trained model and its status.
    Model,
}

impl RecordKind {
    /// The stream and kind of the final candles of a window.
    pub fn of_candles(window: Window) -> (Stream, Self) {
        match window {
            Window::Minute => (Stream::Market, Self::Candle),
            longer => (Stream::Stats, Self::Stats(longer)),
        }
    }

    /// The kind as a subject token.
    pub fn token(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Heartbeat => "heartbeat",
            Self::Gap => "gap",
            Self::Price => "price",
            Self::Candle => "candle-1m",
            Self::Late => "late",
            Self::Rejected => "rejected",
            Self::Stats(window) => window.name(),
            Self::HourOfDay => "hour-of-day",
            Self::Next => "next",
            Self::Score => "score",
            Self::Model => "model",
        }
    }

    /// Whether a reader must see messages of this kind in the order of their inputs, relative to the other sequenced
    /// kinds. Whether a tick is late depends on the messages before it.
    pub fn is_sequenced(self) -> bool {
        matches!(self, Self::Heartbeat | Self::Gap | Self::Price)
    }

    /// The value of the schema header for messages of this kind: record and version.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Tick => "tick/1",
            Self::Heartbeat => "heartbeat/1",
            Self::Gap => "gap/1",
            Self::Price => "price/1",
            Self::Candle | Self::Stats(_) => "candle/1",
            Self::Late => "late/1",
            Self::Rejected => "rejected/1",
            Self::HourOfDay => "hour-of-day/1",
            Self::Next => "next/1",
            Self::Score => "score/2",
            Self::Model => "model/3",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}
