//! Instruments: a coin and the currency that it is quoted in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum length of coin and quote, in bytes. Both become tokens of NATS subjects and parts of object keys.
pub const TOKEN_BYTES_MAX: usize = 64;

/// A coin and its quote currency, such as `bitcoin` in `usd`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instrument {
    coin: Arc<str>,
    quote: Arc<str>,
}

/// A coin or quote that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} {token:?} must be 1 to {TOKEN_BYTES_MAX} characters of a-z, 0-9, '-' and '_'")]
pub struct InstrumentError {
    role: &'static str,
    token: String,
}

impl Instrument {
    /// Creates an instrument from its coin and quote currency.
    ///
    /// # Errors
    /// Either is empty, longer than [`TOKEN_BYTES_MAX`], or has a character other than `a-z`, `0-9`, `-` and `_`.
    pub fn new(coin: &str, quote: &str) -> Result<Self, InstrumentError> {
        check_token("coin", coin)?;
        check_token("quote", quote)?;
        Ok(Self { coin: coin.into(), quote: quote.into() })
    }

    /// Returns the coin, by its CoinGecko id where it has one, such as `bitcoin`.
    pub fn coin(&self) -> &str {
        &self.coin
    }

    /// Returns the currency of every price, such as `usd`.
    pub fn quote(&self) -> &str {
        &self.quote
    }

    /// Returns coin and quote currency, to be stored.
    pub(crate) fn names(&self) -> (Arc<str>, Arc<str>) {
        (self.coin.clone(), self.quote.clone())
    }
}

fn check_token(role: &'static str, token: &str) -> Result<(), InstrumentError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(allowed) {
        return Err(InstrumentError { role, token: token.chars().take(TOKEN_BYTES_MAX).collect() });
    }
    Ok(())
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.coin, self.quote)
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Instrument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instrument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Instrument {
    type Err = InstrumentError;

    /// Parses `coin/quote`, as [`fmt::Display`] writes it.
    fn from_str(text: &str) -> Result<Self, InstrumentError> {
        let (coin, quote) = text.split_once('/').unwrap_or((text, ""));
        Self::new(coin, quote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_subject_are_rejected() {
        for bad in ["", "a.b", "a b", "a*", "a>", "A", "bitcoin\n", &"x".repeat(65)] {
            assert!(Instrument::new(bad, "usd").is_err(), "{bad:?}");
            assert!(Instrument::new("bitcoin", bad).is_err(), "{bad:?}");
        }
        let wrapped = Instrument::new("wrapped-steth_2", "usd").expect("valid");
        assert_eq!(wrapped.to_string().parse::<Instrument>(), Ok(wrapped));
    }
}
