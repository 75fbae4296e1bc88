//! Words for people who know nothing of the system.

use market::{Baseline, EventTime, Recipe, Span};
use store::model_card::ModelCard;

use crate::number::{number, significant};

/// Returns a time to the minute: `2020-03-01 00:15 UTC`.
pub(super) fn minute(ms: i64) -> String {
    EventTime(ms).to_utc().format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Returns a whole number with separators.
pub(super) fn count(count: usize) -> String {
    number(count as f64, 0)
}

/// Returns a share in percent with two decimals.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share, 2))
}

/// Returns a probability with three decimals.
pub(super) fn chance(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { number(p, 3) }
}

/// Returns an error with the unit of the predictions.
pub(super) fn error(card: &ModelCard, error: f64) -> String {
    if card.recipe.predicts_prices() { format!("{} {}", significant(error), card.quote) } else { significant(error) }
}

/// Returns the length of a candle: `15 minutes` for `15m`. `None` for ticks.
pub(super) fn interval(card: &ModelCard) -> Option<String> {
    let (digits, unit) = card.interval.split_at(card.interval.len().checked_sub(1)?);
    let unit = match unit {
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        _ => return None,
    };
    let length: u32 = digits.parse().ok()?;
    Some(if length == 1 { format!("1 {unit}") } else { format!("{length} {unit}s") })
}

/// Returns the span that a prediction looks ahead: `the next 15 minutes`.
pub(super) fn ahead(card: &ModelCard) -> String {
    match (interval(card), card.horizon) {
        (None, _) => "the next price".to_owned(),
        (Some(interval), 0 | 1) => format!("the next {interval}"),
        (Some(interval), horizon) => format!("the next {horizon} spans of {interval}"),
    }
}

/// Returns the predicted quantity.
pub(super) fn predicted(card: &ModelCard) -> String {
    match card.recipe {
        Recipe::Calendar => "the price from the time alone".to_owned(),
        Recipe::Returns => format!("the price at the end of {}", ahead(card)),
        Recipe::Volatility => format!("how far the price moves within {}", ahead(card)),
    }
}

/// Returns the naive baseline as a rule: `the price stays as it is`.
pub(super) fn naive_rule(card: &ModelCard) -> String {
    match (card.baseline, card.recipe.predicts_prices()) {
        (Baseline::Last, true) => "the price stays as it is".to_owned(),
        (Baseline::Last, false) => "the price moves as far as it did last time".to_owned(),
        (Baseline::Average(_), _) => "the price moves as far as it did on average lately".to_owned(),
    }
}

/// Returns a length of time in its two largest units: `3 d 4 h`, `25 min`.
pub(super) fn length(span: Span) -> String {
    let minutes = span.ms() / Span::MINUTE.ms();
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", span.ms() / 1_000),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_in_two_units() {
        let cases = [(30_000, "30 s"), (1_500_000, "25 min"), (3_600_000, "1 h"), (5_400_000, "1 h 30 min")];
        for (ms, expected) in [&cases[..], &[(86_400_000, "1 d"), (273_600_000, "3 d 4 h")]].concat() {
            assert_eq!(length(Span(ms)), expected);
        }
    }
}
