//! Exact sums and means of non-negative `f64` values, computed with integers of arbitrary size.

use num_bigint::BigUint;

/// Bits kept for rounding: more than the 53 of an `f64` and the rounding bit.
const KEPT_BITS: u64 = 64;

/// The exact sum of the terms divided by `count`, rounded once to the nearest `f64`, ties to even. Terms must be finite
/// and not negative, `count` not zero.
pub(crate) fn mean(terms: impl Iterator<Item = f64> + Clone, count: u64) -> f64 {
    // Every term is an integer multiple of 2^e, where e is the smallest exponent among them.
    let parts = terms.map(parts_of);
    let unit = parts.clone().map(|(_, exponent)| exponent).min().unwrap_or(0);
    let total: BigUint = parts.map(|(mantissa, exponent)| BigUint::from(mantissa) << (exponent - unit)).sum();
    let divisor = BigUint::from(count);
    let widened = (KEPT_BITS + divisor.bits()).saturating_sub(total.bits());
    let dividend = total << widened;
    let mut quotient = &dividend / &divisor;
    let mut is_inexact = &quotient * &divisor != dividend;
    let narrowed = quotient.bits().saturating_sub(KEPT_BITS);
    is_inexact |= quotient.trailing_zeros().is_some_and(|zeros| zeros < narrowed);
    quotient >>= narrowed;
    let kept = u64::try_from(quotient).expect("it was narrowed to 64 bits");
    // The bits cut off lie below the rounding bit; they count only as "slightly more" (sticky bit).
    (kept | u64::from(is_inexact)) as f64 * 2_f64.powi(unit - widened as i32 + narrowed as i32)
}

/// The exact sum of the terms, rounded once to the nearest `f64`, ties to even.
pub(crate) fn sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    mean(terms, 1)
}

/// Splits a finite, non-negative number into mantissa × 2^exponent.
fn parts_of(term: f64) -> (u64, i32) {
    let bits = term.to_bits();
    let (biased, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased as i32 - 1075) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_rounded_once() {
        let check = |terms: &[f64], expected: f64| {
            assert_eq!(mean(terms.iter().copied(), terms.len() as u64), expected, "{terms:?}");
        };
        check(&[10.0], 10.0);
        check(&[1.0, 2.0], 1.5);
        check(&[0.0, 0.0], 0.0);
        // 0.1 + 0.2 is 0.30000000000000004 when it is rounded before it is divided.
        check(&[0.1, 0.2, 0.3], 0.2);
        check(&[1e15, 1e-12, 1e-12], 333_333_333_333_333.3);
        // Exactly halfway between two neighbors: rounds to even; slightly above: rounds up.
        let next = f64::from_bits(1_f64.to_bits() + 1);
        check(&[1.0, next], 1.0);
        check(&[1.0, next, 1.0 + f64::EPSILON * 2.0], next);
        assert_eq!(sum([1.0, f64::EPSILON / 2.0].into_iter()), 1.0);
        assert_eq!(sum([1.0, f64::EPSILON / 2.0, 1e-30].into_iter()), next);
    }
}
