//! How far the rows of a recording are apart.

use std::collections::BTreeMap;

use market::Span;

/// The distances between neighbours in time, counted. There are few different ones: a year has room for 250,000.
#[derive(Debug)]
pub(crate) struct Steps {
    counts: BTreeMap<Span, u64>,
    /// The distance that came last, and how often in a row: recordings mostly go on as they did.
    latest: (Span, u64),
}

impl Default for Steps {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), latest: (Span(0), 0) }
    }
}

impl Steps {
    /// Counts the distance between two rows; rows of one instant have none.
    pub(crate) fn note(&mut self, step: Span) {
        if step == Span(0) {
            return;
        }
        if step == self.latest.0 {
            self.latest.1 += 1;
        } else {
            self.settle();
            self.latest = (step, 1);
        }
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        for (&step, count) in &other.counts {
            *self.counts.entry(step).or_default() += count;
        }
        let (step, count) = other.latest;
        if count > 0 {
            *self.counts.entry(step).or_default() += count;
        }
    }

    /// The most frequent distance, the shortest of equals; `None` without two rows of different time.
    pub(crate) fn usual(&mut self) -> Option<Span> {
        self.settle();
        // The last of equals is what `max_by_key` returns: the shortest, when they come in falling order.
        self.counts.iter().rev().max_by_key(|(_, count)| **count).map(|(step, _)| *step)
    }

    /// How often there is this distance.
    pub(crate) fn count(&self, step: Span) -> u64 {
        let latest = if self.latest.0 == step { self.latest.1 } else { 0 };
        self.counts.get(&step).copied().unwrap_or_default() + latest
    }

    /// How many distances there are.
    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.latest.1
    }

    /// Whether more than half of all distances are others.
    pub(crate) fn contradict(&self, step: Span) -> bool {
        let all = self.total();
        (all - self.count(step)) * 2 > all
    }

    fn settle(&mut self) {
        let (step, count) = std::mem::replace(&mut self.latest, (Span(0), 0));
        if count > 0 {
            *self.counts.entry(step).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_step_is_the_most_frequent_one() {
        let check = |steps: &[i64], usual: Option<i64>, contradicted: bool| {
            let mut found = Steps::default();
            for part in steps.chunks(3) {
                let mut counted = Steps::default();
                part.iter().for_each(|&step| counted.note(Span(step)));
                found.add(&counted);
            }
            assert_eq!((found.usual(), found.contradict(Span(60))), (usual.map(Span), contradicted), "{steps:?}");
        };
        check(&[], None, false);
        check(&[0, 0], None, false);
        check(&[60, 60, 0, 0, 0, 120], Some(60), false);
        check(&[60, 120], Some(60), false);
        check(&[120, 60, 180], Some(60), true);
        check(&[3_600, 3_600, 3_600, 60], Some(3_600), true);
        check(&[60, 120, 60, 120, 120], Some(120), true);
    }
}
