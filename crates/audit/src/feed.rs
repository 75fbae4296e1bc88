//! Parser and validation of FEED lines, written independently of the steps.

use bus::RecordKind;
use bytes::Bytes;
use serde::Deserialize;

use crate::message::AuditedMessage;
use crate::names::InstrumentNames;
use crate::rows::{Gap, Heartbeat, Price};

/// A message of FEED.
#[derive(Debug, Clone)]
pub(crate) struct FeedMessage {
    /// Stream sequence.
    pub(crate) seq: u64,
    /// Time of storing, in milliseconds since the epoch.
    pub(crate) stored_ms: i64,
    /// Record kind of its subject: ticks, heartbeats or gaps.
    pub(crate) kind: RecordKind,
    /// Schema named by its header, such as `tick/1`; `None` without the header.
    pub(crate) schema: Option<String>,
    /// Whether the payload is decoded, not in an unknown encoding.
    pub(crate) is_decoded: bool,
    /// The lines.
    pub(crate) payload: Bytes,
}

impl FeedMessage {
    /// Copies a message for the judgment that follows once all are read.
    pub(crate) fn new(message: &AuditedMessage<'_>) -> Self {
        let AuditedMessage { seq, stored_ms, kind, is_decoded, .. } = *message;
        let schema = message.schema.map(str::to_owned);
        Self { seq, stored_ms, kind, schema, is_decoded, payload: Bytes::copy_from_slice(message.payload) }
    }
}

/// The record of a line, before it is judged against earlier lines.
#[derive(Debug, PartialEq)]
pub(crate) enum FeedRecord {
    Tick(Price),
    Heartbeat(Heartbeat),
    Gap(Gap),
}

/// A line, or a whole unreadable message, with its record or the reason for refusing it.
pub(crate) struct Line<'a> {
    pub(crate) number: u32,
    pub(crate) raw: &'a [u8],
    pub(crate) record: Result<FeedRecord, &'static str>,
}

const LINES_MAX: usize = 500;
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// No coin had a price before 2009.
const YEAR_2009_MS: i64 = 1_230_768_000_000;
const YEAR_10000_MS: i64 = 253_402_300_800_000;
const GRAIN_MS_MAX: i64 = 366 * 86_400_000;
const AHEAD_MS_MAX: i64 = 120_000;
/// Every bit of a volume or quote volume from here on is worth at least 2^-128.
const VOLUME_MIN: f64 = 2.646_977_960_169_688_6e-23;

#[derive(Deserialize)]
struct TickLine {
    coin: String,
    quote: String,
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
    ingest_ms: i64,
    #[serde(rename = "source")]
    _source: Option<String>,
    #[serde(rename = "market_cap")]
    _market_cap: Option<f64>,
    #[serde(rename = "volume_24h")]
    _volume_24h: Option<f64>,
    #[serde(rename = "high_24h")]
    _high_24h: Option<f64>,
    #[serde(rename = "low_24h")]
    _low_24h: Option<f64>,
}

#[derive(Deserialize)]
struct HeartbeatLine {
    coin: String,
    quote: String,
    event_ms: i64,
    complete_ms: Option<i64>,
    ingest_ms: i64,
    #[serde(default)]
    flush: bool,
}

#[derive(Deserialize)]
struct GapLine {
    coin: String,
    quote: String,
    from_ms: i64,
    to_ms: i64,
    cause: String,
}

/// Reads the lines of a message of the instrument that its subject names.
pub(crate) fn lines<'a>(message: &'a FeedMessage, names: InstrumentNames<'_>) -> Vec<Line<'a>> {
    let whole = |reason| vec![Line { number: 0, raw: &message.payload, record: Err(reason) }];
    let numbered = message.payload.split(|&byte| byte == b'\n').zip(0..);
    let filled: Vec<(&[u8], u32)> = numbered.filter(|(raw, _)| !raw.trim_ascii().is_empty()).collect();
    if market::Instrument::new(names.coin, names.quote).is_err() {
        whole("wrong-instrument")
    } else if !message.is_decoded
        || message.schema.as_ref().is_some_and(|schema| *schema != format!("{}/1", message.kind))
    {
        whole("unknown-version")
    } else if filled.len() > LINES_MAX || message.payload.len() > MESSAGE_BYTES_MAX {
        whole("too-long")
    } else {
        let line = |(raw, number)| Line { number, raw, record: read(message, raw, names) };
        filled.into_iter().map(line).collect()
    }
}

fn read(message: &FeedMessage, raw: &[u8], names: InstrumentNames<'_>) -> Result<FeedRecord, &'static str> {
    match message.kind {
        RecordKind::Tick => tick(parse(raw)?, names, message).map(FeedRecord::Tick),
        RecordKind::Heartbeat => heartbeat(parse(raw)?, names, message).map(FeedRecord::Heartbeat),
        _ => gap(parse(raw)?, names).map(FeedRecord::Gap),
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T, &'static str> {
    // A number beyond f64 counts as infinite; JSON cannot write one otherwise.
    let name = |error: serde_json::Error| match error.to_string().contains("number out of range") {
        true => "non-finite",
        false => "unparsable",
    };
    serde_json::from_slice(raw).map_err(name)
}

fn tick(line: TickLine, names: InstrumentNames<'_>, message: &FeedMessage) -> Result<Price, &'static str> {
    let close = line.close;
    let (open, high, low) = (line.open.unwrap_or(close), line.high.unwrap_or(close), line.low.unwrap_or(close));
    let is_grain = line.grain_ms.is_none_or(|grain_ms| (1..=GRAIN_MS_MAX).contains(&grain_ms));
    let is_in_time =
        (YEAR_2009_MS..YEAR_10000_MS).contains(&line.event_ms) && is_grain && is_certifiable(line.complete_ms);
    if !names.match_line(&line.coin, &line.quote) {
        return Err("wrong-instrument");
    }
    for price in [close, open, high, low] {
        match price {
            _ if !price.is_finite() => return Err("non-finite"),
            0.0 => return Err("zero-price"),
            _ if price < 0.0 => return Err("negative-price"),
            1e-15..=1e15 => {}
            _ => return Err("out-of-range"),
        }
    }
    if low > open || low > close || high < open || high < close {
        return Err("high-low-order");
    }
    for amount in [line.volume, line.quote_volume].into_iter().flatten() {
        match amount {
            _ if !amount.is_finite() => return Err("non-finite"),
            0.0 | VOLUME_MIN..=1e21 => {}
            _ => return Err("out-of-range"),
        }
    }
    if !is_in_time {
        return Err("out-of-range");
    }
    let earliest_ms = line.event_ms - AHEAD_MS_MAX;
    if line.ingest_ms < earliest_ms || message.stored_ms < earliest_ms {
        return Err("future");
    }
    // An amount of -0 is 0.
    let [volume, quote_volume] = [line.volume, line.quote_volume].map(|amount| amount.map(|amount| amount + 0.0));
    let TickLine { event_ms, grain_ms, complete_ms, id, filled, .. } = line;
    let feed_seq = message.seq;
    Ok(Price { feed_seq, event_ms, grain_ms, complete_ms, id, open, high, low, close, volume, quote_volume, filled })
}

fn is_certifiable(complete_ms: Option<i64>) -> bool {
    complete_ms.is_none_or(|complete_ms| (0..=GRAIN_MS_MAX).contains(&complete_ms))
}

fn heartbeat(
    line: HeartbeatLine,
    names: InstrumentNames<'_>,
    message: &FeedMessage,
) -> Result<Heartbeat, &'static str> {
    let HeartbeatLine { event_ms, complete_ms, ingest_ms, flush, .. } = line;
    let is_in_time = |arrival_ms| event_ms - AHEAD_MS_MAX <= arrival_ms;
    match event_ms {
        _ if !names.match_line(&line.coin, &line.quote) => Err("wrong-instrument"),
        _ if !is_certifiable(complete_ms) => Err("out-of-range"),
        YEAR_2009_MS..YEAR_10000_MS if flush || is_in_time(ingest_ms) && is_in_time(message.stored_ms) => {
            Ok(Heartbeat { event_ms, complete_ms, ingest_ms, flush })
        }
        YEAR_2009_MS..YEAR_10000_MS => Err("future"),
        _ => Err("out-of-range"),
    }
}

fn gap(line: GapLine, names: InstrumentNames<'_>) -> Result<Gap, &'static str> {
    let GapLine { from_ms, to_ms, cause, .. } = line;
    if !names.match_line(&line.coin, &line.quote) {
        Err("wrong-instrument")
    } else if from_ms < YEAR_2009_MS || from_ms >= to_ms || to_ms >= YEAR_10000_MS {
        Err("out-of-range")
    } else {
        Ok(Gap { from_ms, to_ms, cause })
    }
}
