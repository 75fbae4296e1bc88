//! Lag of the source's answers behind its observations, over the last 24 hours.

use std::collections::VecDeque;

use market::{EventTime, Span};

/// Time for which a lag counts.
const REMEMBERED: Span = Span::DAY;
/// Lags that are kept, at most. More are rare, because each kept lag is smaller than all before it.
const KEPT_MAX: usize = 64;

/// The largest lag of the last 24 hours, by the source's clock. With more than [`KEPT_MAX`] different lags, one of them
/// counts for longer than 24 hours, so that the lag is never understated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lags {
    /// Ascending by date, descending by lag.
    kept: VecDeque<Lag>,
}

#[derive(Debug, Clone, Copy)]
struct Lag {
    date: EventTime,
    lag: Span,
}

impl Lags {
    /// Adds a lag: an answer of this date is the first that shows an observation of `event`.
    pub(crate) fn learn(&mut self, date: EventTime, event: EventTime) {
        let lag = date - event;
        // The dates of different edge servers may be out of order.
        let date = self.kept.back().map_or(date, |newest| newest.date.max(date));
        while self.kept.back().is_some_and(|newest| newest.lag <= lag) {
            self.kept.pop_back();
        }
        self.kept.push_back(Lag { date, lag });
        if self.kept.len() > KEPT_MAX {
            self.join_nearest();
        }
    }

    /// Returns the largest lag of the 24 hours before `date`, at least `least`.
    pub(crate) fn largest(&mut self, date: EventTime, least: Span) -> Span {
        while self.kept.front().is_some_and(|oldest| date - oldest.date > REMEMBERED) {
            self.kept.pop_front();
        }
        self.kept.front().map_or(least, |oldest| oldest.lag.max(least))
    }

    /// Merges the two lags that are nearest in time: the larger one counts as long as the later one would.
    fn join_nearest(&mut self) {
        let distance = |idx: &usize| self.kept[idx + 1].date - self.kept[*idx].date;
        let Some(idx) = (0..self.kept.len() - 1).min_by_key(distance) else { return };
        if let Some(later) = self.kept.remove(idx + 1) {
            self.kept[idx].date = later.date;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: Span = Span::minutes(5);

    #[test]
    fn a_lag_is_remembered_for_a_day() {
        let mut lags = Lags::default();
        let hour = |hour: i64| EventTime(hour * Span::HOUR.ms());
        assert_eq!(lags.largest(hour(0), LEAST), LEAST);
        lags.learn(hour(1), hour(1).saturating_sub(Span::minutes(20)));
        lags.learn(hour(2), hour(2).saturating_sub(Span::minutes(1)));
        lags.learn(hour(3), hour(3).saturating_sub(Span::minutes(10)));
        assert_eq!(lags.largest(hour(25), LEAST), Span::minutes(20));
        assert_eq!(lags.largest(hour(25) + Span(1), LEAST), Span::minutes(10));
        assert_eq!(lags.largest(hour(27) + Span(1), LEAST), LEAST);
    }

    proptest! {
        #[test]
        fn it_is_never_less_than_any_lag_of_the_day(lags in prop::collection::vec((0_i64..2_000_000, 0_i64..1_000_000), 1..400)) {
            let mut bounded = Lags::default();
            let (mut date, mut shown) = (EventTime(0), Vec::new());
            for (step, lag) in lags {
                date = date + Span(step);
                bounded.learn(date, date.saturating_sub(Span(lag)));
                shown.push((date, Span(lag)));
                let in_day = shown.iter().filter(|(then, _)| date - *then <= Span::DAY);
                let plain = in_day.map(|(_, lag)| *lag).max().unwrap();
                // There are too few lags for a merge.
                prop_assert_eq!(bounded.largest(date, Span(0)), plain);
                prop_assert!(bounded.kept.len() <= KEPT_MAX);
            }
        }
    }

    #[test]
    fn shrinking_lags_take_bounded_memory_and_are_not_understated() {
        let mut lags = Lags::default();
        let shrinking = |second: i64| Span::seconds(100_000 - second);
        for second in 0..90_000 {
            let date = EventTime(second * 1_000);
            lags.learn(date, date.saturating_sub(shrinking(second)));
            let oldest = (second - 86_400).max(0);
            assert!(lags.largest(date, LEAST) >= shrinking(oldest), "{second}");
            assert!(lags.kept.len() <= KEPT_MAX);
        }
    }
}
