//! Times at which a partition commits.

use std::time::Duration;

use crate::operator::Operator;
use crate::partition::event::InputInfo;
use crate::partition::state::Partition;
use crate::time::Time;

/// Maximum number of inputs that are applied before the states are stored: a new owner would apply them again.
const UNSETTLED_MAX: u64 = 1_000;
/// Maximum delay of results while more input is pending: a replay needs few large commits.
const GATHERING_MAX: Duration = Duration::from_millis(200);
/// A newer frontier alone is committed when the stored one is this old.
pub(super) const FRONTIER_AGE_MAX: Duration = Duration::from_secs(3_600);

/// Whether a stored frontier lies in the older half of an input that deletes, or soon will because it is half full. A
/// quiet partition that starts from it could not tell unread input from deleted input.
pub(super) fn is_endangered(frontier: u64, input: &InputInfo) -> bool {
    input.deletes && frontier < input.first_seq + input.last_seq.saturating_sub(input.first_seq) / 2
}

impl<O: Operator> Partition<O> {
    /// When the next commit is due; `None` if nothing requires one.
    pub(super) fn due_at(&self, now: Time) -> Option<Time> {
        if self.held.as_ref().is_some_and(|held| held.lines_done > 0) {
            // Half a message has no position.
            return None;
        }
        let (results, states) = (self.results_due_at(now), self.states_due_at(now));
        results.into_iter().chain(states).chain(self.position_due_at(now)).min()
    }

    /// When the results are due: at once, unless more input is available or pending.
    fn results_due_at(&self, now: Time) -> Option<Time> {
        let began = self.draft.began.filter(|_| !self.draft.outputs.is_empty())?;
        if self.commits_at_once() || self.draft.is_full() {
            Some(now)
        } else if self.has_more && self.held.is_none() {
            None
        } else if self.pending > 0 && self.held.is_none() {
            Some(began + GATHERING_MAX)
        } else {
            Some(now)
        }
    }

    /// When the states are due: in the partition's slot, when input pauses, or when a new owner would have to apply too
    /// much again.
    pub(super) fn states_due_at(&self, now: Time) -> Option<Time> {
        let since = self.unsettled_since?;
        let is_much = self.members.applied() - self.members.stored().1 >= UNSETTLED_MAX;
        if self.commits_at_once() || is_much {
            return Some(now);
        }
        Some(self.schedule.next_slot(self.setup.partition, since).min(self.schedule.quiet_at()))
    }

    /// When the position alone is due.
    fn position_due_at(&self, now: Time) -> Option<Time> {
        if self.is_position_due {
            return Some(now);
        }
        if self.fence == 0 || self.frontier <= self.committed_frontier {
            return None;
        }
        Some(if self.is_frontier_endangered { now } else { self.committed_at + self.frontier_age_max })
    }

    fn commits_at_once(&self) -> bool {
        self.stopping_since.is_some() || self.draft.has_waited
    }
}
