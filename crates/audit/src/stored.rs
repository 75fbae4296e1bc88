//! Parser of MARKET and STATS lines into rows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bus::RecordKind;
use serde::Deserialize;

use crate::compare::{Found, Table};
use crate::message::AuditedMessage;
use crate::names::InstrumentNames;
use crate::rows::{Candle, Gap, Heartbeat, HourOfDay, Late, Price, Rejected};

/// The tables of MARKET.
#[derive(Debug, Default)]
pub(crate) struct MarketTables {
    pub(crate) prices: Table<Price>,
    pub(crate) late: Table<Late>,
    pub(crate) rejected: Table<Rejected>,
    pub(crate) heartbeats: Table<Heartbeat>,
    pub(crate) gaps: Table<Gap>,
    pub(crate) candles: Table<Candle>,
}

impl MarketTables {
    /// Adds the lines of a message.
    pub(crate) fn read(&mut self, message: &AuditedMessage<'_>, names: InstrumentNames<'_>) {
        match message.kind {
            RecordKind::Price => self.prices.read(message, |line: PriceLine<'_>| line.row(names)),
            RecordKind::Late => self.late.read(message, |line: LateLine<'_>| line.row(names)),
            RecordKind::Rejected => self.rejected.read(message, Some),
            RecordKind::Heartbeat => self.heartbeats.read(message, |line: HeartbeatLine<'_>| line.row(names)),
            RecordKind::Gap => self.gaps.read(message, |line: GapLine<'_>| line.row(names)),
            _ => self.candles.read(message, |line: CandleLine<'_>| line.row(names, "1m")),
        }
    }
}

/// The tables of STATS.
#[derive(Debug, Default)]
pub(crate) struct StatsTables {
    /// By window name.
    pub(crate) candles: BTreeMap<&'static str, Table<Candle>>,
    pub(crate) hours_of_day: Table<HourOfDay>,
}

impl StatsTables {
    /// Adds the lines of a message.
    pub(crate) fn read(&mut self, message: &AuditedMessage<'_>, names: InstrumentNames<'_>) {
        match message.kind {
            RecordKind::HourOfDay => self.hours_of_day.read(message, |line: HourOfDayLine<'_>| line.row(names)),
            window => {
                let table = self.candles.entry(window.token()).or_default();
                table.read(message, |line: CandleLine<'_>| line.row(names, window.token()));
            }
        }
    }
}

impl<R> Table<R> {
    /// Adds the rows of a message; lines that are no such row are listed as unreadable.
    fn read<'de, W: Deserialize<'de>>(&mut self, message: &AuditedMessage<'de>, row_of: impl Fn(W) -> Option<R>) {
        for (raw, number) in message.payload.split(|&byte| byte == b'\n').zip(0_u32..) {
            if raw.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<W>(raw).ok().and_then(&row_of) {
                Some(row) => self.found.push(Found { row, has_whole_commit: message.has_whole_commit }),
                None => self.unreadable.push(format!("line {number} of message {}", message.seq)),
            }
        }
    }
}

#[derive(Deserialize)]
struct PriceLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    event_ms: i64,
    grain_ms: Option<i64>,
    complete_ms: Option<i64>,
    id: Option<u64>,
    open: Option<f64>,
    high: Option<f64>,
    low: Option<f64>,
    close: f64,
    volume: Option<f64>,
    quote_volume: Option<f64>,
    #[serde(default)]
    filled: bool,
    feed_seq: u64,
}

#[derive(Deserialize)]
struct LateLine<'a> {
    #[serde(flatten, borrow)]
    price: PriceLine<'a>,
    line: u32,
    late_ms: i64,
}

#[derive(Deserialize)]
struct HeartbeatLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    event_ms: i64,
    complete_ms: Option<i64>,
    ingest_ms: i64,
    #[serde(default)]
    flush: bool,
}

#[derive(Deserialize)]
struct GapLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    from_ms: i64,
    to_ms: i64,
    cause: String,
}

#[derive(Deserialize)]
struct CandleLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    #[serde(borrow)]
    window: Cow<'a, str>,
    start_ms: i64,
    end_ms: i64,
    open: Option<f64>,
    high: Option<f64>,
    low: Option<f64>,
    close: f64,
    average: f64,
    volume: Option<f64>,
    volume_count: Option<u64>,
    quote_volume: Option<f64>,
    vwap: Option<f64>,
    count: u64,
    filled: Option<u64>,
    coverage: f64,
    grain_ms: Option<i64>,
    revision: u64,
    #[serde(rename = "final")]
    is_final: bool,
    first_seq: u64,
    last_seq: u64,
}

#[derive(Deserialize)]
struct HourOfDayLine<'a> {
    #[serde(borrow)]
    coin: Cow<'a, str>,
    #[serde(borrow)]
    quote: Cow<'a, str>,
    #[serde(flatten)]
    row: HourOfDay,
}

// Each line becomes a row unless it belongs to another instrument. Absent prices equal the close.

impl PriceLine<'_> {
    fn row(self, names: InstrumentNames<'_>) -> Option<Price> {
        let Self { event_ms, grain_ms, complete_ms, id, close, volume, quote_volume, filled, feed_seq, .. } = self;
        let [open, high, low] = [self.open, self.high, self.low].map(|price| price.unwrap_or(close));
        names.match_line(&self.coin, &self.quote).then_some(Price {
            feed_seq,
            event_ms,
            grain_ms,
            complete_ms,
            id,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            filled,
        })
    }
}

impl LateLine<'_> {
    fn row(self, names: InstrumentNames<'_>) -> Option<Late> {
        Some(Late { price: self.price.row(names)?, line: self.line, late_ms: self.late_ms })
    }
}

impl HeartbeatLine<'_> {
    fn row(self, names: InstrumentNames<'_>) -> Option<Heartbeat> {
        let Self { event_ms, complete_ms, ingest_ms, flush, .. } = self;
        names.match_line(&self.coin, &self.quote).then_some(Heartbeat { event_ms, complete_ms, ingest_ms, flush })
    }
}

impl GapLine<'_> {
    fn row(self, names: InstrumentNames<'_>) -> Option<Gap> {
        let matches = names.match_line(&self.coin, &self.quote);
        matches.then_some(Gap { from_ms: self.from_ms, to_ms: self.to_ms, cause: self.cause })
    }
}

impl CandleLine<'_> {
    fn row(self, names: InstrumentNames<'_>, window: &str) -> Option<Candle> {
        let matches = names.match_line(&self.coin, &self.quote) && self.window == window;
        matches.then_some(Candle {
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            open: self.open.unwrap_or(self.close),
            high: self.high.unwrap_or(self.close),
            low: self.low.unwrap_or(self.close),
            close: self.close,
            average: self.average,
            volume: self.volume,
            volume_count: self.volume_count,
            quote_volume: self.quote_volume,
            vwap: self.vwap,
            count: self.count,
            filled: self.filled,
            coverage: self.coverage,
            grain_ms: self.grain_ms,
            revision: self.revision,
            is_final: self.is_final,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
        })
    }
}

impl HourOfDayLine<'_> {
    fn row(self, names: InstrumentNames<'_>) -> Option<HourOfDay> {
        names.match_line(&self.coin, &self.quote).then_some(self.row)
    }
}
