//! A partition of a step as a pure state machine: what happens goes in, what is to be done comes out.
//!
//! It reads no clock, holds no connection and waits for nothing, so the same events at the same times give the same effects. The
//! worker performs them against a server, the simulator against a model of one, unit tests by hand.
//!
//! ```text
//!             Recovered, input behind the states applied            due: Commit
//! Recovering ────────────────────────────────────────────▶ Owning ◀────────────▶ Sealed
//!     │                                                      │       Stored          │ another fence
//!     │ Stop                                                 │ Stop, all stored      ▼
//!     └──────────────────▶ Drained ◀─────────────────────────┘                     Fenced
//! ```
//!
//! While a commit is under way, input is applied to the next draft, which is sealed only when the one before it is stored. The
//! loss of the lease leads to Fenced from everywhere; so does every position that another owner has written.

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

/// A time, counted from an instant that all partitions of a process have in common.
pub type Time = Duration;

/// How often a partition that reads looks whether what it jumped over was deleted.
const LOOK: Duration = Duration::from_secs(5);
/// How long a stop waits for the commit that is under way; the whole process has 4 seconds, one of them to give its leases back.
const DRAIN_MAX: Duration = Duration::from_millis(2_500);
/// A partition with no more input to come than this has caught up.
const PENDING_MAX: u64 = 8;

/// What a partition is, and how it is to be worked on.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which one.
    pub partition: u32,
    /// How many there are.
    pub partitions: u32,
    /// Which log is read.
    pub log: LogId,
    /// The settings that shape results.
    pub config: StepConfig,
    /// Whether to go on where input is lost for ever.
    pub accept_loss: bool,
}

/// Where a partition is in its life.
enum Phase {
    /// Its checkpoint is being read.
    Recovering,
    /// What its stored states lack is applied to them; this was shown already.
    Replaying(Replay),
    /// It applies input; no commit is under way.
    Owning,
    /// A commit is under way.
    Sealed(Box<Sealed>),
    /// It has ended.
    Over,
}

/// How far a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages of the input that wait, or are applied and in no commit.
    pub lag: u64,
    /// The watermark that is least far, and the one that is furthest, of the instruments that have one.
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
    /// Up to here nothing for this partition can be missing.
    frontier: u64,
    /// Frontier of the last commit.
    committed_frontier: u64,
    committed_at: Time,
    /// Position or frontier at the last look that found nothing missing.
    verified: u64,
    /// How old a stored frontier may get: well within the time that the input keeps messages.
    frontier_age_max: Duration,
    /// The stored frontier stands where the input will soon delete.
    is_frontier_endangered: bool,
    /// Inputs that still wait on the server.
    pending: u64,
    /// Whether a message has arrived that was not taken yet.
    has_more: bool,
    /// Input sequences that were lost and accepted as such.
    lost: u64,
    /// Whoever was read no further than this has a gap before its next message.
    lost_to: u64,
    /// Messages that were delivered again.
    dropped: u64,
    /// Whether the position alone is worth a commit.
    is_position_due: bool,
    counts: O::Counts,
    members: Members<O::State>,
    /// When the first input was applied that the stored states lack.
    unsettled_since: Option<Time>,
    draft: Draft,
    /// A message that cannot be applied to its end yet.
    held: Option<Held>,
    stopping_since: Option<Time>,
    /// Whether it was told that the input is there.
    is_attached: bool,
    is_in_place: bool,
    /// When to look for holes; `None` while a look is under way.
    look_at: Option<Time>,
}

impl<O: Operator> Partition<O> {
    /// A partition that is owned from now on, and the first thing to do for it.
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

    /// Takes note of what has happened, and returns what is to be done now, in order.
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

    /// What is known of the commit that is under way.
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

    /// Does what is due, whatever has happened.
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
            // A reader without input looks by itself.
            let has_jumped = self.position > self.verified && !matches!(self.phase, Phase::Recovering);
            self.look_at = (!has_jumped).then_some(now + LOOK);
            effects.extend(has_jumped.then_some(Effect::Look(self.position)));
        }
    }

    /// When to call [`Self::on`] with [`Event::Tick`] at the latest, if nothing else happens before.
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

    /// Whether it would do something if nothing more had arrived: see [`Event::Idle`].
    pub fn is_gathering(&self) -> bool {
        self.has_more
    }

    /// Whether it can take another message.
    pub fn takes_input(&self) -> bool {
        let is_open = !matches!(self.phase, Phase::Recovering | Phase::Over) && !self.is_stopping();
        is_open && self.held.is_none() && !self.draft.is_full()
    }

    /// What it has been waiting for since when, if it cannot go on by itself.
    pub fn waits_for(&self) -> Option<(Time, &'static str)> {
        match (&self.phase, &self.held) {
            (Phase::Sealed(sealed), _) => Some((sealed.since, "a commit")),
            (_, Some(held)) => Some((held.since, "what its next record needs")),
            (_, None) => None,
        }
    }

    /// How far it has come. Looks at every instrument.
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

    /// Messages that were delivered again, and dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether next to no input is to come.
    fn has_caught_up(&self) -> bool {
        self.pending <= PENDING_MAX
    }
}
