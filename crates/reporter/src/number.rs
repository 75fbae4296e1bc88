//! Number formats for people. `market` decides which numbers take an exponent.

use market::digits::{PLAIN_MIN, plain_decimals};

/// Formats a number with thousands separators and a true minus sign.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let is_zero = plain.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    format!("{}{}{fraction}", sign(value < 0.0 && !is_zero), grouped(whole))
}

/// Formats a number with about four significant digits: 7,123 · 71.23 · 0.0007123 · 7.123e-14.
pub(crate) fn significant(value: f64) -> String {
    match plain_decimals(value, 4) {
        Some(decimals) => number(value, decimals),
        None => exponential(value, 3),
    }
}

/// Formats `count` · 10^−`decimals` exactly: 12,345 and two decimals are 123.45.
pub(crate) fn decimal(count: i64, decimals: usize) -> String {
    let digits = format!("{:0>width$}", count.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let point = if decimals > 0 { "." } else { "" };
    format!("{}{}{point}{fraction}", sign(count < 0), grouped(whole))
}

fn exponential(value: f64, decimals: usize) -> String {
    format!("{}{:.decimals$e}", sign(value < 0.0), value.abs())
}

fn sign(is_negative: bool) -> &'static str {
    if is_negative { "\u{2212}" } else { "" }
}

fn grouped(whole: &str) -> String {
    let mut grouped = String::new();
    for (idx, digit) in whole.chars().enumerate() {
        if idx > 0 && (whole.len() - idx).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Price format of a column: the same number of decimals in each row, without loss of digits. Its JSON for the page is
/// `{"plain":2}` or `{"exponential":3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PriceFormat {
    /// This number of decimals.
    Plain(usize),
    /// Exponent notation with this number of decimals, for a column of tiny prices.
    Exponential(usize),
}

/// Decimals, at most, unless a small price needs more.
const DECIMALS_MAX: usize = 12;
/// Significant digits of the smallest price, at least, if it has them.
const DIGITS_MIN: i32 = 4;

impl PriceFormat {
    /// Returns the format for a column with these prices.
    pub(crate) fn of(prices: impl IntoIterator<Item = f64>) -> Self {
        let (mut largest, mut smallest_exponent, mut fraction, mut decimals) = (0.0_f64, 0, 0, 0);
        for price in prices {
            let (digits, exponent) = shortest(price);
            largest = largest.max(price.abs());
            smallest_exponent = smallest_exponent.min(exponent);
            fraction = fraction.max(digits - 1);
            decimals = decimals.max(digits - 1 - exponent);
        }
        if 0.0 < largest && largest < PLAIN_MIN {
            return Self::Exponential(fraction.clamp(0, DECIMALS_MAX as i32) as usize);
        }
        let of_smallest = DIGITS_MIN - 1 - smallest_exponent;
        Self::Plain(decimals.clamp(0, of_smallest.max(DECIMALS_MAX as i32)) as usize)
    }

    /// Formats a price of the column.
    pub(crate) fn write(self, price: f64) -> String {
        match self {
            Self::Plain(decimals) => number(price, decimals),
            Self::Exponential(decimals) => exponential(price, decimals),
        }
    }
}

/// Returns the number of significant digits in a number's shortest form, and the power of ten of the first.
fn shortest(value: f64) -> (i32, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    (digits as i32, exponent.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_zero_has_no_sign() {
        assert_eq!(number(1_234_567.891, 2), "1,234,567.89");
        assert_eq!(number(-0.001, 2), "0.00");
        assert_eq!(decimal(-1_234_567, 2), "\u{2212}12,345.67");
        assert_eq!(decimal(7, 3), "0.007");
    }

    #[test]
    fn numbers_of_any_size_have_four_significant_digits() {
        let cases = [
            (71.234_5, "71.23"),
            (123_456.7, "123,457"),
            (9.999_9, "10.00"),
            (1e15, "1,000,000,000,000,000"),
            (1e-7, "1.000e-7"),
            (0.000_712_34, "0.0007123"),
            (2.134_56e-14, "2.135e-14"),
            (-1e-15, "\u{2212}1.000e-15"),
            (0.0, "0"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
    }

    #[test]
    fn prices_of_a_column_have_equal_decimals_and_lose_no_digit() {
        let check = |prices: &[f64], expected: &[&str]| {
            let format = PriceFormat::of(prices.iter().copied());
            let texts: Vec<_> = prices.iter().map(|&price| format.write(price)).collect();
            assert_eq!(texts, expected);
        };
        check(&[8_523.61, 8_531.9], &["8,523.61", "8,531.90"]);
        check(&[0.000_011, 0.000_012_5], &["0.0000110", "0.0000125"]);
        check(&[2.1e-14, 2.25e-14, 1e-15], &["2.10e-14", "2.25e-14", "1.00e-15"]);
        check(&[1e15, 1e15 + 1.0], &["1,000,000,000,000,000", "1,000,000,000,000,001"]);
        check(&[0.1 + 0.2], &["0.300000000000"]);
        // After a fall to 10^-12 of its value, a price still has its digits.
        check(&[1.0, 2.345_6e-13], &["1.0000000000000000", "0.0000000000002346"]);
        check(&[], &[]);
    }
}
