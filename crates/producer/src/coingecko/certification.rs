//! Certification of completeness by polling. This file defines "uninterrupted".
//!
//! An uninterrupted poller knows every price that CoinGecko showed, so it certifies the time between two prices:
//! polling could not have brought another one there. Prices between two polls are unknown and not claimed.
//!
//! An interruption is a stretch in which the coin gave no usable price: failed polls, refusals, an answer without the
//! coin, a restart, a suspended machine. An interruption of more than two polls breaks certification: the next price
//! certifies nothing before it, and the time between is a gap. If the source still shows the previous price afterwards,
//! it had nothing newer, so nothing was missed and certification continues.

use market::validate::GRAIN_MAX;
use market::{EventTime, Span};

/// Shortest gap between two prices, even if the poll interval is shorter.
const GAP_MIN: Span = Span::MINUTE;
/// Cause of a gap that began before this process.
const STOPPED: &str = "producer-stopped";
/// Cause of a gap without a failed poll: no poll was made in time, as on a suspended machine.
const NOT_POLLED: &str = "not-polled";
/// Delay without a failed poll that is never an interruption: an answer may take this long, even if the poll interval
/// is shorter.
const ANSWER_SLACK_MS: i64 = 5_000;

/// Knowledge about the time before a new price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeBefore {
    /// There is no earlier time to certify.
    Nothing,
    /// This span before the price is certified.
    Certified(Span),
    /// Prices may be missing since `from`.
    Gap {
        /// The last price, if there is one.
        since: Option<EventTime>,
        /// End of certification.
        from: EventTime,
        /// Cause of the interruption.
        cause: &'static str,
    },
}

/// Certification of one coin. It has no clock of its own.
#[derive(Debug, Clone)]
pub(crate) struct Certification {
    /// Time between two polls.
    interval: Span,
    /// Start of the unbroken certification: the last price, if there is one.
    from: Option<EventTime>,
    /// End of the certification in FEED. Before the first price: the time since which a price is missing.
    certified_to: Option<EventTime>,
    /// Time of the last usable answer since the start, by the clock of this machine in milliseconds.
    last_answer_ms: Option<i64>,
    /// Cause of the first failure since the last usable answer.
    cause: Option<&'static str>,
}

impl Certification {
    /// Continues from FEED: `end` is the end of the last price, and `certified` the end of the time that heartbeats
    /// certified.
    pub(crate) fn new(interval: Span, end: Option<EventTime>, certified: Option<EventTime>) -> Self {
        let certified_to = end.map(|end| certified.map_or(end, |certified| certified.max(end)));
        Self { interval, from: end, certified_to, last_answer_ms: None, cause: end.map(|_| STOPPED) }
    }

    /// Sets the time between two polls from now on.
    pub(crate) fn set_interval(&mut self, interval: Span) {
        self.interval = interval;
    }

    /// Records a poll without a usable price. The first cause counts. `now` is the time of the answer, or of the
    /// failure.
    pub(crate) fn interrupted(&mut self, cause: &'static str, now: EventTime) {
        self.cause.get_or_insert(cause);
        self.certified_to.get_or_insert(now);
    }

    /// Records an answer with the same price as before: the source had nothing newer.
    pub(crate) fn unchanged(&mut self, answered_ms: i64) {
        self.last_answer_ms = Some(answered_ms);
        self.cause = None;
    }

    /// Records a newer price of `event`, and returns what is known of the time before it.
    pub(crate) fn tick(&mut self, event: EventTime, answered_ms: i64) -> TimeBefore {
        let before = self.before(event, answered_ms);
        let is_broken = matches!(before, TimeBefore::Gap { .. });
        // A heartbeat may have certified a later time than this price.
        self.certified_to = Some(
            self.certified_to
                .filter(|_| self.from.is_some() && !is_broken)
                .map_or(event, |certified_to| certified_to.max(event)),
        );
        self.from = Some(event);
        self.unchanged(answered_ms);
        before
    }

    /// Returns how much a heartbeat of `event` certifies. Call [`Certification::unchanged`] first.
    pub(crate) fn heartbeat(&mut self, event: EventTime) -> Option<Span> {
        let certified_to = self.certified_to.filter(|certified_to| *certified_to < event)?;
        self.certified_to = Some(event);
        Some((event - certified_to).min(GRAIN_MAX))
    }

    /// Returns the time of the last usable answer, by the clock of this machine in milliseconds.
    pub(crate) fn last_answer_ms(&self) -> Option<i64> {
        self.last_answer_ms
    }

    /// Whether polling was uninterrupted between the last usable answer and one at this time.
    pub(crate) fn is_unbroken(&self, answered_ms: i64) -> bool {
        self.interruption(answered_ms).is_none()
    }

    fn before(&self, event: EventTime, answered_ms: i64) -> TimeBefore {
        let Some(certified_to) = self.certified_to else { return TimeBefore::Nothing };
        let is_hole = event - certified_to > Span(2 * self.interval.ms()).max(GAP_MIN);
        if is_hole && let Some(cause) = self.interruption(answered_ms) {
            return TimeBefore::Gap { since: self.from, from: certified_to, cause };
        }
        match self.from {
            Some(from) if from < event => TimeBefore::Certified((event - from).min(GRAIN_MAX)),
            _ => TimeBefore::Nothing,
        }
    }

    /// Returns the cause of an interruption of more than two polls that ends at this time. The bound is two and a half
    /// polls, because one answer takes longer than another.
    fn interruption(&self, answered_ms: i64) -> Option<&'static str> {
        let Some(last_answer_ms) = self.last_answer_ms else { return Some(self.cause.unwrap_or(STOPPED)) };
        // After the clock was set back, the length of the interruption is unknown.
        let lasted_ms = answered_ms.saturating_sub(last_answer_ms).saturating_abs();
        let polls_ms = self.interval.ms().saturating_mul(5) / 2;
        let (cause, allowed_ms) = match self.cause {
            Some(cause) => (cause, polls_ms),
            None => (NOT_POLLED, polls_ms.max(ANSWER_SLACK_MS)),
        };
        (lasted_ms > allowed_ms).then_some(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls every minute; FEED ends at this minute.
    fn certification(end_minute: Option<i64>) -> Certification {
        Certification::new(Span::MINUTE, end_minute.map(minute), None)
    }

    fn minute(minute: i64) -> EventTime {
        EventTime(minute * 60_000)
    }

    fn tick(certification: &mut Certification, at: i64) -> TimeBefore {
        certification.tick(minute(at), minute(at).ms() + 10_000)
    }

    fn certified(minutes: i64) -> TimeBefore {
        TimeBefore::Certified(Span::minutes(minutes))
    }

    /// A gap after a price of minute 0, which heartbeats may have certified to a later minute.
    fn gap(from: i64, cause: &'static str) -> TimeBefore {
        TimeBefore::Gap { since: Some(minute(0)), from: minute(from), cause }
    }

    #[test]
    fn each_price_certifies_the_time_since_the_previous_one() {
        let mut coin = certification(None);
        assert_eq!(tick(&mut coin, 0), TimeBefore::Nothing);
        assert_eq!(tick(&mut coin, 1), certified(1));
        (2..30).for_each(|at| coin.unchanged(minute(at).ms()));
        assert_eq!(coin.heartbeat(minute(20)), Some(Span::minutes(19)));
        assert_eq!(coin.heartbeat(minute(25)), Some(Span::minutes(5)));
        // The span reaches back over the heartbeats, so that prices alone certify as much.
        assert_eq!(tick(&mut coin, 30), certified(29));
        assert_eq!(tick(&mut coin, 31), certified(1));
    }

    #[test]
    fn an_interruption_of_more_than_two_polls_breaks_it() {
        for (lost, expected) in [(1, certified(2)), (2, gap(0, "no-price"))] {
            let mut coin = certification(None);
            tick(&mut coin, 0);
            (1..=lost).for_each(|at| coin.interrupted("no-price", minute(at)));
            coin.interrupted("rate-limited", minute(lost));
            assert_eq!(tick(&mut coin, lost + 1), expected, "{lost}");
            assert_eq!(tick(&mut coin, lost + 2), certified(1));
        }
    }

    #[test]
    fn the_gap_begins_where_the_last_heartbeat_ends() {
        let mut coin = certification(None);
        tick(&mut coin, 0);
        (1..10).for_each(|at| coin.unchanged(minute(at).ms()));
        assert_eq!(coin.heartbeat(minute(5)), Some(Span::minutes(5)));
        assert_eq!(tick(&mut coin, 20), gap(5, NOT_POLLED));
    }

    #[test]
    fn a_price_that_is_still_the_last_one_breaks_nothing() {
        let mut coin = certification(None);
        tick(&mut coin, 0);
        (1..30).for_each(|at| coin.interrupted("unreachable", minute(at)));
        coin.unchanged(minute(30).ms());
        assert_eq!(coin.heartbeat(minute(25)), Some(Span::minutes(25)));
        assert_eq!(tick(&mut coin, 31), certified(31));
    }

    #[test]
    fn prices_close_together_have_no_gap_between_them() {
        let mut coin = certification(None);
        tick(&mut coin, 0);
        // The answer comes after half an hour, but shows a price of the second minute.
        assert_eq!(coin.tick(minute(2), minute(30).ms()), certified(2));
    }

    #[test]
    fn a_restart_of_at_most_two_polls_breaks_nothing() {
        assert_eq!(tick(&mut certification(Some(0)), 2), certified(2));
        assert_eq!(tick(&mut certification(Some(0)), 3), gap(0, STOPPED));
        let mut coin = certification(Some(0));
        coin.unchanged(minute(10).ms());
        assert_eq!(tick(&mut coin, 11), certified(11));
    }

    #[test]
    fn a_restart_continues_after_the_earlier_heartbeats() {
        let start = || Certification::new(Span::MINUTE, Some(minute(0)), Some(minute(30)));
        assert_eq!(tick(&mut start(), 32), certified(32));
        assert_eq!(tick(&mut start(), 33), gap(30, STOPPED));
    }

    #[test]
    fn six_starts_and_a_silence_certify_only_the_polled_time() {
        // Polls every five minutes; a start every 20 s, then none for an hour.
        let mut end = None;
        let mut certified = Span(0);
        for start in 0..6 {
            let event = EventTime(20_000 * (start + 1));
            let before = Certification::new(Span::minutes(5), end, None).tick(event, event.ms());
            if let TimeBefore::Certified(span) = before {
                certified = Span(certified.ms() + span.ms());
            }
            end = Some(event);
        }
        assert_eq!(certified, Span::seconds(100));
        let event = EventTime(3_700_000);
        let before = Certification::new(Span::minutes(5), end, None).tick(event, event.ms());
        assert_eq!(before, TimeBefore::Gap { since: end, from: EventTime(120_000), cause: STOPPED });
    }

    #[test]
    fn a_coin_that_is_missing_since_the_start_leaves_a_gap() {
        let mut coin = certification(None);
        (0..10).for_each(|at| coin.interrupted("coin-missing", minute(at)));
        let missing = TimeBefore::Gap { since: None, from: minute(0), cause: "coin-missing" };
        assert_eq!(tick(&mut coin, 10), missing);
        assert_eq!(tick(&mut coin, 11), certified(1));
        // The first price is older than the first failed poll.
        let mut coin = certification(None);
        coin.interrupted("coin-missing", minute(10));
        assert_eq!(tick(&mut coin, 5), TimeBefore::Nothing);
        assert_eq!(tick(&mut coin, 6), certified(1));
    }

    #[test]
    fn the_interval_that_polls_keep_decides() {
        let mut coin = certification(None);
        tick(&mut coin, 0);
        coin.set_interval(Span::minutes(5));
        assert_eq!(tick(&mut coin, 12), certified(12));
        coin.set_interval(Span::minutes(1));
        assert_eq!(
            tick(&mut coin, 24),
            TimeBefore::Gap { since: Some(minute(12)), from: minute(12), cause: NOT_POLLED }
        );
    }

    #[test]
    fn a_clock_that_was_set_back_certifies_nothing() {
        let mut coin = certification(None);
        tick(&mut coin, 100);
        let gap = TimeBefore::Gap { since: Some(minute(100)), from: minute(100), cause: NOT_POLLED };
        assert_eq!(coin.tick(minute(110), minute(50).ms()), gap);
    }

    #[test]
    fn no_span_longer_than_the_limit_downstream_is_certified() {
        let mut coin = certification(Some(0));
        coin.unchanged(0);
        let far = EventTime(2 * GRAIN_MAX.ms());
        assert_eq!(coin.heartbeat(far), Some(GRAIN_MAX));
        coin.unchanged(far.ms());
        assert_eq!(coin.tick(far, far.ms()), TimeBefore::Certified(GRAIN_MAX));
    }
}
