//! Validates records: a line becomes a tick, or is rejected for a named reason.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::instrument::Instrument;
use crate::tick::{PriceLine, Tick, TickLine};
use crate::time::{EventTime, Span};

/// A record with an event time further than this ahead of its arrival is rejected and moves no watermark: see
/// [`is_future`].
pub const FUTURE_BOUND: Span = Span::minutes(2);
/// Smallest price, in quote currency.
pub const PRICE_MIN: f64 = 1e-15;
/// Largest price, in quote currency.
pub const PRICE_MAX: f64 = 1e15;
/// Smallest volume or quote volume other than zero. A smaller f64 may have bits finer than the unit of
/// [`crate::exact::ExactSum`].
pub const VOLUME_MIN: f64 = 1.0 / (1_u128 << 75) as f64;
/// Largest volume of one tick, in units of the coin, and largest quote volume, in quote currency.
pub const VOLUME_MAX: f64 = 1e21;
/// Longest grain, and longest certified span of one record: a year with a day to spare.
pub const GRAIN_MAX: Span = Span(366 * Span::DAY.0);

/// Why a record is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Not a JSON object of the expected kind.
    Unparsable,
    /// The schema header names a version that this build does not know.
    UnknownVersion,
    /// Coin or quote differ from the subject's.
    WrongInstrument,
    /// A number is not finite.
    NonFinite,
    /// A price is below zero.
    NegativePrice,
    /// A price is zero.
    ZeroPrice,
    /// Open or close is outside [low, high], or low is above high.
    HighLowOrder,
    /// A price, volume, quote volume, grain or time is out of range: times begin with [`EventTime::EARLIEST`].
    OutOfRange,
    /// The event time is more than [`FUTURE_BOUND`] ahead of the arrival.
    Future,
    /// The message has too many lines or bytes.
    TooLong,
}

impl Reason {
    /// Returns the reason as written in records, such as `negative-price`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::UnknownVersion => "unknown-version",
            Self::WrongInstrument => "wrong-instrument",
            Self::NonFinite => "non-finite",
            Self::NegativePrice => "negative-price",
            Self::ZeroPrice => "zero-price",
            Self::HighLowOrder => "high-low-order",
            Self::OutOfRange => "out-of-range",
            Self::Future => "future",
            Self::TooLong => "too-long",
        }
    }

    /// Whether one rejected record counts for all lines of its message.
    pub fn is_of_message(self) -> bool {
        matches!(self, Self::UnknownVersion | Self::TooLong)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rejected record on MARKET: `{"feed_seq":7,"line":0,"reason":"negative-price","head":"{\"coin\":…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedLine {
    /// Sequence of the FEED message that holds the record.
    pub feed_seq: u64,
    /// Its line within the message, counted from 0.
    pub line: u32,
    /// Why it is rejected.
    pub reason: Reason,
    /// Its first [`HEAD_BYTES_MAX`] bytes, as text.
    pub head: String,
}

/// How many bytes of a rejected record are stored beside the reason; FEED still has all of it.
pub const HEAD_BYTES_MAX: usize = 256;

impl RejectedLine {
    /// Creates the record for `raw`.
    pub fn new(feed_seq: u64, line: u32, reason: Reason, raw: &[u8]) -> Self {
        let head = &raw[..raw.len().min(HEAD_BYTES_MAX)];
        Self { feed_seq, line, reason, head: String::from_utf8_lossy(head).into_owned() }
    }
}

/// Whether an event time is more than [`FUTURE_BOUND`] ahead of the record's arrival. The arrival is the earlier of the
/// sender's ingest time and the server's time of storing: a sender can write any time, but not the server's.
pub fn is_future(event_ms: i64, ingest_ms: i64, stored_ms: i64) -> bool {
    event_ms > ingest_ms.min(stored_ms).saturating_add(FUTURE_BOUND.ms())
}

/// Validates a line of the instrument that its subject names. `stored_ms` is the server's time of storing its message.
///
/// # Errors
/// The reason for which the line is rejected.
pub fn validate(line: &TickLine<'_>, instrument: &Instrument, feed_seq: u64, stored_ms: i64) -> Result<Tick, Reason> {
    if line.coin != instrument.coin() || line.quote != instrument.quote() {
        return Err(Reason::WrongInstrument);
    }
    let close = line.close;
    let [open, high, low] = [line.open, line.high, line.low].map(|price| price.unwrap_or(close));
    for price in [close, open, high, low] {
        check_price(price)?;
    }
    if !(low <= open && open <= high && low <= close && close <= high) {
        return Err(Reason::HighLowOrder);
    }
    let volume = line.volume.map(check_volume).transpose()?;
    let quote_volume = line.quote_volume.map(check_volume).transpose()?;
    let event = EventTime(line.event_ms);
    let grain = line.grain_ms.map(Span);
    let is_grain = grain.is_none_or(|grain| (Span(1)..=GRAIN_MAX).contains(&grain));
    if !(EventTime::EARLIEST..=EventTime::LATEST).contains(&event) || !is_grain {
        return Err(Reason::OutOfRange);
    }
    let complete = check_complete(line.complete_ms)?;
    if is_future(line.event_ms, line.ingest_ms, stored_ms) {
        return Err(Reason::Future);
    }
    let (id, filled) = (line.id, line.filled);
    Ok(Tick { event, grain, complete, id, open, high, low, close, volume, quote_volume, filled, feed_seq })
}

/// Validates a price of MARKET again as the tick that it was, so that statistics hold only valid ticks.
///
/// # Errors
/// The reason for which it cannot have been accepted.
pub fn revalidate(line: &PriceLine<'_>, instrument: &Instrument) -> Result<Tick, Reason> {
    let tick = TickLine {
        coin: Cow::Borrowed(&line.coin),
        quote: Cow::Borrowed(&line.quote),
        event_ms: line.event_ms,
        grain_ms: line.grain_ms,
        complete_ms: line.complete_ms,
        id: line.id,
        open: line.open,
        high: line.high,
        low: line.low,
        close: line.close,
        volume: line.volume,
        quote_volume: line.quote_volume,
        filled: line.filled,
        // MARKET does not hold the arrival, which was checked before.
        ingest_ms: line.event_ms,
        source: None,
        market_cap: None,
        volume_24h: None,
        high_24h: None,
        low_24h: None,
    };
    validate(&tick, instrument, line.feed_seq, line.event_ms)
}

/// Accepts a span of 0 to [`GRAIN_MAX`].
pub(crate) fn check_complete(complete_ms: Option<i64>) -> Result<Option<Span>, Reason> {
    let complete = complete_ms.map(Span);
    let is_span = complete.is_none_or(|complete| (Span(0)..=GRAIN_MAX).contains(&complete));
    if is_span { Ok(complete) } else { Err(Reason::OutOfRange) }
}

fn check_price(price: f64) -> Result<(), Reason> {
    if !price.is_finite() {
        Err(Reason::NonFinite)
    } else if price == 0.0 {
        Err(Reason::ZeroPrice)
    } else if price < 0.0 {
        Err(Reason::NegativePrice)
    } else if !(PRICE_MIN..=PRICE_MAX).contains(&price) {
        Err(Reason::OutOfRange)
    } else {
        Ok(())
    }
}

/// Accepts zero (also -0, as 0) and [`VOLUME_MIN`] to [`VOLUME_MAX`], as a volume or a quote volume.
fn check_volume(volume: f64) -> Result<f64, Reason> {
    if !volume.is_finite() {
        Err(Reason::NonFinite)
    } else if volume == 0.0 {
        Ok(0.0)
    } else if (VOLUME_MIN..=VOLUME_MAX).contains(&volume) {
        Ok(volume)
    } else {
        Err(Reason::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_600_000_000_000;

    fn line() -> TickLine<'static> {
        let bar = Tick::bar(EventTime(NOW_MS), Span::MINUTE, [10.0, 12.0, 9.0, 11.0]);
        TickLine::new("bitcoin", "usd", &Tick { volume: Some(1.5), ..bar }, NOW_MS)
    }

    fn check(change: impl FnOnce(&mut TickLine<'static>), expected: Option<Reason>) {
        let mut line = line();
        change(&mut line);
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        assert_eq!(validate(&line, &instrument, 7, i64::MAX).err(), expected, "{line:?}");
    }

    #[test]
    fn the_record_of_a_tick_is_read_as_that_tick() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let (event, complete) = (EventTime(NOW_MS), Some(Span::MINUTE));
        let point = Tick { id: Some(7), complete, filled: true, ..Tick::point(event, 11.0) };
        let bar = Tick::bar(event, Span::MINUTE, [10.0, 12.0, 9.0, 11.0]);
        for tick in [point, Tick { volume: Some(1.5), quote_volume: Some(16.5), ..bar }] {
            let line = TickLine::new("bitcoin", "usd", &tick, NOW_MS);
            assert_eq!(validate(&line, &instrument, 0, NOW_MS), Ok(tick));
        }
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        check(|_| (), None);
        check(|l| l.coin = Cow::Borrowed("ethereum"), Some(Reason::WrongInstrument));
        check(|l| l.close = f64::NAN, Some(Reason::NonFinite));
        check(|l| l.high = Some(f64::INFINITY), Some(Reason::NonFinite));
        check(|l| l.close = 0.0, Some(Reason::ZeroPrice));
        check(|l| l.low = Some(-1.0), Some(Reason::NegativePrice));
        check(|l| l.high = Some(10.5), Some(Reason::HighLowOrder));
        check(|l| l.low = Some(11.5), Some(Reason::HighLowOrder));
        check(|l| l.close = 1e16, Some(Reason::OutOfRange));
        check(|l| l.volume = Some(1e-30), Some(Reason::OutOfRange));
        check(|l| l.volume = Some(-1.0), Some(Reason::OutOfRange));
        check(|l| l.volume = Some(0.0), None);
        check(|l| l.quote_volume = Some(f64::NAN), Some(Reason::NonFinite));
        check(|l| l.quote_volume = Some(-1.0), Some(Reason::OutOfRange));
        check(|l| l.quote_volume = Some(1e-30), Some(Reason::OutOfRange));
        check(|l| l.quote_volume = Some(1e22), Some(Reason::OutOfRange));
        check(|l| l.quote_volume = Some(0.0), None);
        check(|l| (l.volume, l.quote_volume) = (None, Some(16.5)), None);
        check(|l| l.grain_ms = None, None);
        check(|l| l.grain_ms = Some(0), Some(Reason::OutOfRange));
        check(|l| l.event_ms = EventTime::EARLIEST.ms() - 1, Some(Reason::OutOfRange));
        check(|l| l.event_ms = NOW_MS + 120_001, Some(Reason::Future));
        check(|l| l.event_ms = NOW_MS + 120_000, None);
        check(|l| l.event_ms = 0, Some(Reason::OutOfRange));
        check(|l| l.event_ms = EventTime::EARLIEST.ms(), None);
        check(|l| l.event_ms = i64::MIN, Some(Reason::OutOfRange));
        check(|l| l.event_ms = i64::MAX, Some(Reason::OutOfRange));
        check(|l| l.grain_ms = Some(i64::MAX), Some(Reason::OutOfRange));
        check(|l| l.complete_ms = Some(0), None);
        check(|l| l.complete_ms = Some(-1), Some(Reason::OutOfRange));
        check(|l| l.complete_ms = Some(i64::MAX), Some(Reason::OutOfRange));
        check(|l| (l.open, l.high, l.low, l.close) = (None, None, None, 1e-15), None);
        check(|l| (l.open, l.high, l.low, l.close) = (None, None, None, 0.9e-15), Some(Reason::OutOfRange));
    }

    #[test]
    fn an_ingest_clock_may_jump_ahead_but_not_back() {
        check(|l| l.ingest_ms = i64::MAX, None);
        check(|l| l.ingest_ms = NOW_MS - 120_000, None);
        check(|l| l.ingest_ms = NOW_MS - 120_001, Some(Reason::Future));
        check(|l| l.ingest_ms = i64::MIN, Some(Reason::Future));
    }

    #[test]
    fn the_earlier_of_ingest_and_store_time_bounds_the_event_time() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let check = |ingest_ms: i64, stored_ms: i64, expected: Option<Reason>| {
            let line = TickLine { ingest_ms, ..line() };
            assert_eq!(validate(&line, &instrument, 7, stored_ms).err(), expected, "{ingest_ms} {stored_ms}");
        };
        // The line's event time is `NOW_MS`.
        check(NOW_MS - 120_000, NOW_MS - 120_000, None);
        check(i64::MAX, NOW_MS - 120_000, None);
        check(i64::MAX, NOW_MS - 120_001, Some(Reason::Future));
        check(NOW_MS - 120_001, i64::MAX, Some(Reason::Future));
        check(NOW_MS, i64::MIN, Some(Reason::Future));
    }

    #[test]
    fn a_price_is_checked_like_its_tick() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let line = TickLine { quote_volume: Some(16.5), filled: true, ..line() };
        let tick = validate(&line, &instrument, 7, NOW_MS).expect("valid");
        assert_eq!((tick.quote_volume, tick.filled), (Some(16.5), true));
        let good = PriceLine::new("bitcoin", "usd", &tick);
        assert_eq!(revalidate(&good, &instrument), Ok(tick));
        let bad = [
            (PriceLine { close: 1e300, ..good.clone() }, Reason::OutOfRange),
            (PriceLine { quote_volume: Some(-1.0), ..good.clone() }, Reason::OutOfRange),
            (PriceLine { event_ms: i64::MAX, ..good.clone() }, Reason::OutOfRange),
            (PriceLine { coin: "ethereum".into(), ..good.clone() }, Reason::WrongInstrument),
        ];
        for (price, reason) in bad {
            assert_eq!(revalidate(&price, &instrument), Err(reason), "{price:?}");
        }
    }

    #[test]
    fn the_head_of_a_refused_record_is_bounded() {
        let rejected = RejectedLine::new(1, 0, Reason::Unparsable, &vec![b'x'; 1 << 20]);
        assert_eq!(rejected.head.len(), HEAD_BYTES_MAX);
    }
}
