//! Schedule of commits that contain states. They are staggered across partitions, because each batch costs the server
//! nine syncs of its disk and each replaced state as much again as a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::stream::Step;

use crate::time::Time;

/// Interval between the state commits of a partition while input arrives: a new owner applies the input since the last
/// one again.
const INTERVAL: Duration = Duration::from_secs(4);
/// The same interval for a step that is not live. Its commits also publish provisional candles, at most once a second,
/// so a commit that is confirmed slightly early must not be too early for that.
const INTERVAL_NOT_LIVE: Duration = Duration::from_millis(1_250);
/// Minimum spacing of the partitions' slots: one batch of many states delays other commits more than several small
/// ones.
const SLOT_SPACING: Duration = Duration::from_millis(125);
/// When no input has arrived for this long, all states are stored at once.
const QUIET_FOR: Duration = Duration::from_millis(150);

/// The commit slots of a step's partitions, and the time of the last input. Clones share that time.
#[derive(Debug, Clone)]
pub struct CommitSchedule {
    interval: Duration,
    /// Number of slots in an interval.
    slots: u32,
    /// In microseconds.
    last_input: Arc<AtomicU64>,
}

impl CommitSchedule {
    /// The schedule of a process that runs a step with `partitions` partitions.
    pub fn new(step: Step, partitions: u32) -> Self {
        let interval = if step.is_live { INTERVAL } else { INTERVAL_NOT_LIVE };
        let slots =
            u32::try_from(interval.as_millis() / SLOT_SPACING.as_millis()).unwrap_or(u32::MAX).min(partitions).max(1);
        Self { interval, slots, last_input: Arc::default() }
    }

    /// Records an applied input.
    pub(crate) fn note(&self, now: Time) {
        self.last_input.fetch_max(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time at which the states are due if no more input arrives.
    pub(crate) fn quiet_at(&self) -> Time {
        Duration::from_micros(self.last_input.load(Ordering::Relaxed)) + QUIET_FOR
    }

    /// The first slot of a partition after a time.
    pub(crate) fn next_slot(&self, partition: u32, began: Time) -> Time {
        let first = self.interval * (partition % self.slots) / self.slots;
        let Some(since) = began.checked_sub(first) else { return first };
        let turns = since.as_nanos() / self.interval.as_nanos() + 1;
        first + self.interval * u32::try_from(turns).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use bus::stream::{MARKET_STEP, STATS_STEP};

    use super::*;

    #[test]
    fn each_partition_has_a_slot_that_recurs() {
        let schedule = CommitSchedule::new(MARKET_STEP, 16);
        let ms = |partition, began| schedule.next_slot(partition, Duration::from_millis(began)).as_millis();
        assert_eq!([ms(0, 0), ms(1, 0), ms(15, 0)], [4_000, 250, 3_750]);
        assert_eq!([ms(1, 249), ms(1, 250), ms(1, 4_249), ms(1, 4_250)], [250, 4_250, 4_250, 8_250]);
    }

    #[test]
    fn partitions_share_slots_when_there_are_too_many() {
        let schedule = CommitSchedule::new(STATS_STEP, 16);
        let of = |partition| schedule.next_slot(partition, Duration::ZERO);
        assert_eq!((of(1), of(11), of(7)), (SLOT_SPACING, SLOT_SPACING, SLOT_SPACING * 7));
        assert_eq!(CommitSchedule::new(STATS_STEP, 1).slots, 1);
    }

    #[test]
    fn states_are_due_soon_after_the_last_input_of_any_partition() {
        let schedule = CommitSchedule::new(MARKET_STEP, 16);
        let at = Duration::from_millis;
        schedule.note(at(1_000));
        schedule.clone().note(at(3_000));
        schedule.note(at(2_000));
        assert_eq!(schedule.quiet_at(), at(3_000) + QUIET_FOR);
    }
}
