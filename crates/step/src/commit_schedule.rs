//! When states are stored, and what shows nothing is committed: nobody waits for it, and a batch costs the server nine syncs of
//! its disk and, for each state that it replaces, as much again as for a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::topology::Step;

use crate::partition::Time;

/// A partition's turn comes this often while input goes on: what came since the last one is what the next owner applies again.
const EVERY: Duration = Duration::from_secs(4);
/// The same for a step whose commits are rare: its open windows are shown with them, at most once a second, and a commit that is
/// confirmed a moment earlier than usual must not be too early for that.
const EVERY_SHOWN: Duration = Duration::from_millis(1_250);
/// Partitions take turns that are at least so far apart: one batch of many states holds up more than several of a few.
const APART: Duration = Duration::from_millis(125);
/// When nothing has come for so long, everything is stored at once.
const QUIET: Duration = Duration::from_millis(150);

/// The turns of a step's partitions, and when its last input came. Clones share that.
#[derive(Debug, Clone)]
pub struct CommitSchedule {
    every: Duration,
    /// How many turns there are before the first one comes again.
    slots: u32,
    /// In microseconds.
    last_input: Arc<AtomicU64>,
}

impl CommitSchedule {
    /// The schedule of a process that runs a step with so many partitions.
    pub fn new(step: Step, partitions: u32) -> Self {
        let every = if step.is_live { EVERY } else { EVERY_SHOWN };
        let slots = u32::try_from(every.as_millis() / APART.as_millis()).unwrap_or(u32::MAX).min(partitions).max(1);
        Self { every, slots, last_input: Arc::default() }
    }

    /// An input is applied.
    pub(crate) fn note(&self, now: Time) {
        self.last_input.fetch_max(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When it will have been quiet for long enough, unless more input comes.
    pub(crate) fn quiet_at(&self) -> Time {
        Duration::from_micros(self.last_input.load(Ordering::Relaxed)) + QUIET
    }

    /// The first turn of a partition after something began.
    pub(crate) fn next(&self, partition: u32, began: Time) -> Time {
        let first = self.every * (partition % self.slots) / self.slots;
        let Some(since) = began.checked_sub(first) else { return first };
        let turns = since.as_nanos() / self.every.as_nanos() + 1;
        first + self.every * u32::try_from(turns).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use bus::topology::{MARKET_STEP, STATS_STEP};

    use super::*;

    #[test]
    fn each_partition_has_a_turn_of_its_own_that_comes_again() {
        let schedule = CommitSchedule::new(MARKET_STEP, 16);
        let ms = |partition, began| schedule.next(partition, Duration::from_millis(began)).as_millis();
        assert_eq!([ms(0, 0), ms(1, 0), ms(15, 0)], [4_000, 250, 3_750]);
        assert_eq!([ms(1, 249), ms(1, 250), ms(1, 4_249), ms(1, 4_250)], [250, 4_250, 4_250, 8_250]);
    }

    #[test]
    fn more_partitions_than_there_is_time_for_share_turns() {
        let schedule = CommitSchedule::new(STATS_STEP, 16);
        let of = |partition| schedule.next(partition, Duration::ZERO);
        assert_eq!((of(1), of(11), of(7)), (APART, APART, APART * 7));
        assert_eq!(CommitSchedule::new(STATS_STEP, 1).slots, 1);
    }

    #[test]
    fn it_is_quiet_a_moment_after_the_last_input_of_any_partition() {
        let schedule = CommitSchedule::new(MARKET_STEP, 16);
        let at = Duration::from_millis;
        schedule.note(at(1_000));
        schedule.clone().note(at(3_000));
        schedule.note(at(2_000));
        assert_eq!(schedule.quiet_at(), at(3_000) + QUIET);
    }
}
