//! Distances between the rows of a recording.

use std::cmp::Reverse;
use std::collections::HashMap;

use market::Span;

/// Probability, as a negative natural logarithm, below which a stretch of rows with other distances is not a
/// coincidence: once in 10^9 rows.
const CHANCE_LN: f64 = 20.7;

/// Occurrences of one distance.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: u64,
    /// Longest series of this distance without another one between.
    longest: u64,
    /// Line of the second row of that series.
    line: u32,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        if other.longest > self.longest {
            (self.longest, self.line) = (other.longest, other.line);
        }
    }
}

/// Counts of the distances between neighbors in time. There are few distinct ones: a year has room for 250,000.
#[derive(Debug)]
pub(crate) struct Steps {
    counts: HashMap<Span, Count>,
    /// The latest distance with the length of its current series: most recordings continue as before.
    latest: (Span, Count),
}

impl Default for Steps {
    fn default() -> Self {
        Self { counts: HashMap::new(), latest: (Span(0), Count::default()) }
    }
}

impl Steps {
    /// Adds the distance between two rows, of which the later is on this line. Rows of one instant have no distance.
    pub(crate) fn note(&mut self, step: Span, line: u32) {
        if step == Span(0) {
            return;
        }
        if step != self.latest.0 {
            self.settle();
            self.latest = (step, Count { all: 0, longest: 0, line });
        }
        self.latest.1.all += 1;
        self.latest.1.longest += 1;
    }

    /// Adds the counts of another file.
    pub(crate) fn add(&mut self, other: &Self) {
        for (&step, &count) in other.counts.iter().chain([(&other.latest.0, &other.latest.1)]) {
            if count.all > 0 {
                self.counts.entry(step).or_default().add(count);
            }
        }
    }

    /// Returns the most frequent distance (the shortest of equally frequent ones); `None` without two rows of different
    /// times.
    pub(crate) fn usual(&mut self) -> Option<Span> {
        self.settle();
        self.counts.iter().max_by_key(|(step, count)| (count.all, Reverse(**step))).map(|(step, _)| *step)
    }

    /// Returns how often this distance occurs.
    pub(crate) fn count(&self, step: Span) -> u64 {
        self.counted().filter(|(other, _)| *other == step).map(|(_, count)| count.all).sum()
    }

    /// Returns the number of distances.
    pub(crate) fn total(&self) -> u64 {
        self.counted().map(|(_, count)| count.all).sum()
    }

    /// Whether more than half of all distances differ from `step`.
    pub(crate) fn contradict(&self, step: Span) -> bool {
        let all = self.total();
        (all - self.count(step)) * 2 > all
    }

    /// Returns the most frequent distance that is clearly shorter than a candle, and the number of such distances:
    /// these candles overlap. Months, and days of a clock change, differ by less.
    pub(crate) fn overlapping(&self, grain: Span) -> Option<(Span, u64)> {
        let is_shorter = |step: Span| step.ms().saturating_mul(10) < grain.ms().saturating_mul(9);
        let shorter = || self.counted().filter(|(step, _)| is_shorter(*step));
        let all = shorter().map(|(_, count)| count.all).sum();
        shorter().max_by_key(|(step, count)| (count.all, Reverse(*step))).map(|(step, _)| (step, all))
    }

    /// Returns the longest series of a distance that is a multiple of a candle's length, if it is too long for candles
    /// missing by chance: the distance, and the line where it begins.
    pub(crate) fn coarser_stretch(&self, grain: Span) -> Option<(Span, u32)> {
        let is_stretch = |(step, count): &(Span, Count)| {
            let times = step.ms() / grain.ms().max(1);
            times > 1 && count.longest as f64 * chance_ln(times as f64) > CHANCE_LN
        };
        let stretches = self.counted().filter(is_stretch);
        stretches.max_by_key(|(step, count)| (count.longest, Reverse(*step))).map(|(step, count)| (step, count.line))
    }

    /// Whether all distances are multiples of the usual one.
    pub(crate) fn are_multiples(&mut self) -> bool {
        let Some(usual) = self.usual() else { return true };
        self.counts.keys().all(|step| step.ms() % usual.ms() == 0)
    }

    fn counted(&self) -> impl Iterator<Item = (Span, Count)> {
        let latest = Some(self.latest).filter(|(_, count)| count.all > 0);
        self.counts.iter().map(|(step, count)| (*step, *count)).chain(latest)
    }

    fn settle(&mut self) {
        let (step, count) = std::mem::replace(&mut self.latest, (Span(0), Count::default()));
        if count.all > 0 {
            self.counts.entry(step).or_default().add(count);
        }
    }
}

/// Returns an upper bound of the probability that the next present candle comes this many places later when candles are
/// missing independently, as a negative natural logarithm: (1/n)(1 − 1/n)^(n − 1), the maximum of a geometric
/// distribution at n.
fn chance_ln(places: f64) -> f64 {
    places.ln() - (places - 1.0) * (1.0 - places.recip()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &[i64]) -> Steps {
        let mut found = Steps::default();
        (3..).zip(steps).for_each(|(line, &step)| found.note(Span(step), line));
        found
    }

    #[test]
    fn the_usual_step_is_the_most_frequent_one() {
        let check = |parts: &[i64], usual: Option<i64>, contradicted: bool| {
            let mut found = Steps::default();
            parts.chunks(3).for_each(|part| found.add(&steps(part)));
            assert_eq!((found.usual(), found.contradict(Span(60))), (usual.map(Span), contradicted), "{parts:?}");
        };
        check(&[], None, false);
        check(&[0, 0], None, false);
        check(&[60, 60, 0, 0, 0, 120], Some(60), false);
        check(&[60, 120], Some(60), false);
        check(&[120, 60, 180], Some(60), true);
        check(&[3_600, 3_600, 3_600, 60], Some(3_600), true);
        check(&[60, 120, 60, 120, 120], Some(120), true);
    }

    #[test]
    fn candles_that_follow_too_soon_overlap() {
        assert_eq!(steps(&[60, 60, 45, 15, 60, 15]).overlapping(Span(60)), Some((Span(15), 3)));
        // Months, and days of a clock change.
        let day = Span::DAY.ms();
        assert_eq!(steps(&[31 * day, 28 * day, 31 * day]).overlapping(Span(31 * day)), None);
        assert_eq!(steps(&[24, 23, 24, 25]).overlapping(Span(24)), None);
    }

    #[test]
    fn a_series_of_longer_steps_is_no_coincidence() {
        let check = |times: i64, often: usize, expected: bool| {
            let parts = [vec![60; 20], vec![60 * times; often], vec![60; 9]].concat();
            let line = expected.then_some((Span(60 * times), 23));
            assert_eq!(steps(&parts).coarser_stretch(Span(60)), line, "{often} steps of {times}");
        };
        // A quarter of the rows may be missing in a row now and then.
        [(2, 14), (5, 8), (60, 4), (1_440, 2)].into_iter().for_each(|(times, often)| check(times, often, false));
        [(2, 16), (5, 9), (60, 5), (1_440, 3)].into_iter().for_each(|(times, often)| check(times, often, true));
        // Nights without trading, each after a day of minutes.
        assert_eq!(steps(&[60, 60, 3_600].repeat(50)).coarser_stretch(Span(60)), None);
    }

    #[test]
    fn the_odds_are_those_of_a_geometric_distribution() {
        for (places, odds) in [(2.0, 0.25), (3.0, 4.0 / 27.0), (60.0, 0.006_183)] {
            assert!((f64::exp(-chance_ln(places)) / odds - 1.0).abs() < 1e-3, "{places}");
        }
    }
}
