//! Number of a candle's ticks, for people.

use market::Candle;

/// Formats the number of ticks, such as `60`, or `60 (12 filled)` if 12 of them were fetched afterwards.
pub(crate) fn words(candle: &Candle) -> String {
    match candle.filled {
        0 => candle.count.to_string(),
        filled => format!("{} ({filled} filled)", candle.count),
    }
}
