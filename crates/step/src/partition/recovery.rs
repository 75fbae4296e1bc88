//! Start of a partition: from its checkpoint, with a replay of the input that its stored states lack.
//!
//! The operator is deterministic, so a replay brings each state to its former value. It emits nothing: the results are
//! stored already, and the position contains their counts.

use bus::Error;
use bus::protocol::{Position, StepConfig};

use crate::checkpoint::{Checkpoint, lost};
use crate::operator::Operator;
use crate::partition::due::{FRONTIER_AGE_MAX, is_endangered};
use crate::partition::event::{Effect, InputInfo, PartitionReport};
use crate::partition::members::Members;
use crate::partition::state::{Partition, Phase, Replay};

impl<O: Operator> Partition<O> {
    /// Starts from a checkpoint.
    pub(super) fn begin(
        &mut self,
        checkpoint: Checkpoint<O::State, O::Counts>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Recovering) {
            return Ok(());
        }
        let Checkpoint { fence, position, states } = checkpoint;
        self.fence = fence;
        self.phase = Phase::Owning;
        if let Some(position) = position {
            self.check_origin(&position)?;
            self.members = Members::restored(states, |state| self.operator.watermark(state));
            self.position = position.settled;
            self.frontier = position.frontier;
            self.committed_frontier = position.frontier;
            self.verified = position.verified;
            (self.lost, self.lost_to) = (position.lost, position.lost_to);
            self.counts = position.counts;
            self.phase = Phase::Replaying(Replay { to: position.position, applied: Some(position.applied) });
            self.end_replay(effects)?;
        }
        effects.push(Effect::Read { from: self.position + 1, reaches: self.reached() });
        Ok(())
    }

    /// Checks that the checkpoint was computed from this log with these settings.
    fn check_origin(&self, position: &Position<O::Counts>) -> Result<(), Error> {
        let setup = &self.setup;
        if !setup.log.continues_from(&position.log, position.position) {
            return Err(wrong_log::<O>(format!("it was created at {}, not {}", setup.log, position.log)));
        }
        if position.partitions != setup.partitions {
            return Err(wrong_log::<O>(format!("it has {} partitions, not {}", setup.partitions, position.partitions)));
        }
        check_settings::<O>(&position.config, &setup.config)
    }

    /// The last input that was applied, by this owner or an earlier one.
    fn reached(&self) -> u64 {
        match &self.phase {
            Phase::Replaying(replay) => replay.to,
            _ => self.position,
        }
    }

    /// Ends the replay once it has reached the position.
    pub(super) fn end_replay(&mut self, effects: &mut Vec<Effect>) -> Result<(), Error> {
        let Phase::Replaying(replay) = &self.phase else { return Ok(()) };
        if self.position < replay.to {
            return Ok(());
        }
        let applied = self.members.applied();
        if let Some(expected) = replay.applied.filter(|&expected| expected != applied) {
            let detail = format!("its states come to {applied} inputs, the position says {expected}");
            return Err(lost(O::STEP.output, self.setup.partition, detail));
        }
        self.phase = Phase::Owning;
        self.report_attached(effects);
        Ok(())
    }

    /// Checks, whenever reading starts, that the input is the same log and complete.
    pub(super) fn attach(&mut self, input: &InputInfo, pending: u64, effects: &mut Vec<Effect>) -> Result<(), Error> {
        if input.log != self.setup.log {
            if input.log.continues_from(&self.setup.log, 0) {
                return Err(Error::Restored { input: O::STEP.input.name().to_owned() });
            }
            return Err(wrong_log::<O>(format!("it was recreated at {}", input.log)));
        }
        let reached = self.reached();
        if reached > input.last_seq {
            let detail = format!("it ends at sequence {}, the position is {reached}", input.last_seq);
            return Err(wrong_log::<O>(detail));
        }
        if !input.retention.is_zero() {
            self.frontier_age_max = FRONTIER_AGE_MAX.min(input.retention / 10);
        }
        self.check_hole(input, self.position, effects)?;
        self.pending = pending;
        if pending == 0 {
            if let Phase::Replaying(replay) = &self.phase {
                // No input of this partition is left up to the position.
                self.position = replay.to;
                self.end_replay(effects)?;
            }
            self.frontier = self.frontier.max(input.last_seq);
            self.verified = self.verified.max(self.frontier);
        }
        self.is_frontier_endangered = is_endangered(self.committed_frontier, input);
        self.is_attached = true;
        self.report_attached(effects);
        Ok(())
    }

    /// Reports once that the partition is recovered and attached.
    fn report_attached(&mut self, effects: &mut Vec<Effect>) {
        if self.is_attached && !self.is_attachment_reported && !matches!(self.phase, Phase::Replaying(_)) {
            self.is_attachment_reported = true;
            effects.push(Effect::Report(PartitionReport::Attached));
        }
    }

    /// Checks whether input that this partition has not read was deleted. It has read everything up to the sequence
    /// that the last check verified; input that was applied since may follow messages that were deleted meanwhile.
    /// `seen` is the position at the start of the check.
    pub(super) fn check_hole(&mut self, input: &InputInfo, seen: u64, effects: &mut Vec<Effect>) -> Result<(), Error> {
        let has_history = self.position > 0 || self.frontier > 0;
        // Trimming follows the commits and goes no further. It takes no input at all from a partition without a commit.
        // Retention limits of the server ignore readers.
        let seen_to = match input.is_trimmed {
            true if self.fence == 0 => u64::MAX - 1,
            true => self.verified.max(self.frontier).max(seen),
            false => self.verified,
        };
        // Every input that the stored states lack must exist.
        let needed_to = match &self.phase {
            Phase::Replaying(_) => self.position.min(seen_to),
            _ => seen_to,
        };
        if has_history && input.begins > needed_to + 1 {
            if !self.setup.accept_loss {
                return Err(Error::Hole {
                    input: O::STEP.input.name().to_owned(),
                    partition: self.setup.partition,
                    frontier: needed_to,
                    first: input.begins,
                });
            }
            self.accept_loss(needed_to + 1, input.begins - 1, effects)?;
        }
        // Input from before the first commit of this partition is not a loss.
        let before = if has_history { 0 } else { input.begins.saturating_sub(1) };
        self.verified = self.verified.max(seen).max(before);
        Ok(())
    }

    /// Continues after input that was deleted. Each instrument gets a gap before its next message, including one that
    /// was read beyond the hole before it was noticed.
    fn accept_loss(&mut self, from: u64, to: u64, effects: &mut Vec<Effect>) -> Result<(), Error> {
        effects.push(Effect::Report(PartitionReport::LossAccepted { from, to }));
        self.lost += to + 1 - from;
        self.lost_to = self.lost_to.max(to).max(self.position);
        self.frontier = self.frontier.max(to);
        self.verified = self.verified.max(to);
        self.is_position_due = true;
        if let Phase::Replaying(replay) = &mut self.phase {
            // The states lack input whose results are stored: their instruments get a gap as well.
            self.lost_to = self.lost_to.max(replay.to);
            replay.applied = None;
            self.position = self.position.max(to.min(replay.to));
            self.end_replay(effects)?;
        }
        Ok(())
    }
}

/// Checks that the results of a partition were computed with the current settings.
pub(crate) fn check_settings<O: Operator>(made: &StepConfig, asked: &StepConfig) -> Result<(), Error> {
    if made == asked {
        return Ok(());
    }
    let output = O::STEP.output.name().to_owned();
    Err(Error::OtherSettings { output, made: made.to_string(), asked: asked.to_string() })
}

fn wrong_log<O: Operator>(detail: String) -> Error {
    let (input, output) = (O::STEP.input.name().to_owned(), O::STEP.output.name().to_owned());
    Error::WrongLog { input, output, detail }
}
