//! Coverage of a window: the length of a union of intervals, computed by sorting them.

use std::collections::BTreeMap;

/// Most disjoint intervals that a window remembers; beyond that the shortest is dropped, the earliest among equals.
const INTERVALS_MAX: usize = 1_440;

/// A half-open interval of event time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// The length of the union of `intervals` inside the window `[start_ms, end_ms)`. `intervals` are in order of arrival.
pub(crate) fn covered_ms(intervals: Vec<Interval>, start_ms: i64, end_ms: i64) -> i64 {
    let within =
        |interval: Interval| Interval { from_ms: interval.from_ms.max(start_ms), to_ms: interval.to_ms.min(end_ms) };
    let mut intervals: Vec<Interval> =
        intervals.into_iter().map(within).filter(|interval| interval.from_ms < interval.to_ms).collect();
    if intervals.len() > INTERVALS_MAX {
        intervals = bounded(intervals);
    }
    intervals.sort_by_key(|interval| interval.from_ms);
    let mut reached_ms = start_ms;
    let mut covered_ms = 0;
    for interval in intervals {
        covered_ms += (interval.to_ms - interval.from_ms.max(reached_ms)).max(0);
        reached_ms = reached_ms.max(interval.to_ms);
    }
    covered_ms
}

/// Adds the intervals one by one and drops the shortest whenever there are too many.
fn bounded(intervals: Vec<Interval>) -> Vec<Interval> {
    // Keyed by end, so the intervals that touch a new one are neighbors.
    let mut kept: BTreeMap<i64, i64> = BTreeMap::new();
    for Interval { mut from_ms, mut to_ms } in intervals {
        while let Some((&end_ms, &begin_ms)) = kept.range(from_ms..).next()
            && begin_ms <= to_ms
        {
            kept.remove(&end_ms);
            (from_ms, to_ms) = (from_ms.min(begin_ms), to_ms.max(end_ms));
        }
        kept.insert(to_ms, from_ms);
        if kept.len() > INTERVALS_MAX
            && let Some((&end_ms, _)) = kept.iter().min_by_key(|(end_ms, begin_ms)| (**end_ms - **begin_ms, **begin_ms))
        {
            kept.remove(&end_ms);
        }
    }
    kept.into_iter().map(|(to_ms, from_ms)| Interval { from_ms, to_ms }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(intervals: &[(i64, i64)], expected_ms: i64) {
        let intervals: Vec<Interval> = intervals.iter().map(|&(from_ms, to_ms)| Interval { from_ms, to_ms }).collect();
        assert_eq!(covered_ms(intervals.clone(), 100, 200), expected_ms, "{intervals:?}");
        assert_eq!(covered_ms(bounded(intervals.clone()), 100, 200), expected_ms, "bounded {intervals:?}");
    }

    #[test]
    fn overlap_counts_once_and_parts_outside_do_not_count() {
        check(&[], 0);
        check(&[(0, 1_000)], 100);
        check(&[(0, 100), (200, 300)], 0);
        check(&[(150, 160), (100, 110), (105, 152), (155, 157)], 60);
        check(&[(190, 210), (90, 110)], 20);
    }

    #[test]
    fn the_shortest_interval_beyond_the_bound_is_dropped() {
        let intervals = (0..1_500_i64).map(|idx| Interval { from_ms: idx * 10, to_ms: idx * 10 + 1 + idx % 2 });
        // All 1,440 kept intervals of 1,500: 750 of 2 ms, the rest of 1 ms.
        assert_eq!(covered_ms(intervals.collect(), 0, 86_400_000), 750 * 2 + 690);
    }
}
