//! Volume format for people that marks a partial volume as a lower bound.

use market::Candle;

/// Formats a candle's volume with `write`, such as `15`, or `≥ 15 (3 of 60)` if only 3 of 60 ticks have a volume;
/// `None` if no tick has one.
pub(crate) fn words(candle: &Candle, write: impl FnOnce(f64) -> String) -> Option<String> {
    let volume = write(candle.volume?);
    Some(match candle.volume_count {
        None => volume,
        Some(known) => format!("≥ {volume} ({known} of {})", candle.count),
    })
}
