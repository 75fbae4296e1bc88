//! Measured times and their quantiles.

use std::time::Duration;

/// Times of one kind.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    /// Number of times.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that at least this many thousandths do not exceed (nearest rank); zero when empty.
    pub fn of_thousand(&self, thousandths: usize) -> Duration {
        let rank = (self.0.len() * thousandths).div_ceil(1_000).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The largest.
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let none = Times::default();
        assert_eq!((none.of_thousand(500), none.max()), (Duration::ZERO, Duration::ZERO));
        let fifty: Times = (1..=50).rev().map(Duration::from_millis).collect();
        let ms = |thousandths| fifty.of_thousand(thousandths).as_millis();
        assert_eq!((ms(10), ms(500), ms(990), ms(1_000), fifty.count()), (1, 25, 50, 50, 50));
        let many: Times = (1..=10_000).map(Duration::from_millis).collect();
        assert_eq!(many.of_thousand(999).as_millis(), 9_990);
    }
}
