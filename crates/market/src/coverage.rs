//! The coverage of a window: the union of its known spans, exact to the millisecond.

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

/// Maximum number of disjoint spans of a window: a day of single minutes.
pub const SPANS_MAX: usize = 1_440;

/// The union of half-open spans within one window. Overlaps count once, and the order of the spans does not matter, as
/// long as no more than [`SPANS_MAX`] of them are disjoint. Beyond that the shortest span is dropped: the union may be
/// too small, but is never too large.
///
/// A window whose spans all touch, the usual case, takes 32 bytes and no heap memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The latest span, in milliseconds from the window's start; empty without any span.
    latest: Part,
    /// The others, ascending. None of them touches its neighbor.
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
    /// Adds the part of `[from, to)` inside the window `[start, end)`. Returns whether a span was dropped.
    ///
    /// # Panics
    /// The window is longer than 49 days.
    pub fn add(&mut self, from: EventTime, to: EventTime, (start, end): (EventTime, EventTime)) -> bool {
        let (from, to) = (from.max(start), to.min(end));
        if from >= to {
            return false;
        }
        let offset = |time: EventTime| u32::try_from((time - start).ms()).expect("a window has at most 2^32 ms");
        self.insert(Part { from: offset(from), to: offset(to) })
    }

    /// Returns the length of the union.
    pub fn covered(&self) -> Span {
        let parts = self.earlier.iter().chain([&self.latest]);
        Span(parts.map(|part| i64::from(part.len())).sum())
    }

    fn insert(&mut self, part: Part) -> bool {
        let is_first = self.latest.len() == 0;
        // A new span mostly continues the latest one.
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
    fn only_the_part_in_the_window_counts() {
        assert_eq!(union(&[(0, 5_000)]).covered(), Span(100));
        assert_eq!(union(&[(0, 1_000), (1_100, 2_000)]).covered(), Span(0));
        assert_eq!(union(&[(990, 1_010), (1_090, 1_200), (1_050, 1_040)]).covered(), Span(20));
    }

    #[test]
    fn beyond_the_bound_the_shortest_is_dropped() {
        let window = (EventTime(0), EventTime(Span::DAY.ms()));
        let mut coverage = Coverage::default();
        let mut add = |from: i64, len: i64| coverage.add(EventTime(from), EventTime(from + len), window);
        for idx in 0..SPANS_MAX as i64 {
            assert!(!add(idx * 10, if idx == 7 { 1 } else { 2 }));
        }
        assert!(add(50_000, 5), "the span of 1 ms is dropped");
        assert!(add(60_000, 1), "the new span is the shortest and is dropped");
        assert_eq!(coverage.covered(), Span(2 * (SPANS_MAX as i64 - 1) + 5));
    }

    proptest! {
        #[test]
        fn coverage_is_the_plain_union_in_any_order(
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
