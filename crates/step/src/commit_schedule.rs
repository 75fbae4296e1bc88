//! When what shows nothing is committed: nobody waits for it, and a batch costs the server nine syncs of its disk and, for each
//! state that it replaces, as much again as for a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use bus::topology::Step;

/// How often a partition commits that goes on without a pause, if its results are stored ahead: what comes between two commits
/// is what the next owner applies again.
const EVERY_AHEAD: Duration = Duration::from_secs(4);
/// The same, if they are not: its open windows are shown with its commits, at most once a second, and a commit that is confirmed
/// a moment earlier than usual must not be too early for that.
const EVERY: Duration = Duration::from_millis(1_250);
/// Partitions take turns that are at least so far apart: one batch of many states holds up more than several of a few.
const APART: Duration = Duration::from_millis(125);
/// When nothing has come for so long, everything is committed at once.
const QUIET: Duration = Duration::from_millis(150);

/// The turns of a step's partitions, and when its last input came. Clones share that.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    first: Instant,
    every: Duration,
    /// How many turns there are before the first one comes again.
    slots: u32,
    /// In microseconds after `first`.
    last_input: Arc<AtomicU64>,
}

impl Turns {
    pub(crate) fn new(step: Step, partitions: u32) -> Self {
        let every = if step.is_ahead { EVERY_AHEAD } else { EVERY };
        let slots = u32::try_from(every.as_millis() / APART.as_millis()).unwrap_or(u32::MAX).min(partitions).max(1);
        Self { first: Instant::now(), every, slots, last_input: Arc::default() }
    }

    /// An input is applied.
    pub(crate) fn note(&self, now: Instant) {
        let after = now.saturating_duration_since(self.first).as_micros();
        self.last_input.fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When it will have been quiet for long enough, unless more input comes.
    pub(crate) fn quiet_at(&self) -> Instant {
        self.first + Duration::from_micros(self.last_input.load(Ordering::Relaxed)) + QUIET
    }

    /// The first turn of a partition after something began.
    pub(crate) fn next(&self, partition: u32, began: Instant) -> Instant {
        let first = self.first + self.every * (partition % self.slots) / self.slots;
        let Some(since) = began.checked_duration_since(first) else { return first };
        let turns = since.as_nanos() / self.every.as_nanos() + 1;
        first + self.every * u32::try_from(turns).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::topology::{MARKET_STEP, STATS_STEP};

    #[test]
    fn each_partition_has_a_turn_of_its_own_that_comes_again() {
        let turns = Turns::new(MARKET_STEP, 16);
        let ms = |partition, began| {
            (turns.next(partition, turns.first + Duration::from_millis(began)) - turns.first).as_millis()
        };
        assert_eq!([ms(0, 0), ms(1, 0), ms(15, 0)], [4_000, 250, 3_750]);
        assert_eq!([ms(1, 249), ms(1, 250), ms(1, 4_249), ms(1, 4_250)], [250, 4_250, 4_250, 8_250]);
    }

    #[test]
    fn more_partitions_than_there_is_time_for_share_turns() {
        let turns = Turns::new(STATS_STEP, 16);
        let of = |partition| turns.next(partition, turns.first);
        assert_eq!((of(1), of(11), of(7)), (turns.first + APART, turns.first + APART, turns.first + APART * 7));
        assert_eq!(Turns::new(STATS_STEP, 1).slots, 1);
    }

    #[test]
    fn it_is_quiet_a_moment_after_the_last_input_of_any_partition() {
        let turns = Turns::new(MARKET_STEP, 16);
        let at = |ms| turns.first + Duration::from_millis(ms);
        turns.note(at(1_000));
        turns.clone().note(at(3_000));
        turns.note(at(2_000));
        assert_eq!(turns.quiet_at(), at(3_000) + QUIET);
    }
}
