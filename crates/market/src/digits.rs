//! Digits of numbers for people: enough at any size, from prices of 10⁻¹⁵ and their errors to 10¹⁵.

/// Numbers below this are shown with an exponent: their plain digits would be mostly zeros.
pub const PLAIN_MIN: f64 = 1e-6;

/// Returns the number of decimals that show this many significant digits, at least 1, of a number in plain form. `None`
/// for numbers below [`PLAIN_MIN`], which need an exponent. A whole number keeps all of its digits.
pub fn plain_decimals(value: f64, digits: usize) -> Option<usize> {
    if value == 0.0 || !value.is_finite() {
        return Some(0);
    }
    if value.abs() < PLAIN_MIN {
        return None;
    }
    let behind_first = digits.saturating_sub(1);
    // The power of ten of the rounded number: 9.99999 is 10.000 with five digits.
    let rounded = format!("{value:.behind_first$e}");
    let power: i64 = rounded.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    Some(usize::try_from(behind_first as i64 - power).unwrap_or(0))
}

/// Shows a number with this many significant digits: `12346`, `1.2346`, `0.0012346`, `1.2346e-16`.
pub fn significant(value: f64, digits: usize) -> String {
    match plain_decimals(value, digits) {
        Some(decimals) => format!("{value:.decimals$}"),
        None => format!("{value:.*e}", digits.saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_show_five_digits() {
        let cases = [
            (0.0, "0"),
            (1e15, "1000000000000000"),
            (12_345.678, "12346"),
            (1.234_567, "1.2346"),
            (9.999_99, "10.000"),
            (0.999_996, "1.0000"),
            (0.000_012_345_67, "0.000012346"),
            (1e-6, "0.0000010000"),
            (1e-7, "1.0000e-7"),
            (1e-15, "1.0000e-15"),
            (3.141_59e-16, "3.1416e-16"),
            (-1.234_567e-20, "-1.2346e-20"),
            (f64::INFINITY, "inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value, 5), expected);
        }
    }
}
