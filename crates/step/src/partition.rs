//! A partition of a step as a pure state machine: events go in, effects come out.
//!
//! It reads no clock, holds no connection and waits for nothing, so the same events at the same times give the same
//! effects. The worker performs them against a server, the simulator against a model of one, unit tests by hand.
//!
//! ```text
//!             Recovered, replay complete                            due: Commit
//! Recovering ────────────────────────────────────────────▶ Owning ◀────────────▶ Sealed
//!     │                                                      │       Stored          │ another fence
//!     │ Stop                                                 │ Stop, all stored      ▼
//!     └──────────────────▶ Drained ◀─────────────────────────┘                     Fenced
//! ```
//!
//! While a commit is in flight, input is applied to the next draft. That draft is sealed only when the commit before it
//! is stored. The loss of the lease leads to Fenced from every state, and so does a position that another owner has
//! written.

mod draft;
mod due;
mod event;
#[cfg(test)]
mod found_tests;
mod input;
mod members;
mod recovery;
mod seal;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use market::EventTime;

use crate::commit::Next;
use crate::commit_schedule::CommitSchedule;
use crate::operator::Operator;
use crate::partition::draft::Draft;
use crate::partition::members::{Member, Members};
use crate::partition::state::Phase;
use crate::time::Time;

pub use draft::{INPUT_BYTES_MAX, INPUT_MESSAGES_MAX};
pub use event::{Effect, Ended, Event, InputInfo, PartitionReport, ProvisionalCandle};
pub(crate) use recovery::check_settings;
pub use state::{Partition, PartitionProgress, Setup};

/// Interval at which a partition checks whether messages that it skipped were deleted unread.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time limit for the commit in flight after a stop; the whole process has 4 seconds, one of them to release its
/// leases.
const DRAIN_MAX: Duration = Duration::from_millis(2_500);

impl<O: Operator> Partition<O> {
    /// Returns a partition that is owned from now on, and its first effect.
    pub fn new(operator: Arc<O>, setup: Setup, schedule: CommitSchedule, now: Time) -> (Self, Vec<Effect>) {
        let partition = Self {
            operator,
            setup,
            schedule,
            phase: Phase::Recovering,
            fence: 0,
            position: 0,
            frontier: 0,
            committed_frontier: 0,
            committed_at: now,
            verified: 0,
            frontier_age_max: due::FRONTIER_AGE_MAX,
            is_frontier_endangered: false,
            pending: 0,
            has_more: false,
            lost: 0,
            lost_to: 0,
            dropped: 0,
            is_position_due: false,
            counts: O::Counts::default(),
            members: Members::default(),
            unsettled_since: None,
            draft: Draft::default(),
            held: None,
            stopping_since: None,
            is_attached: false,
            is_attachment_reported: false,
            check_at: Some(now + CHECK_INTERVAL),
        };
        (partition, vec![Effect::Recover])
    }

    /// Handles an event; returns the effects to perform now, in order.
    pub fn on(&mut self, event: Event<O::State, O::Counts>, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        if matches!(self.phase, Phase::Over) {
            return effects;
        }
        match self.handle(event, now, &mut effects) {
            Ok(()) => self.act_on_due(now, &mut effects),
            Err(error) => {
                self.phase = Phase::Over;
                effects.push(Effect::Fail(error));
            }
        }
        effects
    }

    fn handle(&mut self, event: Event<O::State, O::Counts>, now: Time, effects: &mut Vec<Effect>) -> Result<(), Error> {
        match event {
            Event::Recovered(checkpoint) => self.begin(checkpoint, effects)?,
            Event::Attached { input, pending } => self.attach(&input, pending, effects)?,
            Event::Input(delivery) => self.input(delivery, now, effects)?,
            Event::Idle => self.has_more = false,
            Event::Ready => self.apply_held(now, effects)?,
            Event::Tick => {}
            Event::Answered(answer) => {
                if let Phase::Sealed(sealed) = &mut self.phase {
                    let next = sealed.commit.answered(answer);
                    self.settle(next, now, effects)?;
                }
            }
            Event::PositionRead(position) => {
                if let Phase::Sealed(sealed) = &mut self.phase {
                    let next = sealed.commit.position_read(position.as_ref());
                    self.settle(next, now, effects)?;
                }
            }
            Event::InputChecked { seen, input } => {
                self.check_at = Some(now + CHECK_INTERVAL);
                if !self.is_stopping() {
                    self.check_hole(&input, seen, effects)?;
                }
            }
            Event::LeaseLost => self.end(Ended::Fenced, effects),
            Event::Stop => drop(self.stopping_since.get_or_insert(now)),
        }
        Ok(())
    }

    /// Acts on the outcome of the commit in flight.
    fn settle(&mut self, next: Next, now: Time, effects: &mut Vec<Effect>) -> Result<(), Error> {
        match next {
            Next::Stored(fence) => self.confirm(fence, now, effects),
            Next::Fenced => {
                effects.push(Effect::Report(PartitionReport::Overtaken));
                self.end(Ended::Fenced, effects);
            }
            Next::ReadPosition => effects.push(Effect::ReadPosition),
            Next::Again(delay) => {
                if let Phase::Sealed(sealed) = &mut self.phase {
                    sealed.again_at = Some(now + delay);
                }
            }
            Next::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn end(&mut self, ended: Ended, effects: &mut Vec<Effect>) {
        self.phase = Phase::Over;
        effects.push(Effect::End(ended));
    }

    /// Does what is due, after any event.
    fn act_on_due(&mut self, now: Time, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Over => return,
            Phase::Recovering | Phase::Replaying(_) if self.stopping_since.is_some() => {
                return self.end(Ended::Drained, effects);
            }
            Phase::Recovering | Phase::Replaying(_) => {}
            Phase::Sealed(sealed) => {
                if self.stopping_since.is_some_and(|since| now >= since + DRAIN_MAX) {
                    effects.push(Effect::Report(PartitionReport::Unconfirmed));
                    return self.end(Ended::Drained, effects);
                }
                if sealed.again_at.is_some_and(|at| now >= at) {
                    sealed.again_at = None;
                    effects.push(sealed.effect());
                }
            }
            Phase::Owning => {
                if self.due_at(now).is_some_and(|at| now >= at) {
                    self.seal(now, effects);
                } else if self.stopping_since.is_some() {
                    return self.end(Ended::Drained, effects);
                }
            }
        }
        if !self.is_stopping() && self.check_at.is_some_and(|at| now >= at) {
            // An idle reader reports the state of the input by itself.
            let has_jumped = self.position > self.verified && !matches!(self.phase, Phase::Recovering);
            self.check_at = (!has_jumped).then_some(now + CHECK_INTERVAL);
            effects.extend(has_jumped.then_some(Effect::CheckInput(self.position)));
        }
    }

    /// The latest time at which to call [`Self::on`] with [`Event::Tick`], if no event comes before.
    pub fn wakes_at(&self, now: Time) -> Option<Time> {
        let of_phase = match &self.phase {
            Phase::Over => return None,
            Phase::Recovering | Phase::Replaying(_) => None,
            Phase::Sealed(sealed) => {
                let drained_at = self.stopping_since.map(|since| since + DRAIN_MAX);
                sealed.again_at.into_iter().chain(drained_at).min()
            }
            Phase::Owning => self.due_at(now),
        };
        of_phase.into_iter().chain(self.check_at.filter(|_| !self.is_stopping())).min()
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping_since.is_some()
    }

    /// Whether it delays a commit because another message may have arrived: see [`Event::Idle`].
    pub fn is_gathering(&self) -> bool {
        self.has_more
    }

    /// Whether it accepts another message.
    pub fn takes_input(&self) -> bool {
        let is_open = !matches!(self.phase, Phase::Recovering | Phase::Over) && !self.is_stopping();
        is_open && self.held.is_none() && !self.draft.is_full()
    }

    /// The reason why it is blocked, with the start of the wait.
    pub fn waits_for(&self) -> Option<(Time, &'static str)> {
        match (&self.phase, &self.held) {
            (Phase::Sealed(sealed), _) => Some((sealed.since, "a commit")),
            (_, Some(held)) => Some((held.since, "what its next record needs")),
            (_, None) => None,
        }
    }

    /// Its progress. Visits every instrument.
    pub fn progress(&self) -> PartitionProgress {
        let watermark_of = |member: &Member<O::State>| {
            member.state.if_decoded().map_or(member.watermark, |state| self.operator.watermark(state))
        };
        let watermarks = self.members.iter().map(watermark_of).filter(|&watermark| watermark > EventTime::MIN);
        let watermarks = watermarks.fold(None, |range, watermark| match range {
            None => Some((watermark, watermark)),
            Some((oldest, newest)) => Some((watermark.min(oldest), watermark.max(newest))),
        });
        PartitionProgress { lag: self.pending + self.draft.inputs, watermarks }
    }

    /// Number of messages that were delivered again, and dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
