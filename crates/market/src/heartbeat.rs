//! Heartbeats: the source's promise that no earlier tick will follow.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::instrument::Instrument;
use crate::time::{EventTime, Span};
use crate::validate::{Reason, check_complete, is_future};

/// A heartbeat on FEED and MARKET:
/// `{"coin":"bitcoin","quote":"usd","event_ms":1747517880000,"ingest_ms":1747518000000}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// No tick before this will follow, in milliseconds. With `flush`, the last tick's event time.
    pub event_ms: i64,
    /// How far back from `event_ms` the source is certified, in milliseconds: FEED has every price of that span by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_ms: Option<i64>,
    /// When it was sent, by the producer's clock, in milliseconds.
    pub ingest_ms: i64,
    /// The recording ends here: close every window that holds a tick, without moving the watermark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flush: bool,
}

impl HeartbeatLine<'_> {
    /// Returns its event time.
    pub fn event(&self) -> EventTime {
        EventTime(self.event_ms)
    }

    /// Returns the span `[event − complete, event)` for which the source is certified.
    pub fn certified(&self) -> Option<(EventTime, EventTime)> {
        self.complete_ms.map(|complete| (self.event().saturating_sub(Span(complete)), self.event()))
    }

    /// Validates a heartbeat of the instrument that its subject names. `stored_ms` is the server's time of storing its
    /// message.
    ///
    /// # Errors
    /// The reason: another instrument, a time outside the calendar, or one ahead of its arrival.
    pub fn validate(&self, instrument: &Instrument, stored_ms: i64) -> Result<(), Reason> {
        if self.coin != instrument.coin() || self.quote != instrument.quote() {
            return Err(Reason::WrongInstrument);
        }
        if !(EventTime::EARLIEST..=EventTime::LATEST).contains(&self.event()) {
            return Err(Reason::OutOfRange);
        }
        check_complete(self.complete_ms)?;
        // A flush moves no watermark, so it may follow ticks that were rejected for their time.
        if !self.flush && is_future(self.event_ms, self.ingest_ms, stored_ms) {
            return Err(Reason::Future);
        }
        Ok(())
    }

    /// Validates a heartbeat of MARKET. MARKET does not hold the arrival, which was checked before.
    ///
    /// # Errors
    /// The reason for which it cannot have been accepted.
    pub fn revalidate(&self, instrument: &Instrument) -> Result<(), Reason> {
        self.validate(instrument, self.ingest_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_600_000_000_000;

    #[test]
    fn only_a_flush_may_be_ahead_of_its_arrival() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let check = |event_ms: i64, flush: bool, expected: Option<Reason>| {
            // The earlier of ingest and store time counts.
            for (ingest_ms, stored_ms) in [(NOW_MS, i64::MAX), (i64::MAX, NOW_MS)] {
                let (coin, quote) = ("bitcoin".into(), "usd".into());
                let heartbeat = HeartbeatLine { coin, quote, event_ms, complete_ms: None, ingest_ms, flush };
                assert_eq!(heartbeat.validate(&instrument, stored_ms).err(), expected, "{heartbeat:?} {stored_ms}");
            }
        };
        check(NOW_MS + 120_000, false, None);
        check(NOW_MS + 120_001, false, Some(Reason::Future));
        check(NOW_MS + 120_001, true, None);
        check(EventTime::EARLIEST.ms(), false, None);
        check(EventTime::EARLIEST.ms() - 1, false, Some(Reason::OutOfRange));
        check(EventTime::LATEST.ms() + 1, true, Some(Reason::OutOfRange));
    }
}
