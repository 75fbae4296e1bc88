//! Extent of an axis.

/// Relative difference below which values count as equal: marks between them would need more digits than an f64 has.
const WIDTH_MIN: f64 = 1e-12;
/// Larger values are drawn at the edge: the difference of two of them may be no number.
const VALUE_MAX: f64 = 1e300;

/// A range of values; never empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Extent {
    /// Returns the range of the values; a range around them if they are all equal.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .map(|value| value.clamp(-VALUE_MAX, VALUE_MAX))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0 };
        }
        if high - low <= high.abs().max(low.abs()) * WIDTH_MIN {
            let slack = if high == 0.0 { 1.0 } else { high.abs() * 0.01 };
            return Self { low: low - slack, high: high + slack };
        }
        Self { low, high }
    }

    /// Returns the extent widened by a share of its length on either side.
    pub(super) fn padded(self, share: f64) -> Self {
        let slack = (self.high - self.low) * share;
        Self { low: self.low - slack, high: self.high + slack }
    }

    /// Returns the extent widened to include `other`, by at most a share of its length on either side.
    pub(super) fn stretched(self, other: Self, share_max: f64) -> Self {
        let most = self.padded(share_max);
        Self { low: self.low.min(other.low.max(most.low)), high: self.high.max(other.high.min(most.high)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_never_empty_and_grows_within_bounds() {
        assert_eq!(Extent::of([]), Extent { low: 0.0, high: 1.0 });
        assert_eq!(Extent::of([5.0, 5.0]), Extent { low: 4.95, high: 5.05 });
        assert_eq!(Extent::of([f64::NAN, 1.0, 3.0]), Extent { low: 1.0, high: 3.0 });
        let prices = Extent { low: 10.0, high: 20.0 };
        assert_eq!(prices.stretched(Extent { low: -1e9, high: 21.0 }, 0.5), Extent { low: 5.0, high: 21.0 });
    }
}
