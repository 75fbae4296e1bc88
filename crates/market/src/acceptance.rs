//! Which valid ticks count: not seen before, and not later than allowed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::tick::{Identity, Tick};
use crate::time::{EventTime, Span};
use crate::watermark::Watermark;
use crate::window::Window;
use crate::windowing::Settings;

/// Most runs of identities that one instrument remembers. At the default lateness of 10 minutes this is 6 ticks a second of
/// different times; a faster source moves the lateness horizon up instead of letting duplicates slip in.
pub const IDENTITIES_MAX: usize = 4_096;

/// What one instrument remembers in order to judge its next tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    watermark: Watermark,
    /// Ticks before this are late whatever their window says. Rises only when memory is full.
    horizon: Option<EventTime>,
    /// Ascending. Of every tick whose 1-minute window can still be revised. The oldest go first.
    runs: VecDeque<Run>,
}

/// Ticks of one time and grain, with the ids `ids.0` to `ids.1` without a hole, or the one tick without an id. Trades that a
/// source numbers take one run for each time, however many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    event: EventTime,
    grain: Option<Span>,
    ids: Option<(u64, u64)>,
}

impl Run {
    fn of(identity: Identity) -> Self {
        Self { event: identity.event, grain: identity.grain, ids: identity.id.map(|id| (id, id)) }
    }

    /// By which runs ascend.
    fn key(&self) -> (EventTime, Option<Span>, Option<u64>) {
        (self.event, self.grain, self.ids.map(|(first, _)| first))
    }

    fn contains(&self, other: &Self) -> bool {
        let is_within = match (self.ids, other.ids) {
            (Some((first, last)), Some((id, _))) => first <= id && id <= last,
            (mine, others) => mine == others,
        };
        self.event == other.event && self.grain == other.grain && is_within
    }

    /// Takes the run behind it in, when no id is missing between the two.
    fn append(&mut self, next: &Self) -> bool {
        let (Some((_, last)), Some((first, end))) = (&mut self.ids, next.ids) else { return false };
        let is_adjacent = self.event == next.event && self.grain == next.grain && last.checked_add(1) == Some(first);
        if is_adjacent {
            *last = end;
        }
        is_adjacent
    }
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
        if !self.remember(Run::of(tick.identity())) {
            return Verdict::Duplicate;
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

    /// Remembers one identity. Returns whether it is new.
    fn remember(&mut self, run: Run) -> bool {
        // Mostly it is the newest, which needs no search.
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

    fn forget(&mut self, settings: Settings) {
        let watermark = self.watermark(settings);
        while self.runs.front().is_some_and(|oldest| expired(oldest.event, watermark, settings)) {
            self.runs.pop_front();
        }
        if self.runs.len() > IDENTITIES_MAX {
            // Whole milliseconds go, so that the horizon never stands between two ticks of one time.
            let newest_lost = self.runs[self.runs.len() - IDENTITIES_MAX - 1].event;
            let horizon = EventTime(newest_lost.ms() + 1);
            let lost = self.runs.partition_point(|run| run.event < horizon);
            self.runs.drain(..lost);
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
            grain: None,
            complete: None,
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
            assert_eq!(acceptance.judge(&tick(1_000 + id as i64 / 2, 2 * id), settings), Verdict::Accepted);
        }
        assert!(acceptance.runs.len() <= IDENTITIES_MAX);
        // The watermark stands far before these ticks: how late they are is measured from the horizon.
        assert_eq!(acceptance.judge(&tick(1_000, 0), settings), Verdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(990, 1), settings), Verdict::Late { late_ms: 11 });
        assert_eq!(acceptance.judge(&tick(1_001, 4), settings), Verdict::Duplicate);
        // Once the watermark has passed the horizon, it is what counts again.
        acceptance.observe(EventTime(665_000), settings);
        assert_eq!(acceptance.judge(&tick(1_000, 3), settings), Verdict::Late { late_ms: 659_000 });
    }

    #[test]
    fn more_ticks_of_one_instant_than_can_be_remembered_end_that_instant() {
        let mut acceptance = Acceptance::default();
        let settings = Settings::default();
        for id in 0..=IDENTITIES_MAX as u64 {
            assert_eq!(acceptance.judge(&tick(1_000, 2 * id), settings), Verdict::Accepted);
        }
        assert_eq!(acceptance.judge(&tick(1_000, 0), settings), Verdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(1_000, u64::MAX), settings), Verdict::Late { late_ms: 1 });
        assert_eq!(acceptance.judge(&tick(1_001, 0), settings), Verdict::Accepted);
    }

    #[test]
    fn numbered_trades_do_not_end_their_own_second() {
        let mut acceptance = Acceptance::default();
        let settings = Settings::default();
        let trades = 3 * IDENTITIES_MAX as u64;
        // The middle third comes last, and in reverse.
        let third = IDENTITIES_MAX as u64;
        let order = (0..third).chain(2 * third..trades).chain((third..2 * third).rev());
        for id in order {
            assert_eq!(acceptance.judge(&tick(1_000, id), settings), Verdict::Accepted, "{id}");
        }
        assert_eq!(acceptance.runs.len(), 1);
        for id in 0..trades {
            assert_eq!(acceptance.judge(&tick(1_000, id), settings), Verdict::Duplicate, "{id}");
        }
        let unnumbered = Tick { id: None, ..tick(1_000, 0) };
        assert_eq!(acceptance.judge(&unnumbered, settings), Verdict::Accepted);
        assert_eq!(acceptance.judge(&unnumbered, settings), Verdict::Duplicate);
        let bar = Tick { grain: Some(Span::MINUTE), ..unnumbered };
        assert_eq!(acceptance.judge(&bar, settings), Verdict::Accepted, "another grain is another tick");
    }

    #[test]
    fn memory_holds_only_what_can_still_be_revised() {
        let mut acceptance = Acceptance::default();
        for minute in 0..1_000 {
            acceptance.judge(&tick(minute * 60_000, 0), Settings::default());
        }
        assert!(acceptance.runs.len() <= 12, "{}", acceptance.runs.len());
    }
}
