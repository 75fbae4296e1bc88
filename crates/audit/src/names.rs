//! Names of the audited instrument, as its lines must carry them.

use std::fmt;

/// Coin and quote currency of the instrument whose lines are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstrumentNames<'a> {
    pub(crate) coin: &'a str,
    pub(crate) quote: &'a str,
}

impl InstrumentNames<'_> {
    /// Whether a line with this coin and quote belongs to the instrument.
    pub(crate) fn match_line(&self, coin: &str, quote: &str) -> bool {
        self.coin == coin && self.quote == quote
    }
}

impl fmt::Display for InstrumentNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.coin, self.quote)
    }
}
