//! Lines of FEED, read and checked by rules written a second time.

use bus::RecordKind;
use bytes::Bytes;
use serde::Deserialize;

use crate::rows::{Gap, Heartbeat, Price};
use crate::{Names, message};

/// A message of FEED.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its sequence.
    pub(crate) seq: u64,
    /// When it was stored.
    pub(crate) stored_ms: i64,
    /// What its subject says it holds: ticks, heartbeats or gaps.
    pub(crate) kind: RecordKind,
    /// What its header says it holds, such as `tick/1`, when it says so.
    pub(crate) schema: Option<String>,
    /// Whether its lines are here as they are, not in an encoding that nobody knows.
    pub(crate) is_decoded: bool,
    /// Its lines.
    pub(crate) payload: Bytes,
}

impl Message {
    /// Keeps what is read before it is judged.
    pub(crate) fn new(message: &message::Message<'_>) -> Self {
        let message::Message { seq, stored_ms, kind, is_decoded, .. } = *message;
        let schema = message.schema.map(str::to_owned);
        Self { seq, stored_ms, kind, schema, is_decoded, payload: Bytes::copy_from_slice(message.payload) }
    }
}

/// What a line says, before it is judged by the lines before it.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Tick(Price),
    Heartbeat(Heartbeat),
    Gap(Gap),
}

/// A line, or a whole message where nothing in it can be read, with why it is refused if it is.
pub(crate) struct Line<'a> {
    pub(crate) number: u32,
    pub(crate) raw: &'a [u8],
    pub(crate) said: Result<Said, &'static str>,
}

const LINES_MAX: usize = 500;
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// No coin had a price before.
const YEAR_2009_MS: i64 = 1_230_768_000_000;
const YEAR_10000_MS: i64 = 253_402_300_800_000;
const GRAIN_MS_MAX: i64 = 366 * 86_400_000;
const AHEAD_MS_MAX: i64 = 120_000;
/// The last bit of a volume from here on is worth 2^-128 or more.
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

/// Reads a message of the instrument that its subject names.
pub(crate) fn lines<'a>(message: &'a Message, names: Names<'_>) -> Vec<Line<'a>> {
    let whole = |reason| vec![Line { number: 0, raw: &message.payload, said: Err(reason) }];
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
        let line = |(raw, number)| Line { number, raw, said: read(message, raw, names) };
        filled.into_iter().map(line).collect()
    }
}

fn read(message: &Message, raw: &[u8], names: Names<'_>) -> Result<Said, &'static str> {
    match message.kind {
        RecordKind::Tick => tick(parse(raw)?, names, message).map(Said::Tick),
        RecordKind::Heartbeat => heartbeat(parse(raw)?, names, message).map(Said::Heartbeat),
        _ => gap(parse(raw)?, names).map(Said::Gap),
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T, &'static str> {
    // A number beyond f64 is infinite; JSON has no other word for it.
    let name = |error: serde_json::Error| match error.to_string().contains("number out of range") {
        true => "non-finite",
        false => "unparsable",
    };
    serde_json::from_slice(raw).map_err(name)
}

fn tick(line: TickLine, names: Names<'_>, message: &Message) -> Result<Price, &'static str> {
    let close = line.close;
    let (open, high, low) = (line.open.unwrap_or(close), line.high.unwrap_or(close), line.low.unwrap_or(close));
    let is_grain = line.grain_ms.is_none_or(|grain_ms| (1..=GRAIN_MS_MAX).contains(&grain_ms));
    let is_in_time =
        (YEAR_2009_MS..YEAR_10000_MS).contains(&line.event_ms) && is_grain && is_certifiable(line.complete_ms);
    if !names.are(&line.coin, &line.quote) {
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
    match line.volume {
        Some(volume) if !volume.is_finite() => return Err("non-finite"),
        None | Some(0.0 | VOLUME_MIN..=1e21) if is_in_time => {}
        _ => return Err("out-of-range"),
    }
    let earliest_ms = line.event_ms - AHEAD_MS_MAX;
    if line.ingest_ms < earliest_ms || message.stored_ms < earliest_ms {
        return Err("future");
    }
    // A volume of -0 is 0.
    let volume = line.volume.map(|volume| volume + 0.0);
    let TickLine { event_ms, grain_ms, complete_ms, id, .. } = line;
    Ok(Price { feed_seq: message.seq, event_ms, grain_ms, complete_ms, id, open, high, low, close, volume })
}

fn is_certifiable(complete_ms: Option<i64>) -> bool {
    complete_ms.is_none_or(|complete_ms| (0..=GRAIN_MS_MAX).contains(&complete_ms))
}

fn heartbeat(line: HeartbeatLine, names: Names<'_>, message: &Message) -> Result<Heartbeat, &'static str> {
    let HeartbeatLine { event_ms, complete_ms, ingest_ms, flush, .. } = line;
    let is_in_time = |arrival_ms| event_ms - AHEAD_MS_MAX <= arrival_ms;
    match event_ms {
        _ if !names.are(&line.coin, &line.quote) => Err("wrong-instrument"),
        _ if !is_certifiable(complete_ms) => Err("out-of-range"),
        YEAR_2009_MS..YEAR_10000_MS if flush || is_in_time(ingest_ms) && is_in_time(message.stored_ms) => {
            Ok(Heartbeat { event_ms, complete_ms, ingest_ms, flush })
        }
        YEAR_2009_MS..YEAR_10000_MS => Err("future"),
        _ => Err("out-of-range"),
    }
}

fn gap(line: GapLine, names: Names<'_>) -> Result<Gap, &'static str> {
    let GapLine { from_ms, to_ms, cause, .. } = line;
    if !names.are(&line.coin, &line.quote) {
        Err("wrong-instrument")
    } else if from_ms < YEAR_2009_MS || from_ms >= to_ms || to_ms >= YEAR_10000_MS {
        Err("out-of-range")
    } else {
        Ok(Gap { from_ms, to_ms, cause })
    }
}
