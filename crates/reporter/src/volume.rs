//! A candle's volume for people, who must not take a part of it for the whole.

use market::Candle;

/// The volume as `write` has it, such as `15`, or `≥ 15 (3 of 60)` when only 3 of 60 ticks gave theirs; `None` when none did.
pub(crate) fn words(candle: &Candle, write: impl FnOnce(f64) -> String) -> Option<String> {
    let volume = write(candle.volume?);
    Some(match candle.volume_count {
        None => volume,
        Some(known) => format!("≥ {volume} ({known} of {})", candle.count),
    })
}
