//! The budget of calls to CoinGecko: credits of a calendar month, and calls of any minute. Pure: it has no clock, no
//! NATS and no task.
//!
//! Each call is one credit, also a refused one. All producers of an account share one [`Spending`], which `ledger`
//! keeps in NATS and changes before each call. A tenth of the credits is a reserve for filling: polls leave it, and
//! filling takes no more.

mod month;
#[cfg(test)]
mod simulation;

use market::{EventTime, Span};
use serde::{Deserialize, Serialize};

pub(crate) use self::month::Month;

/// The version of the stored form.
pub(crate) const VERSION: u32 = 1;
/// Refused polls in a row that are repeated without regard to the credits.
const QUICK_RETRIES: u32 = 2;
/// Seconds in which a span of one minute can have calls, at most: it may begin within a second.
const MINUTE_SECONDS: i64 = 61;

/// Limits of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Calls in any minute, at most.
    pub(crate) per_minute: u32,
    /// Calls in a calendar month, at most; `None` without a limit.
    pub(crate) credits: Option<u64>,
}

impl Limits {
    /// Returns the part of the credits that polls leave for filling: a tenth.
    pub(crate) fn reserve(&self) -> u64 {
        self.credits.unwrap_or(0) / 10
    }
}

/// Purpose of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Live prices, and questions about the account.
    Poll,
    /// History and holes, by the producer itself.
    Fill,
    /// History that a person asked for: it may take all credits that are left.
    Backfill,
}

/// Verdict on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be made, and is recorded.
    Go,
    /// The minute is full: ask again after this span.
    Minute(Span),
    /// The credits for this purpose are spent until this time.
    Month(EventTime),
}

/// Calls of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spending {
    version: u32,
    /// The month that `spent` and `filled` count.
    month: Month,
    /// Calls of the month.
    spent: u64,
    /// Those of them that were made to fill.
    filled: u64,
    /// Calls of the last minute: seconds since the epoch, ascending, and their calls.
    recent: Vec<(i64, u32)>,
    /// Calls that the account may make in a month, for readers; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credits: Option<u64>,
    /// Time between two polls, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval_ms: Option<i64>,
}

impl Spending {
    /// No calls yet.
    pub(crate) fn new(now: EventTime) -> Self {
        let month = Month::of(now);
        Self { version: VERSION, month, spent: 0, filled: 0, recent: Vec::new(), credits: None, interval_ms: None }
    }

    /// Notes the limit of a month and the time between two polls, for readers that know neither plan nor flags.
    pub(crate) fn note(&mut self, limits: &Limits, interval: Option<Span>) {
        self.credits = limits.credits;
        self.interval_ms = interval.map(Span::ms).or(self.interval_ms);
    }

    /// Returns the spending as of `now`: a new month begins at 0. A clock that was set back begins no earlier month, and
    /// calls ahead of it count as made now.
    pub(crate) fn at(mut self, now: EventTime) -> Self {
        let month = Month::of(now);
        if month > self.month {
            (self.month, self.spent, self.filled) = (month, 0, 0);
        }
        let second = second_of(now);
        self.recent.retain(|(made, _)| *made > second - MINUTE_SECONDS);
        let ahead = self.recent.iter().filter(|(made, _)| *made >= second).map(|(_, calls)| *calls).sum::<u32>();
        if ahead > 0 {
            self.recent.retain(|(made, _)| *made < second);
            self.recent.push((second, ahead));
        }
        self
    }

    /// Judges a call at `now`. The spending must be [`Self::at`] that time.
    pub(crate) fn judge(&self, limits: &Limits, purpose: Purpose, now: EventTime) -> Verdict {
        if self.left_for(limits, purpose) == Some(0) {
            return Verdict::Month(self.month.end());
        }
        let allowed = match purpose {
            Purpose::Poll => limits.per_minute,
            // Polls keep a fifth of each minute.
            Purpose::Fill | Purpose::Backfill => limits.per_minute - limits.per_minute / 5,
        };
        self.room_in(allowed.max(1), now).map_or(Verdict::Go, Verdict::Minute)
    }

    /// Records a call at `now`. The spending must be [`Self::at`] that time.
    pub(crate) fn record(&mut self, purpose: Purpose, now: EventTime) {
        self.spent = self.spent.saturating_add(1);
        self.filled = self.filled.saturating_add(u64::from(purpose != Purpose::Poll));
        let second = second_of(now);
        match self.recent.last_mut() {
            Some((made, calls)) if *made == second => *calls += 1,
            _ => self.recent.push((second, 1)),
        }
    }

    /// Adds calls that were made without being recorded here. Both must be at the same time.
    pub(crate) fn absorb(&mut self, other: &Self) {
        if other.month == self.month {
            self.spent += other.spent;
            self.filled += other.filled;
        }
        for &(second, calls) in &other.recent {
            match self.recent.binary_search_by_key(&second, |(made, _)| *made) {
                Ok(idx) => self.recent[idx].1 += calls,
                Err(idx) => self.recent.insert(idx, (second, calls)),
            }
        }
    }

    /// Takes over the number of calls of this month that the source or a person tells, if it is larger.
    pub(crate) fn raise(&mut self, spent: u64) {
        self.spent = self.spent.max(spent);
    }

    /// Replaces the number of calls of this month, of which the newest count as made to fill as before.
    pub(crate) fn replace(&mut self, spent: u64) {
        (self.spent, self.filled) = (spent, self.filled.min(spent));
    }

    /// Returns the calls of the month.
    pub(crate) fn spent(&self) -> u64 {
        self.spent
    }

    /// Returns the calls of the month that were made to fill.
    pub(crate) fn filled(&self) -> u64 {
        self.filled
    }

    /// Returns the month.
    pub(crate) fn month(&self) -> Month {
        self.month
    }

    /// Returns the calls of the last minute.
    pub(crate) fn last_minute(&self) -> u32 {
        self.recent.iter().map(|(_, calls)| *calls).sum()
    }

    /// Returns the credits that are left; `None` without a limit.
    pub(crate) fn left(&self, limits: &Limits) -> Option<u64> {
        Some(limits.credits?.saturating_sub(self.spent))
    }

    /// Returns the credits that are left for a purpose; `None` without a limit.
    pub(crate) fn left_for(&self, limits: &Limits, purpose: Purpose) -> Option<u64> {
        let (left, reserved) = (self.left(limits)?, limits.reserve().saturating_sub(self.filled));
        Some(match purpose {
            Purpose::Poll => left.saturating_sub(reserved),
            Purpose::Fill => left.min(reserved),
            Purpose::Backfill => left,
        })
    }

    /// Returns the time between two polls of `requests` calls each, with which the credits last until the end of the
    /// month; at least `least`, and so long that polls take half of the calls a minute.
    pub(crate) fn interval(&self, limits: &Limits, now: EventTime, requests: u64, least: Span) -> Span {
        let requests = u128::from(requests.max(1));
        // Polls take half of the minute, so that filling has some of it.
        let by_minute = (requests * 60_000).div_ceil(u128::from((limits.per_minute / 2).max(1)));
        let by_month = match self.left_for(limits, Purpose::Poll).map(u128::from) {
            None => 0,
            Some(left) => {
                let rest = u128::from((self.month.end() - now).ms().max(0).unsigned_abs());
                // Without credits for one more poll, the next one is next month.
                if left < requests { rest } else { (rest * requests).div_ceil(left) }
            }
        };
        Span(i64::try_from(by_minute.max(by_month)).unwrap_or(i64::MAX)).max(least)
    }

    /// Returns the pause after the `failures`th refused poll in a row, which took `calls`: at least `pause`, and after
    /// the first failures so long that refusals cost no more credits than polls.
    pub(crate) fn retry(&self, limits: &Limits, now: EventTime, failures: u32, calls: u64, pause: Span) -> Span {
        if failures <= QUICK_RETRIES { pause } else { self.interval(limits, now, calls, pause) }
    }

    /// Returns the span until the minute has room for one more call; `None` if it has.
    fn room_in(&self, allowed: u32, now: EventTime) -> Option<Span> {
        let mut calls = self.last_minute();
        let mut wait = None;
        for &(second, made) in &self.recent {
            if calls < allowed {
                break;
            }
            calls -= made;
            wait = Some(Span(((second + MINUTE_SECONDS) * 1_000 - now.ms()).max(1)));
        }
        wait
    }
}

fn second_of(now: EventTime) -> i64 {
    now.ms().div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: Limits = Limits { per_minute: 30, credits: Some(10_000) };

    /// Returns a time of December 2026, which has 31 days.
    fn at(day: i64, ms: i64) -> EventTime {
        EventTime(1_796_083_200_000 + (day - 1) * Span::DAY.ms() + ms)
    }

    fn spent(polls: u64, fills: u64) -> Spending {
        Spending { spent: polls + fills, filled: fills, ..Spending::new(at(1, 0)) }
    }

    /// Judges a call and records it if it may be made.
    fn call(spending: &mut Spending, purpose: Purpose, now: EventTime) -> Verdict {
        *spending = spending.clone().at(now);
        let verdict = spending.judge(&DEMO, purpose, now);
        if verdict == Verdict::Go {
            spending.record(purpose, now);
        }
        verdict
    }

    #[test]
    fn a_free_key_lasts_the_month_with_a_reserve() {
        let interval = |spending: &Spending, day| spending.interval(&DEMO, at(day, 0), 1, Span::MINUTE);
        // 31 days by 9,000 calls; 30 days would be 288 s.
        assert_eq!(interval(&spent(0, 0), 1), Span(297_600));
        assert_eq!(interval(&spent(4_500, 0), 16), Span(307_200));
        assert_eq!(interval(&spent(0, 0), 16), Span(153_600), "a start in mid-month");
        assert_eq!(interval(&spent(0, 0), 31), Span::MINUTE, "never faster than the source updates");
        assert_eq!(interval(&spent(9_000, 0), 31), Span::DAY, "spent");
        // On request filling takes more than the reserve; polls lose that part.
        assert_eq!(interval(&spent(0, 1_000), 1), Span(297_600));
        assert_eq!(interval(&spent(0, 5_500), 1), Span(595_200));
    }

    #[test]
    fn several_requests_a_poll_and_the_minute_slow_it_down() {
        let limits = Limits { per_minute: 5, credits: None };
        let interval = |requests| spent(0, 0).interval(&limits, at(1, 0), requests, Span::MINUTE);
        assert_eq!([1, 5, 6, 40].map(interval), [60_000, 150_000, 180_000, 1_200_000].map(Span));
        assert_eq!(spent(0, 0).interval(&DEMO, at(1, 0), 2, Span::MINUTE), Span(595_200));
    }

    #[test]
    fn polls_leave_the_reserve_and_filling_takes_no_more() {
        let end = Verdict::Month(at(32, 0));
        let check = |polls, fills, expected: [bool; 3]| {
            for (purpose, may) in [Purpose::Poll, Purpose::Fill, Purpose::Backfill].into_iter().zip(expected) {
                let verdict = spent(polls, fills).judge(&DEMO, purpose, at(1, 0));
                assert_eq!(verdict, if may { Verdict::Go } else { end }, "{polls} {fills} {purpose:?}");
            }
        };
        check(8_999, 0, [true, true, true]);
        check(9_000, 0, [false, true, true]);
        check(9_000, 999, [false, true, true]);
        check(9_000, 1_000, [false, false, false]);
        check(8_000, 1_000, [true, false, true]);
        check(5_000, 5_000, [false, false, false]);
        check(20_000, 0, [false, false, false]);
    }

    #[test]
    fn no_minute_has_more_calls_than_allowed() {
        let mut spending = spent(0, 0);
        for call_idx in 0..30 {
            assert_eq!(call(&mut spending, Purpose::Poll, at(1, 500 + call_idx * 10)), Verdict::Go);
        }
        assert_eq!(call(&mut spending, Purpose::Poll, at(1, 800)), Verdict::Minute(Span(60_200)));
        assert_eq!(call(&mut spending, Purpose::Poll, at(1, 60_999)), Verdict::Minute(Span(1)));
        assert_eq!(call(&mut spending, Purpose::Poll, at(1, 61_000)), Verdict::Go);
    }

    #[test]
    fn filling_leaves_room_for_polls_in_each_minute() {
        let mut spending = spent(0, 0);
        let mut fill = || call(&mut spending, Purpose::Fill, at(1, 0));
        assert_eq!((0..25).filter(|_| fill() == Verdict::Go).count(), 24);
        assert_eq!(call(&mut spending, Purpose::Poll, at(1, 0)), Verdict::Go);
    }

    #[test]
    fn a_new_month_begins_at_zero_and_a_past_one_never() {
        let spending = spent(9_000, 1_000);
        assert_eq!(spending.clone().at(at(32, 0)).spent(), 0);
        assert_eq!(spending.clone().at(at(31, 86_399_999)).spent(), 10_000);
        let back = spending.at(at(0, 0));
        assert_eq!((back.spent(), back.month().to_string()), (10_000, "2026-12".to_owned()));
    }

    #[test]
    fn calls_ahead_of_a_clock_that_was_set_back_end_with_a_minute() {
        let mut spending = spent(0, 0);
        (0..30).for_each(|_| assert_eq!(call(&mut spending, Purpose::Poll, at(2, 0)), Verdict::Go));
        assert_eq!(call(&mut spending, Purpose::Poll, at(1, 0)), Verdict::Minute(Span(61_000)));
        assert_eq!(call(&mut spending, Purpose::Poll, at(1, 61_000)), Verdict::Go);
    }

    #[test]
    fn calls_of_an_outage_are_added_once() {
        let mut stored = spent(100, 10);
        stored.record(Purpose::Poll, at(1, 0));
        let mut owed = Spending::new(at(1, 0));
        owed.record(Purpose::Fill, at(1, 0));
        owed.record(Purpose::Poll, at(1, 3_000));
        stored.absorb(&owed);
        assert_eq!((stored.spent(), stored.filled(), stored.last_minute()), (113, 11, 3));
        // Those of the month before count no more.
        let mut next = Spending::new(at(32, 0));
        next.absorb(&owed.at(at(31, 86_399_000)));
        assert_eq!(next.spent(), 0);
    }

    #[test]
    fn the_stored_form_can_be_read_by_people() {
        let mut spending = spent(811, 12);
        spending.record(Purpose::Poll, at(1, 5_000));
        let json = serde_json::to_string(&spending).unwrap();
        let expected = r#"{"version":1,"month":"2026-12","spent":824,"filled":12,"recent":[[1796083205,1]]}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Spending>(&json).unwrap(), spending);
        spending.note(&DEMO, Some(Span::MINUTE));
        let noted = serde_json::to_string(&spending).unwrap();
        assert!(noted.ends_with(r#","credits":10000,"interval_ms":60000}"#), "{noted}");
        assert_eq!(serde_json::from_str::<Spending>(&noted).unwrap(), spending);
    }
}
