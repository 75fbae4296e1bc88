//! Errors of single quotes: CoinGecko answered, but gives no usable price of a coin.

use market::Instrument;
use market::validate::Reason;

/// Error of an answer without a usable price of a coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuoteError {
    /// The answer does not contain the coin.
    Missing,
    /// The price is absent or null.
    NoPrice,
    /// The price is a text, a list, an object or a boolean.
    PriceNotNumber,
    /// The time of the observation is absent or null.
    NoTime,
    /// The time has no time zone.
    TimeWithoutZone,
    /// The time is neither RFC 3339 nor a time without a zone.
    TimeUnreadable,
    /// The time is before 2009, when no coin had a price, or beyond the calendar.
    TimeOutOfRange,
    /// The time is ahead of the answer: an error of the source.
    AheadOfAnswer,
    /// The time is ahead of the local clock, but not of the answer: the local clock is behind.
    AheadOfClock,
    /// The time is before that of an earlier price.
    Older,
    /// The stream-processor would reject it for this reason.
    Refused(Reason),
}

impl QuoteError {
    /// Returns the cause of the resulting gap, which is also a label of metrics.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::Missing => "coin-missing",
            Self::NoPrice => "no-price",
            Self::PriceNotNumber => "price-not-a-number",
            Self::NoTime => "no-time",
            Self::TimeWithoutZone => "time-without-zone",
            Self::TimeUnreadable => "time-unreadable",
            Self::TimeOutOfRange => "time-out-of-range",
            Self::AheadOfAnswer => "time-ahead",
            Self::AheadOfClock => "clock-behind",
            Self::Older => "older-answer",
            Self::Refused(reason) => reason.as_str(),
        }
    }

    /// Describes the error and what to do about it.
    pub(crate) fn explain(self, instrument: &Instrument) -> String {
        let (coin, quote) = (instrument.coin(), instrument.quote());
        match self {
            Self::Missing => {
                format!("CoinGecko knows no coin {coin:?}: compare the id with the one on the coin's page there")
            }
            Self::NoPrice => {
                format!("CoinGecko has no price of {coin} in {quote} at the moment: wait, or leave it out")
            }
            Self::PriceNotNumber => format!(
                "CoinGecko gives the price of {coin} as something other than a number: check --base-url, or wait until it is one"
            ),
            Self::NoTime => format!("CoinGecko gives no time for its price of {coin}: wait, or leave it out"),
            Self::TimeWithoutZone => format!(
                "CoinGecko gives the time of {coin} without a time zone: check --base-url, or wait until it ends with Z or an offset"
            ),
            Self::TimeUnreadable => format!(
                "CoinGecko gives the time of {coin} in an unknown form: check --base-url, or wait until it is like 2026-05-18T12:49:21Z"
            ),
            Self::TimeOutOfRange => format!(
                "CoinGecko dates its price of {coin} before 2009, when no coin had a price, or after 9999: refused \
                 (time-out-of-range); check --base-url, or wait until the date is right"
            ),
            Self::AheadOfAnswer => format!(
                "CoinGecko dates its price of {coin} more than 5 s ahead of its own answer: refused (time-ahead); wait until its clock is right"
            ),
            Self::AheadOfClock => {
                format!("CoinGecko's time for {coin} is ahead of the local clock: check the clock of this machine")
            }
            Self::Older => {
                format!(
                    "CoinGecko answers with a price of {coin} that is older than the last one: wait for a newer one"
                )
            }
            Self::Refused(reason) => format!("the price of {coin} in {quote} {}", refusal(reason)),
        }
    }
}

fn refusal(reason: Reason) -> String {
    match reason {
        Reason::ZeroPrice => "is zero: refused (zero-price); wait, or leave the coin out".to_owned(),
        Reason::NegativePrice => "is below zero: refused (negative-price); wait, or leave the coin out".to_owned(),
        Reason::OutOfRange => "is outside 1e-15 to 1e15: refused (out-of-range); choose another --quote".to_owned(),
        reason => format!("would not count: refused ({reason}); wait, or leave the coin out"),
    }
}
