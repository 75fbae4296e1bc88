//! Which parts of a window are known: a union of spans, exact to the millisecond.

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

/// Most disjoint spans that a window remembers: a day of single minutes.
pub const SPANS_MAX: usize = 1_440;

/// The union of half-open spans within one window. What overlaps counts once, and the order in which spans come does not
/// matter, as long as no more than [`SPANS_MAX`] of them are disjoint. Beyond that the shortest goes: the union is then too
/// small, never too large.
///
/// A window whose spans all touch, the usual case, takes 32 bytes and no memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The latest span, in milliseconds from the window's start; empty when nothing is known.
    latest: Part,
    /// The others, ascending. None of them touches its neighbour.
    earlier: Vec<Part>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    from: u32,
    to: u32,
}

impl Part {
    fn len(self) -> u32 {
        self.to - self.from
    }

    fn touches(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    fn hull(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }
}

impl Coverage {
    /// Adds what lies of `[from, to)` within the window `[start, end)`. Returns whether a span had to go.
    ///
    /// # Panics
    /// When the window is longer than 49 days.
    pub fn add(&mut self, from: EventTime, to: EventTime, (start, end): (EventTime, EventTime)) -> bool {
        let (from, to) = (from.max(start), to.min(end));
        if from >= to {
            return false;
        }
        let offset = |time: EventTime| u32::try_from((time - start).ms()).expect("a window has at most 2^32 ms");
        self.insert(Part { from: offset(from), to: offset(to) })
    }

    /// The length of the union.
    pub fn covered(&self) -> Span {
        let parts = self.earlier.iter().chain([&self.latest]);
        Span(parts.map(|part| i64::from(part.len())).sum())
    }

    fn insert(&mut self, part: Part) -> bool {
        let is_first = self.latest.len() == 0;
        // Time mostly goes on where the latest span ends.
        if is_first || (self.latest.touches(part) && part.from >= self.latest.from) {
            self.latest = if is_first { part } else { self.latest.hull(part) };
            return false;
        }
        if self.latest.to < part.from {
            self.earlier.push(std::mem::replace(&mut self.latest, part));
        } else {
            self.insert_earlier(part);
        }
        self.earlier.len() + 1 > SPANS_MAX && self.drop_shortest()
    }

    /// Inserts a span that begins before the latest one.
    fn insert_earlier(&mut self, mut part: Part) {
        let first = self.earlier.partition_point(|earlier| earlier.to < part.from);
        let behind = self.earlier.partition_point(|earlier| earlier.from <= part.to);
        for merged in self.earlier.drain(first..behind) {
            part = part.hull(merged);
        }
        if self.latest.touches(part) {
            self.latest = self.latest.hull(part);
        } else {
            self.earlier.insert(first, part);
        }
    }

    fn drop_shortest(&mut self) -> bool {
        let shortest = (0..self.earlier.len()).min_by_key(|&idx| self.earlier[idx].len());
        match shortest {
            Some(idx) if self.earlier[idx].len() <= self.latest.len() => drop(self.earlier.remove(idx)),
            _ => self.latest = self.earlier.pop().unwrap_or_default(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: (EventTime, EventTime) = (EventTime(1_000), EventTime(1_100));

    fn union(spans: &[(i64, i64)]) -> Coverage {
        let mut coverage = Coverage::default();
        for &(from, to) in spans {
            assert!(!coverage.add(EventTime(from), EventTime(to), WINDOW));
        }
        coverage
    }

    #[test]
    fn only_what_lies_in_the_window_counts() {
        assert_eq!(union(&[(0, 5_000)]).covered(), Span(100));
        assert_eq!(union(&[(0, 1_000), (1_100, 2_000)]).covered(), Span(0));
        assert_eq!(union(&[(990, 1_010), (1_090, 1_200), (1_050, 1_040)]).covered(), Span(20));
    }

    #[test]
    fn beyond_the_bound_the_shortest_goes() {
        let window = (EventTime(0), EventTime(Span::DAY.ms()));
        let mut coverage = Coverage::default();
        let mut add = |from: i64, len: i64| coverage.add(EventTime(from), EventTime(from + len), window);
        for idx in 0..SPANS_MAX as i64 {
            assert!(!add(idx * 10, if idx == 7 { 1 } else { 2 }));
        }
        assert!(add(50_000, 5), "the one of 1 ms goes");
        assert!(add(60_000, 1), "the new one is the shortest and goes");
        assert_eq!(coverage.covered(), Span(2 * (SPANS_MAX as i64 - 1) + 5));
    }

    proptest! {
        #[test]
        fn it_is_the_plain_union_in_any_order(
            spans in prop::collection::vec((980_i64..1_120, 0_i64..30), 0..60),
        ) {
            let spans: Vec<_> = spans.into_iter().map(|(from, len)| (from, from + len)).collect();
            let known = |ms: &i64| spans.iter().any(|&(from, to)| from <= *ms && *ms < to);
            let expected = (WINDOW.0.ms()..WINDOW.1.ms()).filter(known).count() as i64;
            let coverage = union(&spans);
            prop_assert_eq!(coverage.covered(), Span(expected));
            let mut sorted = spans.clone();
            sorted.sort_unstable();
            prop_assert_eq!(union(&sorted), coverage.clone());
            let parts: Vec<Part> = coverage.earlier.iter().chain([&coverage.latest]).copied().collect();
            prop_assert!(parts.windows(2).all(|pair| pair[0].to < pair[1].from), "{:?}", parts);
        }
    }
}
