//! Tables of results: columns, their order, and the format of values.

use crate::candle::Candle;
use crate::profile::HourOfDayLine;
use crate::time::Span;
use crate::window::Window;

/// Columns of a candle table, in order.
pub const CANDLE_COLUMNS: [&str; 20] = [
    "coin",
    "quote",
    "window",
    "start",
    "end",
    "open",
    "high",
    "low",
    "close",
    "average",
    "volume",
    "volume_count",
    "count",
    "coverage",
    "grain_ms",
    "revision",
    "final",
    "quote_volume",
    "vwap",
    "filled",
];

/// Columns of the hour-of-day table, in order.
pub const HOUR_OF_DAY_COLUMNS: [&str; 7] = ["coin", "quote", "hour", "average", "min", "max", "count"];

/// Returns a candle's cells, by [`CANDLE_COLUMNS`]. Times are RFC 3339 in UTC; numbers have the shortest form that
/// reads back the same. The cell of a field that the candle's record leaves out is empty: of an unknown volume, quote
/// volume and average price, of `volume_count` unless the volume is partial, of `grain_ms` without bars, and of
/// `filled` when no tick was fetched afterwards.
pub fn candle_row(candle: &Candle) -> [String; 20] {
    let known = |number: Option<String>| number.unwrap_or_default();
    let amount = |amount: Option<f64>| known(amount.map(|amount| amount.to_string()));
    [
        candle.coin.to_string(),
        candle.quote.to_string(),
        candle.window.to_string(),
        candle.start.to_rfc3339(),
        candle.end.to_rfc3339(),
        candle.open.to_string(),
        candle.high.to_string(),
        candle.low.to_string(),
        candle.close.to_string(),
        candle.average.to_string(),
        amount(candle.volume),
        known(candle.volume_count.map(|count| count.to_string())),
        candle.count.to_string(),
        candle.coverage.to_string(),
        known(candle.grain.map(|grain| grain.ms().to_string())),
        candle.revision.to_string(),
        candle.is_final.to_string(),
        amount(candle.quote_volume),
        amount(candle.vwap()),
        known(Some(candle.filled).filter(|&filled| filled > 0).map(|filled| filled.to_string())),
    ]
}

/// Returns a profile row's cells, by [`HOUR_OF_DAY_COLUMNS`].
pub fn hour_of_day_row(row: &HourOfDayLine<'_>) -> [String; 7] {
    [
        row.coin.to_string(),
        row.quote.to_string(),
        row.hour.to_string(),
        row.average.to_string(),
        row.min.to_string(),
        row.max.to_string(),
        row.count.to_string(),
    ]
}

/// Returns a note on the moving average of bars longer than the 30 minutes between two windows: windows that hold no
/// whole bar are not in the table. `None` for points and shorter bars.
pub fn moving_average_note<'a>(candles: impl IntoIterator<Item = &'a Candle>) -> Option<String> {
    let window = Window::HourEveryHalf;
    let is_thinned = |candle: &&Candle| candle.grain.is_some_and(|grain| grain > window.hop());
    let thinned: Vec<_> = candles.into_iter().filter(is_thinned).collect();
    let grain = thinned.iter().filter_map(|candle| candle.grain).max()?;
    let on_hour = thinned.iter().filter(|candle| candle.start.floor(Span::HOUR) == candle.start).count();
    let which = match on_hour {
        0 => "the windows on the half hour",
        all if all == thinned.len() => "the windows on the hour",
        _ => "those windows",
    };
    Some(format!("bars of {grain} count only in windows that hold all of them: the table has only {which}"))
}
