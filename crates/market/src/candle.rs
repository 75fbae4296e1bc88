//! Candles: what a window of ticks comes to.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::exact::ExactSum;
use crate::instrument::Instrument;
use crate::tick::{Identity, Tick};
use crate::time::{EventTime, Span};
use crate::window::Window;

/// One window of one instrument: final (closed) or provisional (still open).
#[derive(Debug, Clone, PartialEq)]
pub struct Candle {
    /// Coin.
    pub coin: Arc<str>,
    /// Quote currency.
    pub quote: Arc<str>,
    /// Kind of window.
    pub window: Window,
    /// First instant of the window.
    pub start: EventTime,
    /// First instant after the window.
    pub end: EventTime,
    /// Open of the earliest tick by (event time, id).
    pub open: f64,
    /// Highest high.
    pub high: f64,
    /// Lowest low.
    pub low: f64,
    /// Close of the latest tick by (event time, id).
    pub close: f64,
    /// Mean of the ticks' closes: the exact sum divided by `count`, rounded once.
    pub average: f64,
    /// Volume traded, in units of the coin; absent when no tick knew it.
    pub volume: Option<f64>,
    /// Ticks.
    pub count: u64,
    /// Share of the window that was observed, 0 to 1: Σ min(grain, end − event time) ÷ length, at most 1.
    pub coverage: f64,
    /// Longest grain among the ticks. Longer than the window's hop: the candle is coarse.
    pub grain: Span,
    /// 0 while provisional, then 1, then 1 + the number of late ticks applied since the window closed.
    pub revision: u32,
    /// Whether the window has closed.
    pub is_final: bool,
    /// Smallest FEED sequence among the ticks.
    pub first_seq: u64,
    /// Largest FEED sequence among the ticks.
    pub last_seq: u64,
}

impl Candle {
    /// The instrument.
    ///
    /// # Panics
    /// Never for candles of this pipeline, whose names were checked when their ticks entered.
    pub fn instrument(&self) -> Instrument {
        Instrument::new(&self.coin, &self.quote).expect("a candle's names were checked at the edge")
    }

    /// Whether ticks stand for longer spans than the window's hop: shown in tables, unfit for models and charts.
    pub fn is_coarse(&self) -> bool {
        self.grain > self.window.hop()
    }
}

/// A candle as it travels: `{"coin":"bitcoin","quote":"usd","window":"1m","start_ms":…,"end_ms":…,"open":…,"high":…,
/// "low":…,"close":…,"average":…,"volume":…,"count":4,"coverage":1.0,"grain_ms":60000,"revision":1,"final":true,
/// "first_seq":…,"last_seq":…}`. Open, high and low are left out when equal to close, volume when unknown.
#[derive(Serialize, Deserialize)]
struct CandleLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    window: Window,
    start_ms: EventTime,
    end_ms: EventTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    close: f64,
    average: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume: Option<f64>,
    count: u64,
    coverage: f64,
    grain_ms: Span,
    revision: u32,
    #[serde(rename = "final")]
    is_final: bool,
    first_seq: u64,
    last_seq: u64,
}

impl Serialize for Candle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unless_close = |price: f64| (price != self.close).then_some(price);
        CandleLine {
            coin: Cow::Borrowed(&self.coin),
            quote: Cow::Borrowed(&self.quote),
            window: self.window,
            start_ms: self.start,
            end_ms: self.end,
            open: unless_close(self.open),
            high: unless_close(self.high),
            low: unless_close(self.low),
            close: self.close,
            average: self.average,
            volume: self.volume,
            count: self.count,
            coverage: self.coverage,
            grain_ms: self.grain,
            revision: self.revision,
            is_final: self.is_final,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Candle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = CandleLine::deserialize(deserializer)?;
        Instrument::new(&line.coin, &line.quote).map_err(serde::de::Error::custom)?;
        Ok(Self {
            coin: line.coin.into(),
            quote: line.quote.into(),
            window: line.window,
            start: line.start_ms,
            end: line.end_ms,
            open: line.open.unwrap_or(line.close),
            high: line.high.unwrap_or(line.close),
            low: line.low.unwrap_or(line.close),
            close: line.close,
            average: line.average,
            volume: line.volume,
            count: line.count,
            coverage: line.coverage,
            grain: line.grain_ms,
            revision: line.revision,
            is_final: line.is_final,
            first_seq: line.first_seq,
            last_seq: line.last_seq,
        })
    }
}

/// A window's ticks so far, in constant space, whatever the order in which they come. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    earliest: Identity,
    latest: Identity,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    closes: ExactSum,
    volumes: Option<ExactSum>,
    count: u64,
    /// Σ min(grain, window end − event time).
    covered: Span,
    grain: Span,
    first_seq: u64,
    last_seq: u64,
}

/// A tick on its way into windows: what it adds to their sums is worked out once for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    tick: &'a Tick,
    close: ExactSum,
    volume: Option<ExactSum>,
}

const IN_RANGE: &str = "validated prices and volumes fit an exact sum";

impl<'a> Term<'a> {
    /// Works out what a tick adds.
    ///
    /// # Panics
    /// When the tick was not validated: prices and volumes in range always fit an exact sum.
    pub fn new(tick: &'a Tick) -> Self {
        let exact = |value| ExactSum::from_f64(value).expect(IN_RANGE);
        Self { tick, close: exact(tick.close), volume: tick.volume.map(exact) }
    }
}

impl Partial {
    /// Starts a window that ends at `end` with its first tick.
    ///
    /// # Panics
    /// Never in a stream's life: sums have room for 2^25 ticks and more.
    pub fn new(term: &Term<'_>, end: EventTime) -> Self {
        let tick = term.tick;
        let mut partial = Self {
            earliest: tick.identity(),
            latest: tick.identity(),
            open: tick.open,
            high: tick.high,
            low: tick.low,
            close: tick.close,
            closes: ExactSum::default(),
            volumes: None,
            count: 0,
            covered: Span(0),
            grain: tick.grain,
            first_seq: tick.feed_seq,
            last_seq: tick.feed_seq,
        };
        partial.add(term, end);
        partial
    }

    /// Adds a tick of the window that ends at `end`.
    ///
    /// # Panics
    /// As [`Partial::new`].
    pub fn add(&mut self, term: &Term<'_>, end: EventTime) {
        let tick = term.tick;
        if tick.identity() < self.earliest {
            self.earliest = tick.identity();
            self.open = tick.open;
        }
        if tick.identity() > self.latest {
            self.latest = tick.identity();
            self.close = tick.close;
        }
        self.high = self.high.max(tick.high);
        self.low = self.low.min(tick.low);
        self.closes.merge(&term.close).expect(IN_RANGE);
        if let Some(volume) = &term.volume {
            self.volumes.get_or_insert_default().merge(volume).expect(IN_RANGE);
        }
        self.count += 1;
        self.covered = Span(self.covered.ms().saturating_add(tick.grain.min(end - tick.event).ms()));
        self.grain = self.grain.max(tick.grain);
        self.first_seq = self.first_seq.min(tick.feed_seq);
        self.last_seq = self.last_seq.max(tick.feed_seq);
    }

    /// The candle of the window of this kind that begins at `start`; provisional when `revision` is 0.
    pub fn candle(&self, instrument: &Instrument, window: Window, start: EventTime, revision: u32) -> Candle {
        let coverage = self.covered.ms() as f64 / window.size().ms() as f64;
        let (coin, quote) = instrument.names();
        Candle {
            coin,
            quote,
            window,
            start,
            end: window.end(start),
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            average: self.closes.mean(self.count),
            volume: self.volumes.map(|sum| sum.to_f64()),
            count: self.count,
            coverage: coverage.min(1.0),
            grain: self.grain,
            revision,
            is_final: revision > 0,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(event: i64, grain: i64, close: f64) -> Tick {
        Tick {
            event: EventTime(event),
            grain: Span(grain),
            id: None,
            open: close,
            high: close,
            low: close,
            close,
            volume: None,
            feed_seq: event as u64,
        }
    }

    #[test]
    fn a_tick_covers_no_more_than_what_is_left_of_its_window() {
        let end = EventTime(60_000);
        let mut partial = Partial::new(&Term::new(&tick(30_000, 45_000, 10.0)), end);
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        assert_eq!(partial.candle(&instrument, Window::Minute, EventTime(0), 1).coverage, 0.5);
        partial.add(&Term::new(&tick(0, 60_000, 8.0)), end);
        let candle = partial.candle(&instrument, Window::Minute, EventTime(0), 1);
        assert_eq!((candle.coverage, candle.open, candle.close, candle.average), (1.0, 8.0, 10.0, 9.0));
        assert_eq!((candle.first_seq, candle.last_seq, candle.count), (0, 30_000, 2));
    }
}
