//! Sealing of a draft into a commit, and its confirmation.

use std::sync::Arc;

use bus::codec;
use bus::protocol::{POSITION_VERSION, Position};
use bus::subject;
use market::Candle;

use crate::commit::Commit;
use crate::operator::Operator;
use crate::part::Part;
use crate::partition::event::{Effect, PartitionReport, ProvisionalCandle};
use crate::partition::state::{Partition, Phase, Sealed};
use crate::time::Time;
use crate::transaction::{BYTES_MAX, MESSAGES_MAX};

/// Minimum interval between provisional candles of an instrument.
const PROVISIONAL: Time = Time::from_secs(1);

impl<O: Operator> Partition<O> {
    /// Seals the draft, with the states if they are due.
    pub(super) fn seal(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let has_states = self.states_due_at(now).is_some_and(|at| now >= at);
        let draft = std::mem::take(&mut self.draft);
        let is_live = self.has_caught_up() && draft.outputs.short_messages().is_some();
        let (output, partition) = (O::STEP.output, self.setup.partition);
        let bytes = draft.outputs.bytes();
        let mut messages = draft.outputs.into_messages(output, partition, |idx| self.members.name(idx));
        let open = draft.changed.iter().flat_map(|&idx| self.open_windows(idx, now)).collect();
        if has_states {
            let room = (MESSAGES_MAX - messages.len() - 1, BYTES_MAX.saturating_sub(bytes));
            let operator = &self.operator;
            messages.extend(self.members.settle((output, partition), room, |state| operator.watermark(state)));
            if self.members.is_settled() {
                self.unsettled_since = None;
            }
        }
        self.is_position_due = false;
        self.committed_frontier = self.frontier;
        self.is_frontier_endangered = false;
        let part = Part { partition, fence: self.fence, messages, position: self.position_now() };
        let counters = O::counter_values(&self.counts);
        let sealed = Sealed { commit: Commit::new(part), is_live, since: now, again_at: None, open, counters };
        effects.push(sealed.effect());
        self.phase = Phase::Sealed(Box::new(sealed));
    }

    fn position_now(&self) -> Position<serde_json::Value> {
        let (states, states_applied) = self.members.stored();
        Position {
            version: POSITION_VERSION,
            position: self.position,
            frontier: self.frontier,
            verified: self.verified,
            batch: String::new(),
            log: self.setup.log.clone(),
            partitions: self.setup.partitions,
            config: self.setup.config.clone(),
            settled: self.members.settled(self.position),
            states,
            states_applied,
            applied: self.members.applied(),
            lost: self.lost,
            lost_to: self.lost_to,
            counts: serde_json::to_value(&self.counts).expect("counts are plain data"),
        }
    }

    /// Records that the commit is stored, and publishes the provisional candles from the time of sealing.
    pub(super) fn confirm(&mut self, fence: u64, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Sealed(sealed) = std::mem::replace(&mut self.phase, Phase::Owning) else { return };
        assert!(fence > self.fence, "a commit lowered the fence from {} to {fence}", self.fence);
        self.fence = fence;
        self.committed_at = now;
        let Sealed { commit, open, counters, .. } = *sealed;
        effects.push(Effect::Report(PartitionReport::Committed { part: Arc::clone(commit.part()), counters }));
        if !open.is_empty() {
            effects.push(Effect::Publish(open));
        }
    }

    /// The provisional candles of an instrument, to be published once the input applied so far is stored. Empty when
    /// they were published a moment ago, or while much input is pending.
    fn open_windows(&mut self, idx: usize, now: Time) -> Vec<ProvisionalCandle> {
        let has_caught_up = self.has_caught_up();
        let member = self.members.get_mut(idx);
        if !has_caught_up || member.published_at.is_some_and(|at| now < at + PROVISIONAL) {
            return Vec::new();
        }
        let Some(instrument) = &member.instrument else { return Vec::new() };
        member.published_at = Some(now);
        let candles = member.state.read(|state| self.operator.provisional(instrument, state));
        let (coin, quote) = (&member.coin, &member.quote);
        let open = |candle: Candle| ProvisionalCandle {
            subject: subject::provisional(candle.window, coin, quote),
            payload: codec::single(&candle),
        };
        candles.into_iter().map(open).collect()
    }
}
