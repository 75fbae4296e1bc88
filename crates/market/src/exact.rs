//! Sums that do not depend on the order of their terms.
//!
//! A sum of `f64` rounds at every step, so merging partial windows in another order gives other bits. This sum is a
//! 256-bit fixed-point number with the unit 2⁻¹²⁸ (two's complement, four limbs, least significant first). Every
//! accepted price and volume is a whole number of units, so addition is exact, commutative and associative. The only
//! rounding happens when the result is read.

use serde::{Deserialize, Serialize};

const LIMBS: usize = 4;
/// The unit is 2 to this power.
const UNIT_EXPONENT: i32 = -128;
const MANTISSA_BITS: u32 = 53;

/// An exact, order-independent, mergeable sum of `f64`. 32 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactSum([u64; LIMBS]);

/// A term or a total that does not fit 256 bits with the unit 2⁻¹²⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not representable as a 256-bit sum with unit 2^-128")]
pub struct Unrepresentable;

impl ExactSum {
    /// Adds a term.
    ///
    /// # Errors
    /// The term is not finite, has bits below 2⁻¹²⁸, or the total leaves the range. The sum is then unchanged.
    pub fn add(&mut self, term: f64) -> Result<(), Unrepresentable> {
        self.merge(&Self::from_f64(term)?)
    }

    /// Adds another sum.
    ///
    /// # Errors
    /// The total leaves the range. The sum is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), Unrepresentable> {
        let mut total = [0; LIMBS];
        let mut carry = false;
        for (idx, limb) in total.iter_mut().enumerate() {
            (*limb, carry) = add_with_carry(self.0[idx], other.0[idx], carry);
        }
        // Two's complement overflows exactly when two numbers of one sign have a sum of the other sign.
        let total = Self(total);
        if self.is_negative() == other.is_negative() && total.is_negative() != self.is_negative() {
            return Err(Unrepresentable);
        }
        *self = total;
        Ok(())
    }

    /// Returns the sum, rounded once to the nearest `f64` (ties to even).
    pub fn to_f64(&self) -> f64 {
        self.mean(1)
    }

    /// Returns the sum divided by `count`, rounded once to the nearest `f64` (ties to even). A `count` of 0 counts as
    /// 1.
    pub fn mean(&self, count: u64) -> f64 {
        let negative = self.is_negative();
        let magnitude = if negative { self.negated().0 } else { self.0 };
        let divisor = count.max(1);
        // 64 more bits below the unit keep a full mantissa in the quotient for any count.
        let mut quotient = [0_u64; LIMBS + 1];
        let mut remainder = 0;
        let top = magnitude.iter().rposition(|&limb| limb != 0).map_or(0, |idx| idx + 1);
        for idx in (0..=top).rev() {
            let limb = if idx == 0 { 0 } else { magnitude[idx - 1] };
            (quotient[idx], remainder) = divide(remainder, limb, divisor);
        }
        let rounded = round(&quotient, UNIT_EXPONENT - 64, remainder != 0);
        if negative { -rounded } else { rounded }
    }

    /// Creates the sum of one term.
    ///
    /// # Errors
    /// The term is not finite, or has bits below 2⁻¹²⁸ or above the range.
    pub fn from_f64(term: f64) -> Result<Self, Unrepresentable> {
        if !term.is_finite() {
            return Err(Unrepresentable);
        }
        let bits = term.to_bits();
        let biased = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (mut mantissa, mut exponent) =
            if biased == 0 { (fraction, -1074) } else { (fraction | (1 << 52), biased - 1075) };
        if mantissa == 0 {
            return Ok(Self::default());
        }
        let trailing = mantissa.trailing_zeros();
        mantissa >>= trailing;
        exponent += trailing as i32;
        let width = u64::BITS - mantissa.leading_zeros();
        let shift = u32::try_from(exponent - UNIT_EXPONENT).map_err(|_| Unrepresentable)?;
        // The top bit is the sign.
        if shift + width > (LIMBS as u32) * u64::BITS - 1 {
            return Err(Unrepresentable);
        }
        let mut limbs = [0; LIMBS];
        let (idx, offset) = ((shift / u64::BITS) as usize, shift % u64::BITS);
        limbs[idx] = mantissa << offset;
        if offset + width > u64::BITS {
            limbs[idx + 1] = mantissa >> (u64::BITS - offset);
        }
        let sum = Self(limbs);
        Ok(if term.is_sign_negative() { sum.negated() } else { sum })
    }

    fn is_negative(&self) -> bool {
        self.0[LIMBS - 1] >> 63 == 1
    }

    fn negated(&self) -> Self {
        let mut limbs = self.0.map(|limb| !limb);
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = add_with_carry(*limb, 0, carry);
        }
        Self(limbs)
    }
}

fn add_with_carry(left: u64, right: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = left.overflowing_add(right);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum, first || second)
}

/// Divides (`left` × 2⁶⁴ + `limb`) by the divisor, where `left` is the remainder of the limbs above. Returns quotient
/// and remainder.
fn divide(left: u64, limb: u64, divisor: u64) -> (u64, u64) {
    const HALF: u32 = u64::BITS / 2;
    if divisor >> HALF == 0 {
        // In two halves: a processor divides 64 bits many times faster than software divides 128.
        let high = (left << HALF) | (limb >> HALF);
        let low = ((high % divisor) << HALF) | (limb & u64::from(u32::MAX));
        (((high / divisor) << HALF) | (low / divisor), low % divisor)
    } else {
        let dividend = (u128::from(left) << u64::BITS) | u128::from(limb);
        let divisor = u128::from(divisor);
        ((dividend / divisor) as u64, (dividend % divisor) as u64)
    }
}

/// Returns the nearest `f64` to `limbs × 2^exponent`. `sticky` says that a remainder is left below the last limb.
fn round(limbs: &[u64], exponent: i32, sticky: bool) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
    let width = top as u32 * u64::BITS + (u64::BITS - limbs[top].leading_zeros());
    let shift = width.saturating_sub(MANTISSA_BITS);
    let mut mantissa = bits_from(limbs, shift);
    let half = shift > 0 && bit(limbs, shift - 1);
    let below = sticky || (shift > 1 && (0..shift - 1).any(|idx| bit(limbs, idx)));
    if half && (below || mantissa & 1 == 1) {
        mantissa += 1;
    }
    // Both factors are exact: the mantissa has at most 54 bits, of which the last may be a carry, and the exponent
    // stays far inside the normal range for 256 bits around 2^-192.
    mantissa as f64 * 2_f64.powi(shift as i32 + exponent)
}

/// Returns the 64 bits of `limbs` that begin at bit `from`.
fn bits_from(limbs: &[u64], from: u32) -> u64 {
    let (idx, offset) = ((from / u64::BITS) as usize, from % u64::BITS);
    let low = limbs[idx] >> offset;
    let high = if offset == 0 { 0 } else { limbs.get(idx + 1).copied().unwrap_or(0) << (u64::BITS - offset) };
    low | high
}

fn bit(limbs: &[u64], idx: u32) -> bool {
    limbs[(idx / u64::BITS) as usize] >> (idx % u64::BITS) & 1 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(terms: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        for &term in terms {
            sum.add(term).expect("representable");
        }
        sum
    }

    #[test]
    fn a_classic_that_plain_addition_gets_wrong() {
        assert_eq!(sum(&[1e15, 1e-12, -1e15]).to_f64(), 1e-12);
        assert_eq!(sum(&[0.1; 10]).mean(10), 0.1);
        assert_eq!(sum(&[1.0, 1.0, 2.0]).mean(3), 4.0 / 3.0);
        assert_eq!(sum(&[]).mean(0), 0.0);
    }

    #[test]
    fn a_term_that_does_not_fit_changes_nothing() {
        let mut total = sum(&[1.5]);
        for bad in [f64::NAN, f64::INFINITY, 2_f64.powi(-129), 2_f64.powi(127)] {
            assert_eq!(total.add(bad), Err(Unrepresentable), "{bad:e}");
        }
        assert_eq!(total.to_f64(), 1.5);
        let mut large = sum(&[2_f64.powi(126)]);
        assert_eq!(large.add(2_f64.powi(126)), Err(Unrepresentable));
        assert_eq!(large.to_f64(), 2_f64.powi(126));
    }

    fn price() -> impl Strategy<Value = f64> {
        (-12.0..15.0_f64).prop_map(|exponent| 10_f64.powf(exponent))
    }

    proptest! {
        #[test]
        fn one_term_comes_back_as_it_was(value in price()) {
            prop_assert_eq!(sum(&[value]).to_f64(), value);
            prop_assert_eq!(sum(&[-value]).to_f64(), -value);
        }

        #[test]
        fn any_order_and_any_grouping_give_the_same_bits(
            mut terms in prop::collection::vec(price(), 1..40), seed in any::<u64>(), cut in 0_usize..40,
        ) {
            let whole = sum(&terms);
            let cut = cut.min(terms.len());
            let mut merged = sum(&terms[cut..]);
            merged.merge(&sum(&terms[..cut])).expect("fits");
            prop_assert_eq!(merged, whole);
            let len = terms.len();
            for idx in 0..len {
                terms.swap(idx, (seed as usize).wrapping_mul(idx + 1) % len);
            }
            prop_assert_eq!(sum(&terms), whole);
        }

        #[test]
        fn halves_divide_as_the_whole_does(left in any::<u64>(), limb in any::<u64>(), divisor in 1_u64.., shift in 0_u32..64) {
            let divisor = (divisor >> shift).max(1);
            let left = left % divisor;
            let dividend = (u128::from(left) << 64) | u128::from(limb);
            let expected = (dividend / u128::from(divisor), dividend % u128::from(divisor));
            let (quotient, remainder) = divide(left, limb, divisor);
            prop_assert_eq!((u128::from(quotient), u128::from(remainder)), expected);
        }

        #[test]
        fn means_of_whole_numbers_are_correctly_rounded(
            terms in prop::collection::vec(0_u64..1 << 40, 1..50), count in 1_u64..1000,
        ) {
            // Below 2^53 the total is exact as f64, and IEEE division rounds correctly.
            let floats: Vec<f64> = terms.iter().map(|&term| term as f64).collect();
            let total: u64 = terms.iter().sum();
            prop_assert_eq!(sum(&floats).mean(count), total as f64 / count as f64);
        }
    }
}
