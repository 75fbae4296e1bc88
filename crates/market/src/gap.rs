//! Gaps: spans for which the source gave no data.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::instrument::Instrument;
use crate::time::EventTime;
use crate::validate::Reason;

/// A gap on FEED and MARKET: `{"coin":"bitcoin","quote":"usd","from_ms":1583313720000,"to_ms":1583321400000,
/// "cause":"missing-in-recording"}`. It moves no watermark and closes no window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GapLine<'a> {
    /// Coin.
    #[serde(borrow)]
    pub coin: Cow<'a, str>,
    /// Quote currency.
    #[serde(borrow)]
    pub quote: Cow<'a, str>,
    /// First instant without an observation, in milliseconds.
    pub from_ms: i64,
    /// First instant with an observation again, in milliseconds.
    pub to_ms: i64,
    /// The cause, such as `missing-in-recording` or `rate-limited`.
    #[serde(borrow)]
    pub cause: Cow<'a, str>,
}

impl GapLine<'_> {
    /// Validates a gap of the instrument that its subject names.
    ///
    /// # Errors
    /// The reason: another instrument, or a span that does not go forward within the calendar.
    pub fn validate(&self, instrument: &Instrument) -> Result<(), Reason> {
        if self.coin != instrument.coin() || self.quote != instrument.quote() {
            return Err(Reason::WrongInstrument);
        }
        let is_in_calendar = self.from_ms >= EventTime::EARLIEST.ms() && self.to_ms <= EventTime::LATEST.ms();
        if !is_in_calendar || self.to_ms <= self.from_ms {
            return Err(Reason::OutOfRange);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_MS: i64 = EventTime::EARLIEST.ms();

    #[test]
    fn a_gap_goes_forward_within_the_calendar() {
        let instrument = Instrument::new("bitcoin", "usd").expect("valid");
        let check = |from_ms: i64, to_ms: i64, expected: Option<Reason>| {
            let gap = GapLine { coin: "bitcoin".into(), quote: "usd".into(), from_ms, to_ms, cause: "test".into() };
            assert_eq!(gap.validate(&instrument).err(), expected, "{gap:?}");
        };
        check(FIRST_MS, EventTime::LATEST.ms(), None);
        check(FIRST_MS - 1, FIRST_MS + 5, Some(Reason::OutOfRange));
        check(FIRST_MS + 5, FIRST_MS + 5, Some(Reason::OutOfRange));
        check(FIRST_MS + 5, i64::MAX, Some(Reason::OutOfRange));
        let other = Instrument::new("ethereum", "usd").expect("valid");
        let gap = GapLine {
            coin: "bitcoin".into(),
            quote: "usd".into(),
            from_ms: FIRST_MS,
            to_ms: FIRST_MS + 5,
            cause: "test".into(),
        };
        assert_eq!(gap.validate(&other), Err(Reason::WrongInstrument));
    }
}
