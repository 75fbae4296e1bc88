//! Ticks: one observation of a price, as a value and as records.

use std::borrow::Cow;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

/// One validated observation of one instrument.
///
/// With a grain it is a *bar*, which covers `[event, event + grain)`: a candle row of a file or an endpoint. Without
/// one it is a *point* at `event`: a quote or a trade.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Event time, by the source's clock; the first instant of a bar.
    pub event: EventTime,
    /// Length of a bar; absent for a point.
    pub grain: Option<Span>,
    /// The source is certified for `[event − complete, event)`: FEED has every observation of that span by now. Absent
    /// when the source certifies nothing, as for bars.
    pub complete: Option<Span>,
    /// The source's number for the observation, where several may share a millisecond.
    pub id: Option<u64>,
    /// First price of a bar; equal to `close` for a point.
    pub open: f64,
    /// Highest price of a bar.
    pub high: f64,
    /// Lowest price of a bar.
    pub low: f64,
    /// Last price of a bar, or the price of a point, in quote currency.
    pub close: f64,
    /// Volume traded, in units of the coin; absent when unknown.
    pub volume: Option<f64>,
    /// Value traded, in quote currency: the sum of price × size over the trades, rounded by the source. Absent when
    /// unknown.
    pub quote_volume: Option<f64>,
    /// Whether the source fetched the tick afterwards, to fill a hole or as history, instead of live.
    pub filled: bool,
    /// Sequence of the FEED message that holds the tick.
    pub feed_seq: u64,
}

/// The identity of a tick within its instrument: two ticks with the same identity are duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TickIdentity {
    /// The tick's event time.
    pub event: EventTime,
    /// The source's number, ordered before the grain so that open and close follow (event time, id).
    pub id: Option<u64>,
    /// The tick's grain.
    pub grain: Option<Span>,
}

/// Bars of at most this length may cross the end of a window: they count in the one in which they begin.
const CROSSING_MAX: Span = Span::MINUTE;

/// Whether a tick counts in the window `[start, end)`. A point, and a bar of at most a minute, counts in the windows
/// that contain its event time; a longer bar only in windows that hold all of it, so that no window holds a price from
/// after its end.
pub fn counts_in(event: EventTime, grain: Option<Span>, start: EventTime, end: EventTime) -> bool {
    let is_inside = start <= event && event < end;
    is_inside && grain.is_none_or(|grain| grain <= CROSSING_MAX || event + grain <= end)
}

impl Tick {
    /// Creates a point with this price, of which nothing else is known; `feed_seq` is 0.
    pub fn point(event: EventTime, price: f64) -> Self {
        Self {
            event,
            grain: None,
            complete: None,
            id: None,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: None,
            quote_volume: None,
            filled: false,
            feed_seq: 0,
        }
    }

    /// Creates a bar with these prices (open, high, low, close), of which nothing else is known; `feed_seq` is 0.
    pub fn bar(event: EventTime, grain: Span, [open, high, low, close]: [f64; 4]) -> Self {
        Self { grain: Some(grain), open, high, low, ..Self::point(event, close) }
    }

    /// Returns the tick's identity within its instrument.
    pub fn identity(&self) -> TickIdentity {
        TickIdentity { event: self.event, id: self.id, grain: self.grain }
    }

    /// Whether the tick counts in the window `[start, end)`: see [`counts_in`].
    pub fn counts_in(&self, start: EventTime, end: EventTime) -> bool {
        counts_in(self.event, self.grain, start, end)
    }

    /// Whether the tick is a bar of more than a minute, for which some windows are too short.
    pub(crate) fn is_long(&self) -> bool {
        self.grain.is_some_and(|grain| grain > CROSSING_MAX)
    }

    /// Whether the tick counts for its hour of the day: a point does, and a bar within one UTC hour.
    pub fn counts_in_hour(&self) -> bool {
        let hour_end = self.event.floor(Span::HOUR) + Span::HOUR;
        self.grain.is_none_or(|grain| self.event + grain <= hour_end)
    }

    /// Returns the end of a bar, exclusive, or the event time of a point.
    pub fn end(&self) -> EventTime {
        self.grain.map_or(self.event, |grain| self.event + grain)
    }

    /// Returns the span `[event − complete, event)` for which the source is certified.
    pub fn certified(&self) -> Option<(EventTime, EventTime)> {
        self.complete.map(|complete| (self.event.saturating_sub(complete), self.event))
    }
}

/// A tick on FEED: `{"coin":"bitcoin","quote":"usd","event_ms":1747517892000,"complete_ms":60000,"close":103376.0,
/// "ingest_ms":1747517893120,"source":"coingecko"}`. Not yet validated; see [`crate::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// Event time in milliseconds.
    pub event_ms: i64,
    /// Length of a bar in milliseconds; left out for a point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grain_ms: Option<i64>,
    /// How far back from `event_ms` the source is certified, in milliseconds; left out for bars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_ms: Option<i64>,
    /// The source's number for the observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Open, left out when equal to `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<f64>,
    /// High, left out when equal to `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Low, left out when equal to `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Close, in quote currency.
    pub close: f64,
    /// Volume traded, in units of the coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<f64>,
    /// Value traded, in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_volume: Option<f64>,
    /// Whether the tick was fetched afterwards; left out when it was not.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub filled: bool,
    /// Ingest time by the producer's clock, in milliseconds.
    pub ingest_ms: i64,
    /// The source, such as `coingecko`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    /// Market capitalization in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market_cap: Option<f64>,
    /// Rolling 24-hour volume, in quote currency; never a candle's volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_24h: Option<f64>,
    /// Rolling 24-hour high; never a candle's high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_24h: Option<f64>,
    /// Rolling 24-hour low; never a candle's low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_24h: Option<f64>,
}

/// An accepted tick on MARKET: `{"coin":"bitcoin","quote":"usd","event_ms":1747517892000,"complete_ms":60000,
/// "close":103376.0,"feed_seq":812}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// Event time in milliseconds.
    pub event_ms: i64,
    /// Length of a bar in milliseconds; left out for a point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grain_ms: Option<i64>,
    /// How far back from `event_ms` the source is certified, in milliseconds; left out for bars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_ms: Option<i64>,
    /// The source's number for the observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Open, left out when equal to `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<f64>,
    /// High, left out when equal to `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Low, left out when equal to `close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Close, in quote currency.
    pub close: f64,
    /// Volume traded, in units of the coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<f64>,
    /// Value traded, in quote currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_volume: Option<f64>,
    /// Whether the tick was fetched afterwards; left out when it was not.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub filled: bool,
    /// Sequence of the FEED message that holds the tick.
    pub feed_seq: u64,
}

/// A tick that came after the allowed lateness of its window: a price with `late_ms` beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateLine<'a> {
    /// The tick as a price line.
    #[serde(flatten, borrow)]
    pub price: PriceLine<'a>,
    /// Its line within the FEED message, counted from 0.
    pub line: u32,
    /// How far its event time was behind the watermark, or behind the horizon of the acceptance memory where that is
    /// further, in milliseconds. Above zero.
    pub late_ms: i64,
}

impl<'a> TickLine<'a> {
    /// Creates the record of a tick that was received at `ingest_ms`; fields that equal their default are left out, and
    /// the source is not named.
    pub fn new(coin: impl Into<Cow<'a, str>>, quote: impl Into<Cow<'a, str>>, tick: &Tick, ingest_ms: i64) -> Self {
        let unless_close = |price: f64| (price != tick.close).then_some(price);
        Self {
            coin: coin.into(),
            quote: quote.into(),
            event_ms: tick.event.ms(),
            grain_ms: tick.grain.map(Span::ms),
            complete_ms: tick.complete.map(Span::ms),
            id: tick.id,
            open: unless_close(tick.open),
            high: unless_close(tick.high),
            low: unless_close(tick.low),
            close: tick.close,
            volume: tick.volume,
            quote_volume: tick.quote_volume,
            filled: tick.filled,
            ingest_ms,
            source: None,
            market_cap: None,
            volume_24h: None,
            high_24h: None,
            low_24h: None,
        }
    }
}

impl<'a> PriceLine<'a> {
    /// Creates the record of a tick; fields that equal their default are left out.
    pub fn new(coin: &'a str, quote: &'a str, tick: &Tick) -> Self {
        let unless_close = |price: f64| (price != tick.close).then_some(price);
        Self {
            coin: Cow::Borrowed(coin),
            quote: Cow::Borrowed(quote),
            event_ms: tick.event.ms(),
            grain_ms: tick.grain.map(Span::ms),
            complete_ms: tick.complete.map(Span::ms),
            id: tick.id,
            open: unless_close(tick.open),
            high: unless_close(tick.high),
            low: unless_close(tick.low),
            close: tick.close,
            volume: tick.volume,
            quote_volume: tick.quote_volume,
            filled: tick.filled,
            feed_seq: tick.feed_seq,
        }
    }

    /// Returns the tick of this record, without validation: MARKET holds only validated ticks.
    pub fn tick(&self) -> Tick {
        Tick {
            event: EventTime(self.event_ms),
            grain: self.grain_ms.map(Span),
            complete: self.complete_ms.map(Span),
            id: self.id,
            open: self.open.unwrap_or(self.close),
            high: self.high.unwrap_or(self.close),
            low: self.low.unwrap_or(self.close),
            close: self.close,
            volume: self.volume,
            quote_volume: self.quote_volume,
            filled: self.filled,
            feed_seq: self.feed_seq,
        }
    }
}
