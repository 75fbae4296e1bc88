//! When a partition commits.

use std::time::Duration;

use crate::operator::Operator;
use crate::partition::{InputInfo, Partition, Time};

/// So many inputs at most are applied without the states being stored: the next owner would apply them again.
const UNSETTLED_MAX: u64 = 1_000;
/// How long results may wait for input that is there and not read yet: a replay goes in few large commits.
const GATHERING_MAX: Duration = Duration::from_millis(200);
/// A newer frontier alone is worth a commit when the stored one is this old.
pub(super) const FRONTIER_AGE_MAX: Duration = Duration::from_secs(3_600);

/// Whether a stored frontier lies in the older half of an input that deletes, or soon will because it is half full: a quiet
/// partition that starts from it could not tell what it has not seen from what is gone.
pub(super) fn is_endangered(frontier: u64, input: &InputInfo) -> bool {
    input.deletes && frontier < input.first_seq + input.last_seq.saturating_sub(input.first_seq) / 2
}

impl<O: Operator> Partition<O> {
    /// When the next commit is due; `None` as long as nothing asks for one.
    pub(super) fn due_at(&self, now: Time) -> Option<Time> {
        if self.held.as_ref().is_some_and(|held| held.lines_done > 0) {
            // Half a message has no position.
            return None;
        }
        let (results, states) = (self.results_due_at(now), self.states_due_at(now));
        results.into_iter().chain(states).chain(self.position_due_at(now)).min()
    }

    /// When what was applied is to be shown: at once, unless more input is at hand or about to come.
    fn results_due_at(&self, now: Time) -> Option<Time> {
        let began = self.draft.began.filter(|_| !self.draft.outputs.is_empty())?;
        if self.is_hurried() || self.draft.is_full() {
            Some(now)
        } else if self.has_more && self.held.is_none() {
            None
        } else if self.pending > 0 && self.held.is_none() {
            Some(began + GATHERING_MAX)
        } else {
            Some(now)
        }
    }

    /// When the states are to be stored: when the partition's turn comes, when nothing comes for a while, when the next owner
    /// would have too much to apply again.
    pub(super) fn states_due_at(&self, now: Time) -> Option<Time> {
        let since = self.unsettled_since?;
        let is_much = self.members.applied() - self.members.stored().1 >= UNSETTLED_MAX;
        if self.is_hurried() || is_much {
            return Some(now);
        }
        Some(self.schedule.next(self.setup.partition, since).min(self.schedule.quiet_at()))
    }

    /// When the position alone is worth a commit.
    fn position_due_at(&self, now: Time) -> Option<Time> {
        if self.is_position_due {
            return Some(now);
        }
        if self.fence == 0 || self.frontier <= self.committed_frontier {
            return None;
        }
        Some(if self.is_frontier_endangered { now } else { self.committed_at + self.frontier_age_max })
    }

    fn is_hurried(&self) -> bool {
        self.stopping_since.is_some() || self.draft.has_waited
    }
}
