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
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use bus::protocol::{LogId, StepConfig};
use market::EventTime;

use crate::commit::Next;
use crate::commit_schedule::CommitSchedule;
use crate::operator::Operator;
use crate::partition::draft::{Draft, Held};
use crate::partition::members::{Member, Members};
use crate::partition::recovery::Replay;
use crate::partition::seal::Sealed;

pub use draft::{INPUT_BYTES_MAX, INPUT_MESSAGES_MAX};
pub use event::{Effect, Ended, Event, InputInfo, Open, Report, StoredPosition};
pub(crate) use recovery::check_settings;

/// A time, as the duration since an instant that all partitions of a process share.
pub type Time = Duration;

/// Interval at which a partition checks whether messages that it skipped were deleted unread.
const LOOK: Duration = Duration::from_secs(5);
/// Time limit for the commit in flight after a stop; the whole process has 4 seconds, one of them to release its
/// leases.
const DRAIN_MAX: Duration = Duration::from_millis(2_500);
/// With at most this many messages pending a partition has caught up.
const PENDING_MAX: u64 = 8;

/// Identity and settings of a partition.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The partition.
    pub partition: u32,
    /// Number of partitions.
    pub partitions: u32,
    /// The identity of the input log.
    pub log: LogId,
    /// The settings that shape results.
    pub config: StepConfig,
    /// Whether to continue after input that was deleted unread.
    pub accept_loss: bool,
}

/// State of the life cycle.
enum Phase {
    /// The checkpoint is being read.
    Recovering,
    /// Input that the stored states lack is applied to them; its results are stored already.
    Replaying(Replay),
    /// Input is applied; no commit is in flight.
    Owning,
    /// A commit is in flight.
    Sealed(Box<Sealed>),
    /// The partition has ended.
    Over,
}

/// Progress of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages that are pending, or applied but not in a commit.
    pub lag: u64,
    /// The lowest and the highest watermark among the instruments that have one.
    pub watermarks: Option<(EventTime, EventTime)>,
}

/// A partition.
pub struct Partition<O: Operator> {
    operator: Arc<O>,
    setup: Setup,
    schedule: CommitSchedule,
    phase: Phase,
    /// Stream sequence of the last position.
    fence: u64,
    /// Last input applied.
    position: u64,
    /// Up to here no input of this partition can be missing.
    frontier: u64,
    /// Frontier of the last commit.
    committed_frontier: u64,
    committed_at: Time,
    /// Position or frontier at the last check that found nothing missing.
    verified: u64,
    /// Maximum age of a stored frontier: well within the retention of the input.
    frontier_age_max: Duration,
    /// Whether the stored frontier lies where the input will soon be deleted.
    is_frontier_endangered: bool,
    /// Messages that are pending on the server.
    pending: u64,
    /// Whether another message may have arrived already.
    has_more: bool,
    /// Number of input sequences that were lost and accepted.
    lost: u64,
    /// An instrument that was last read before this sequence has a gap before its next message.
    lost_to: u64,
    /// Messages that were delivered again.
    dropped: u64,
    /// Whether the position alone requires a commit.
    is_position_due: bool,
    counts: O::Counts,
    members: Members<O::State>,
    /// Time of the first applied input that the stored states lack.
    unsettled_since: Option<Time>,
    draft: Draft,
    /// A message that is applied in part and waits.
    held: Option<Held>,
    stopping_since: Option<Time>,
    /// Whether the reader is attached to the input.
    is_attached: bool,
    is_in_place: bool,
    /// Time of the next check for holes; `None` while one runs.
    look_at: Option<Time>,
}

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
            is_in_place: false,
            look_at: Some(now + LOOK),
        };
        (partition, vec![Effect::Recover])
    }

    /// Handles an event; returns the effects to perform now, in order.
    pub fn on(&mut self, event: Event<O::State, O::Counts>, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        if matches!(self.phase, Phase::Over) {
            return effects;
        }
        match self.take(event, now, &mut effects) {
            Ok(()) => self.go_on(now, &mut effects),
            Err(error) => {
                self.phase = Phase::Over;
                effects.push(Effect::Fail(error));
            }
        }
        effects
    }

    fn take(&mut self, event: Event<O::State, O::Counts>, now: Time, effects: &mut Vec<Effect>) -> Result<(), Error> {
        match event {
            Event::Recovered(checkpoint) => self.begin(checkpoint, effects)?,
            Event::Attached { input, pending } => self.attach(&input, pending, effects)?,
            Event::Input { delivery, more } => self.input(delivery, more, now, effects)?,
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
            Event::Looked { seen, input } => {
                self.look_at = Some(now + LOOK);
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
                effects.push(Effect::Report(Report::Overtaken));
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
    fn go_on(&mut self, now: Time, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Over => return,
            Phase::Recovering | Phase::Replaying(_) if self.stopping_since.is_some() => {
                return self.end(Ended::Drained, effects);
            }
            Phase::Recovering | Phase::Replaying(_) => {}
            Phase::Sealed(sealed) => {
                if self.stopping_since.is_some_and(|since| now >= since + DRAIN_MAX) {
                    effects.push(Effect::Report(Report::Unconfirmed));
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
        if !self.is_stopping() && self.look_at.is_some_and(|at| now >= at) {
            // An idle reader reports the state of the input by itself.
            let has_jumped = self.position > self.verified && !matches!(self.phase, Phase::Recovering);
            self.look_at = (!has_jumped).then_some(now + LOOK);
            effects.extend(has_jumped.then_some(Effect::Look(self.position)));
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
        of_phase.into_iter().chain(self.look_at.filter(|_| !self.is_stopping())).min()
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
    pub fn progress(&self) -> Progress {
        let watermark_of = |member: &Member<O::State>| {
            member.state.changing().map_or(member.watermark, |state| self.operator.watermark(state))
        };
        let watermarks = self.members.iter().map(watermark_of).filter(|&watermark| watermark > EventTime::MIN);
        let watermarks = watermarks.fold(None, |range, watermark| match range {
            None => Some((watermark, watermark)),
            Some((oldest, newest)) => Some((watermark.min(oldest), watermark.max(newest))),
        });
        Progress { lag: self.pending + self.draft.inputs, watermarks }
    }

    /// Number of messages that were delivered again, and dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether almost no input is pending.
    fn has_caught_up(&self) -> bool {
        self.pending <= PENDING_MAX
    }
}
