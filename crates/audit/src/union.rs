//! How much of a window is known: the length of a union of spans, by sorting them.

use std::collections::BTreeMap;

/// Most disjoint spans that a window remembers; beyond that the shortest goes, the earliest among equals.
const PARTS_MAX: usize = 1_440;

/// A half-open span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// The length of what `parts` cover of the window `[start_ms, end_ms)`. They are in the order in which they came.
pub(crate) fn covered_ms(parts: Vec<Part>, start_ms: i64, end_ms: i64) -> i64 {
    let within = |part: Part| Part { from_ms: part.from_ms.max(start_ms), to_ms: part.to_ms.min(end_ms) };
    let mut parts: Vec<Part> = parts.into_iter().map(within).filter(|part| part.from_ms < part.to_ms).collect();
    if parts.len() > PARTS_MAX {
        parts = bounded(parts);
    }
    parts.sort_by_key(|part| part.from_ms);
    let mut reached_ms = start_ms;
    let mut covered_ms = 0;
    for part in parts {
        covered_ms += (part.to_ms - part.from_ms.max(reached_ms)).max(0);
        reached_ms = reached_ms.max(part.to_ms);
    }
    covered_ms
}

/// What is remembered of so many that some may have to go: one after the other.
fn bounded(parts: Vec<Part>) -> Vec<Part> {
    // By end, which makes those that a new one touches neighbours.
    let mut kept: BTreeMap<i64, i64> = BTreeMap::new();
    for Part { mut from_ms, mut to_ms } in parts {
        while let Some((&end_ms, &begin_ms)) = kept.range(from_ms..).next()
            && begin_ms <= to_ms
        {
            kept.remove(&end_ms);
            (from_ms, to_ms) = (from_ms.min(begin_ms), to_ms.max(end_ms));
        }
        kept.insert(to_ms, from_ms);
        if kept.len() > PARTS_MAX
            && let Some((&end_ms, _)) = kept.iter().min_by_key(|(end_ms, begin_ms)| (**end_ms - **begin_ms, **begin_ms))
        {
            kept.remove(&end_ms);
        }
    }
    kept.into_iter().map(|(to_ms, from_ms)| Part { from_ms, to_ms }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[(i64, i64)], expected_ms: i64) {
        let parts: Vec<Part> = parts.iter().map(|&(from_ms, to_ms)| Part { from_ms, to_ms }).collect();
        assert_eq!(covered_ms(parts.clone(), 100, 200), expected_ms, "{parts:?}");
        assert_eq!(covered_ms(bounded(parts.clone()), 100, 200), expected_ms, "bounded {parts:?}");
    }

    #[test]
    fn what_overlaps_counts_once_and_what_lies_outside_not_at_all() {
        check(&[], 0);
        check(&[(0, 1_000)], 100);
        check(&[(0, 100), (200, 300)], 0);
        check(&[(150, 160), (100, 110), (105, 152), (155, 157)], 60);
        check(&[(190, 210), (90, 110)], 20);
    }

    #[test]
    fn beyond_the_bound_the_shortest_goes() {
        let parts = (0..1_500_i64).map(|idx| Part { from_ms: idx * 10, to_ms: idx * 10 + 1 + idx % 2 });
        // All 1,440 kept ones of 1,500: 750 have 2 ms, the rest 1 ms.
        assert_eq!(covered_ms(parts.collect(), 0, 86_400_000), 750 * 2 + 690);
    }
}
