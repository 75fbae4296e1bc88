//! Times that were measured, and what is said of them.

use std::time::Duration;

/// Times of one kind.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort_unstable();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that at least so many percent of all do not exceed (nearest rank); zero when there is none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The largest.
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// Milliseconds with one decimal, for tables.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut figures = Figures::default();
        assert_eq!((figures.percentile(50), figures.max()), (Duration::ZERO, Duration::ZERO));
        for ms in (1..=50).rev() {
            figures.add(Duration::from_millis(ms));
        }
        let ms = |percent| figures.percentile(percent).as_millis();
        assert_eq!((ms(1), ms(50), ms(99), ms(100), figures.count()), (1, 25, 50, 50, 50));
    }
}
