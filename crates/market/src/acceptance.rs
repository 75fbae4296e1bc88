//! Which valid ticks count: not seen before, and not later than allowed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::tick::{Identity, Tick};
use crate::time::EventTime;
use crate::watermark::Watermark;
use crate::window::Window;
use crate::windowing::Settings;

/// Most identities that one instrument remembers. At the default lateness of 10 minutes this is 6 ticks a second; a
/// faster source moves the lateness horizon up instead of letting duplicates slip in.
pub const IDENTITIES_MAX: usize = 4_096;

/// What one instrument remembers in order to judge its next tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    watermark: Watermark,
    /// Ticks before this are late whatever their window says. Rises only when memory is full.
    horizon: Option<EventTime>,
    /// Ascending. Of every tick whose 1-minute window can still be revised. The oldest go first.
    identities: VecDeque<Identity>,
}

/// The judgement of a valid tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// It was seen before; the first one counts.
    Duplicate,
    /// It came after the allowed lateness of its 1-minute window, or from before what is remembered.
    Late {
        /// How far its event time stands behind the watermark, or behind the horizon where that is further, in
        /// milliseconds. Above zero.
        late_ms: i64,
    },
}

impl Acceptance {
    /// The watermark before the next tick.
    pub fn watermark(&self, settings: Settings) -> EventTime {
        self.watermark.value(settings.disorder)
    }

    /// Judges a tick by its 1-minute window and, when it is accepted, moves the watermark and remembers it.
    pub fn judge(&mut self, tick: &Tick, settings: Settings) -> Verdict {
        let watermark = self.watermark(settings);
        let horizon = self.horizon.unwrap_or(EventTime::MIN);
        if tick.event < horizon || expired(tick.event, watermark, settings) {
            return Verdict::Late { late_ms: watermark.max(horizon).ms().saturating_sub(tick.event.ms()) };
        }
        let identity = tick.identity();
        // Mostly it is the newest, which needs no search.
        if self.identities.back().is_none_or(|newest| *newest < identity) {
            self.identities.push_back(identity);
        } else {
            match self.identities.binary_search(&identity) {
                Ok(_) => return Verdict::Duplicate,
                Err(idx) => self.identities.insert(idx, identity),
            }
        }
        self.watermark.observe(tick.event);
        self.forget(settings);
        Verdict::Accepted
    }

    /// Takes a heartbeat's word that nothing earlier will follow.
    pub fn observe(&mut self, event: EventTime, settings: Settings) {
        self.watermark.observe(event);
        self.forget(settings);
    }

    fn forget(&mut self, settings: Settings) {
        let watermark = self.watermark(settings);
        while self.identities.front().is_some_and(|oldest| expired(oldest.event, watermark, settings)) {
            self.identities.pop_front();
        }
        if self.identities.len() > IDENTITIES_MAX {
            // Whole milliseconds go, so that the horizon never stands between two ticks of one time.
            let newest_lost = self.identities[self.identities.len() - IDENTITIES_MAX - 1].event;
            let horizon = EventTime(newest_lost.ms() + 1);
            let lost = self.identities.partition_point(|identity| identity.event < horizon);
            self.identities.drain(..lost);
            self.horizon = Some(horizon);
        }
    }
}

/// Whether the 1-minute window of an event can no longer be revised.
fn expired(event: EventTime, watermark: EventTime, settings: Settings) -> bool {
    let start = event.floor(Window::Minute.size());
    watermark >= Window::Minute.end(start) + settings.lateness
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn tick(event: i64, id: u64) -> Tick {
        Tick {
            event: EventTime(event),
            grain: Span(1),
            id: Some(id),
            open: 1.0,
            high: 1.0,
            low: 1.0,
            close: 1.0,
            volume: None,
            feed_seq: 1,
        }
    }

    #[test]
    fn the_first_of_two_equal_ticks_counts() {
        let mut acceptance = Acceptance::default();
        let settings = Settings::default();
        assert_eq!(acceptance.judge(&tick(1_000, 1), settings), Verdict::Accepted);
        assert_eq!(acceptance.judge(&tick(1_000, 1), settings), Verdict::Duplicate);
        assert_eq!(acceptance.judge(&tick(1_000, 2), settings), Verdict::Accepted);
    }

    #[test]
    fn lateness_is_judged_against_the_end_of_the_minute() {
        let settings = Settings::default();
        // The minute [0, 60 s) expires when the watermark reaches 660 s, that is at an event of 665 s.
        let mut acceptance = Acceptance::default();
        acceptance.judge(&tick(664_999, 1), settings);
        assert_eq!(acceptance.judge(&tick(59_999, 1), settings), Verdict::Accepted);
        acceptance.judge(&tick(665_000, 1), settings);
        assert_eq!(acceptance.judge(&tick(59_998, 1), settings), Verdict::Late { late_ms: 600_002 });
        assert_eq!(acceptance.judge(&tick(60_000, 1), settings), Verdict::Accepted);
    }

    #[test]
    fn full_memory_makes_ticks_late_and_never_double() {
        let mut acceptance = Acceptance::default();
        let settings = Settings::default();
        for id in 0..=IDENTITIES_MAX as u64 {
            assert_eq!(acceptance.judge(&tick(1_000 + id as i64 / 2, id), settings), Verdict::Accepted);
        }
        assert!(acceptance.identities.len() <= IDENTITIES_MAX);
        // The watermark stands far before these ticks: how late they are is measured from the horizon.
        assert_eq!(acceptance.judge(&tick(1_000, 0), settings), Verdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(990, 1), settings), Verdict::Late { late_ms: 11 });
        assert_eq!(acceptance.judge(&tick(1_001, 2), settings), Verdict::Duplicate);
        // Once the watermark has passed the horizon, it is what counts again.
        acceptance.observe(EventTime(665_000), settings);
        assert_eq!(acceptance.judge(&tick(1_000, 3), settings), Verdict::Late { late_ms: 659_000 });
    }

    #[test]
    fn more_ticks_of_one_instant_than_can_be_remembered_end_that_instant() {
        let mut acceptance = Acceptance::default();
        let settings = Settings::default();
        for id in 0..=IDENTITIES_MAX as u64 {
            assert_eq!(acceptance.judge(&tick(1_000, id), settings), Verdict::Accepted);
        }
        assert_eq!(acceptance.judge(&tick(1_000, 0), settings), Verdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(1_000, u64::MAX), settings), Verdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(1_001, 0), settings), Verdict::Accepted);
    }

    #[test]
    fn memory_holds_only_what_can_still_be_revised() {
        let mut acceptance = Acceptance::default();
        for minute in 0..1_000 {
            acceptance.judge(&tick(minute * 60_000, 0), Settings::default());
        }
        assert!(acceptance.identities.len() <= 12, "{}", acceptance.identities.len());
    }
}
