//! Decides which valid ticks count: those that are neither duplicates nor later than allowed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::tick::{Tick, TickIdentity};
use crate::time::{EventTime, Span};
use crate::watermark::Watermark;
use crate::window::Window;
use crate::windowing::EventTimePolicy;

/// Maximum number of runs of identities in the memory of one instrument. At the default lateness of 10 minutes this is
/// enough for 6 ticks of different times a second. With a faster source the oldest identities are dropped, and ticks up
/// to the newest dropped one (the horizon) are late, because they could be duplicates. A tick that comes in order is
/// never affected.
pub const IDENTITIES_MAX: usize = 4_096;

/// The memory of one instrument for judging its next tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    watermark: Watermark,
    /// The newest identity that was dropped because memory was full. Ticks up to this one are late, also in an open
    /// window.
    horizon: Option<Key>,
    /// Identities, ascending, of the ticks above the horizon whose 1-minute window can still be revised.
    runs: VecDeque<Run>,
}

/// The order in which identities are kept and dropped: event time, grain, id.
type Key = (EventTime, Option<Span>, Option<u64>);

/// Ticks of one time and grain: those with the consecutive ids `ids.0` to `ids.1`, or the one tick without an id.
/// Numbered trades take one run for each time, in any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    event: EventTime,
    grain: Option<Span>,
    ids: Option<(u64, u64)>,
}

impl Run {
    fn of(identity: TickIdentity) -> Self {
        Self { event: identity.event, grain: identity.grain, ids: identity.id.map(|id| (id, id)) }
    }

    /// Returns the key of its first tick. Runs ascend by this key.
    fn key(&self) -> Key {
        (self.event, self.grain, self.ids.map(|(first, _)| first))
    }

    /// Returns the key of its last tick.
    fn last_key(&self) -> Key {
        (self.event, self.grain, self.ids.map(|(_, last)| last))
    }

    fn contains(&self, other: &Self) -> bool {
        let is_within = match (self.ids, other.ids) {
            (Some((first, last)), Some((id, _))) => first <= id && id <= last,
            (mine, others) => mine == others,
        };
        self.event == other.event && self.grain == other.grain && is_within
    }

    /// Joins the next run to this one when no id is missing between the two.
    fn append(&mut self, next: &Self) -> bool {
        let (Some((_, last)), Some((first, end))) = (&mut self.ids, next.ids) else { return false };
        let is_adjacent = self.event == next.event && self.grain == next.grain && last.checked_add(1) == Some(first);
        if is_adjacent {
            *last = end;
        }
        is_adjacent
    }
}

/// The verdict on a valid tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickVerdict {
    /// The tick counts.
    Accepted,
    /// The tick was seen before; the first one counts.
    Duplicate,
    /// The tick came after the allowed lateness of its 1-minute window, or is at or below the horizon.
    Late {
        /// How far its event time is behind the watermark, or behind the horizon where that is further, in
        /// milliseconds. At least 1, also for a tick of the horizon's own millisecond.
        late_ms: i64,
    },
}

impl Acceptance {
    /// Returns the watermark before the next tick.
    pub fn watermark(&self, policy: EventTimePolicy) -> EventTime {
        self.watermark.value(policy.disorder)
    }

    /// Judges a tick by its 1-minute window. An accepted tick moves the watermark and is remembered.
    pub fn judge(&mut self, tick: &Tick, policy: EventTimePolicy) -> TickVerdict {
        let (watermark, run) = (self.watermark(policy), Run::of(tick.identity()));
        let horizon = self.horizon.filter(|horizon| run.key() <= *horizon);
        if horizon.is_some() || expired(tick.event, watermark, policy) {
            let reached = horizon.map_or(watermark, |(event, ..)| event.max(watermark));
            return TickVerdict::Late { late_ms: reached.ms().saturating_sub(tick.event.ms()).max(1) };
        }
        if !self.remember(run) {
            return TickVerdict::Duplicate;
        }
        self.watermark.observe(tick.event);
        self.forget(policy);
        TickVerdict::Accepted
    }

    /// Applies a heartbeat: no earlier tick will follow.
    pub fn observe(&mut self, event: EventTime, policy: EventTimePolicy) {
        self.watermark.observe(event);
        self.forget(policy);
    }

    /// Remembers one identity. Returns whether it is new.
    fn remember(&mut self, run: Run) -> bool {
        // It is mostly the newest, which needs no search.
        let behind = match self.runs.back() {
            Some(newest) if run.key() < newest.key() => self.runs.partition_point(|earlier| earlier.key() <= run.key()),
            _ => self.runs.len(),
        };
        if let Some(before) = behind.checked_sub(1) {
            if self.runs[before].contains(&run) {
                return false;
            }
            if self.runs[before].append(&run) {
                if let Some(next) = self.runs.get(behind).copied()
                    && self.runs[before].append(&next)
                {
                    self.runs.remove(behind);
                }
                return true;
            }
        }
        let mut run = run;
        match self.runs.get_mut(behind) {
            Some(next) if run.append(next) => *next = run,
            _ => self.runs.insert(behind, run),
        }
        true
    }

    fn forget(&mut self, policy: EventTimePolicy) {
        let watermark = self.watermark(policy);
        while self.runs.front().is_some_and(|oldest| expired(oldest.event, watermark, policy)) {
            self.runs.pop_front();
        }
        while self.runs.len() > IDENTITIES_MAX {
            self.horizon = self.runs.pop_front().map(|oldest| oldest.last_key());
        }
    }
}

/// Whether the 1-minute window of an event can no longer be revised.
fn expired(event: EventTime, watermark: EventTime, policy: EventTimePolicy) -> bool {
    let start = event.floor(Window::Minute.size());
    watermark >= Window::Minute.end(start) + policy.lateness
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Span;

    fn tick(event: i64, id: u64) -> Tick {
        Tick { id: Some(id), ..Tick::point(EventTime(event), 1.0) }
    }

    #[test]
    fn the_first_of_two_equal_ticks_counts() {
        let mut acceptance = Acceptance::default();
        let policy = EventTimePolicy::default();
        assert_eq!(acceptance.judge(&tick(1_000, 1), policy), TickVerdict::Accepted);
        assert_eq!(acceptance.judge(&tick(1_000, 1), policy), TickVerdict::Duplicate);
        assert_eq!(acceptance.judge(&tick(1_000, 2), policy), TickVerdict::Accepted);
    }

    #[test]
    fn lateness_is_judged_against_the_end_of_the_minute() {
        let policy = EventTimePolicy::default();
        // The minute [0, 60 s) expires when the watermark reaches 660 s, that is at an event of 665 s.
        let mut acceptance = Acceptance::default();
        acceptance.judge(&tick(664_999, 1), policy);
        assert_eq!(acceptance.judge(&tick(59_999, 1), policy), TickVerdict::Accepted);
        acceptance.judge(&tick(665_000, 1), policy);
        assert_eq!(acceptance.judge(&tick(59_998, 1), policy), TickVerdict::Late { late_ms: 600_002 });
        assert_eq!(acceptance.judge(&tick(60_000, 1), policy), TickVerdict::Accepted);
    }

    #[test]
    fn full_memory_makes_ticks_late_but_never_doubles_them() {
        let mut acceptance = Acceptance::default();
        let policy = EventTimePolicy::default();
        for id in 0..=IDENTITIES_MAX as u64 {
            assert_eq!(acceptance.judge(&tick(1_000 + id as i64 / 2, 2 * id), policy), TickVerdict::Accepted);
        }
        assert_eq!(acceptance.runs.len(), IDENTITIES_MAX);
        // The watermark is far below these ticks: lateness is measured from the horizon.
        assert_eq!(acceptance.judge(&tick(1_000, 0), policy), TickVerdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(990, 1), policy), TickVerdict::Late { late_ms: 10 });
        assert_eq!(acceptance.judge(&tick(1_001, 4), policy), TickVerdict::Duplicate);
        // Once the watermark has passed the horizon, lateness is measured from the watermark.
        acceptance.observe(EventTime(665_000), policy);
        assert_eq!(acceptance.judge(&tick(1_000, 3), policy), TickVerdict::Late { late_ms: 659_000 });
    }

    #[test]
    fn sparse_ids_of_one_instant_count_exactly_once() {
        let mut acceptance = Acceptance::default();
        let policy = EventTimePolicy::default();
        let many = 3 * IDENTITIES_MAX as u64;
        for id in (0..2 * many).step_by(2) {
            assert_eq!(acceptance.judge(&tick(1_000, id), policy), TickVerdict::Accepted, "{id}");
        }
        let newest_lost = 2 * (many - IDENTITIES_MAX as u64) - 2;
        for id in [0, 1, newest_lost - 1, newest_lost] {
            assert_eq!(acceptance.judge(&tick(1_000, id), policy), TickVerdict::Late { late_ms: 1 }, "{id}");
        }
        assert_eq!(acceptance.judge(&tick(999, u64::MAX), policy), TickVerdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(1_000, newest_lost + 2), policy), TickVerdict::Duplicate);
        assert_eq!(acceptance.judge(&tick(1_000, newest_lost + 1), policy), TickVerdict::Accepted, "above the horizon");
        assert_eq!(acceptance.judge(&tick(1_001, 0), policy), TickVerdict::Accepted);
    }

    /// Ticks that come together: the time since the group before, their number, and the step between their ids.
    fn groups() -> impl Strategy<Value = Vec<(i64, usize, u64)>> {
        let ahead = prop_oneof![3 => 0_i64..3, 2 => Just(1_000), 1 => 0_i64..1_000_000];
        let count = prop_oneof![2 => 1_usize..10, 1 => 1_usize..2 * IDENTITIES_MAX];
        prop::collection::vec((ahead, count, 1_u64..4), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn ordered_ticks_count_once(
            groups in groups(),
            repeated in prop::collection::vec(any::<prop::sample::Index>(), 100),
        ) {
            let (mut event, mut id, mut ticks) = (1_000, 0, Vec::new());
            for (ahead, count, step) in groups {
                event += ahead;
                for _ in 0..count {
                    id += step;
                    ticks.push(tick(event, id));
                }
            }
            let (mut acceptance, policy) = (Acceptance::default(), EventTimePolicy::default());
            let mut repeated = repeated.iter().cycle();
            for (idx, tick) in ticks.iter().enumerate() {
                prop_assert_eq!(acceptance.judge(tick, policy), TickVerdict::Accepted, "{:?}", tick);
                let again = repeated.next().expect("a cycle").get(&ticks[..=idx]);
                prop_assert_ne!(acceptance.judge(again, policy), TickVerdict::Accepted, "{:?}", again);
                prop_assert!(acceptance.runs.len() <= IDENTITIES_MAX);
            }
            for again in &ticks {
                prop_assert_ne!(acceptance.judge(again, policy), TickVerdict::Accepted, "{:?}", again);
            }
        }
    }

    #[test]
    fn numbered_trades_do_not_end_their_own_second() {
        let mut acceptance = Acceptance::default();
        let policy = EventTimePolicy::default();
        let trades = 3 * IDENTITIES_MAX as u64;
        // The middle third comes last, and in reverse.
        let third = IDENTITIES_MAX as u64;
        let order = (0..third).chain(2 * third..trades).chain((third..2 * third).rev());
        for id in order {
            assert_eq!(acceptance.judge(&tick(1_000, id), policy), TickVerdict::Accepted, "{id}");
        }
        assert_eq!(acceptance.runs.len(), 1);
        for id in 0..trades {
            assert_eq!(acceptance.judge(&tick(1_000, id), policy), TickVerdict::Duplicate, "{id}");
        }
        let unnumbered = Tick { id: None, ..tick(1_000, 0) };
        assert_eq!(acceptance.judge(&unnumbered, policy), TickVerdict::Accepted);
        assert_eq!(acceptance.judge(&unnumbered, policy), TickVerdict::Duplicate);
        let bar = Tick { grain: Some(Span::MINUTE), ..unnumbered };
        assert_eq!(acceptance.judge(&bar, policy), TickVerdict::Accepted, "another grain is another tick");
    }

    #[test]
    fn memory_holds_only_what_can_still_be_revised() {
        let mut acceptance = Acceptance::default();
        for minute in 0..1_000 {
            acceptance.judge(&tick(minute * 60_000, 0), EventTimePolicy::default());
        }
        assert!(acceptance.runs.len() <= 12, "{}", acceptance.runs.len());
    }
}
