//! Numbers and times for people.

use std::time::Duration;

use market::Span;
use market::digits::significant;

/// Digits of a price that are shown.
const PRICE_DIGITS: usize = 8;

/// Formats a count with thousands separators: `9,188`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a span in whole seconds: `4m 51s`; below a second in milliseconds.
pub(crate) fn duration(span: Span) -> String {
    let ms = span.ms().max(0).unsigned_abs();
    let shown = if ms < 1_000 { ms } else { ms / 1_000 * 1_000 };
    humantime::format_duration(Duration::from_millis(shown)).to_string()
}

/// Formats a price with significant digits, without zeros at its end.
pub(crate) fn price(price: f64) -> String {
    let text = significant(price, PRICE_DIGITS);
    match text.split_once('.') {
        Some((_, decimals)) if decimals.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        let counts = [0, 999, 1_000, 10_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "10,000", "1,234,567"]);
    }

    #[test]
    fn spans_are_shown_in_seconds() {
        let spans = [0, 250, 1_999, 290_600, 3_600_000].map(|ms| duration(Span(ms)));
        assert_eq!(spans, ["0s", "250ms", "1s", "4m 50s", "1h"]);
    }

    #[test]
    fn prices_show_their_digits_and_no_more() {
        let prices = [103_376.25, 2.0, 0.000_7, 2.1e-14, 120_000.0].map(price);
        assert_eq!(prices, ["103376.25", "2", "0.0007", "2.1000000e-14", "120000"]);
    }
}
