//! A process that owns the partition, or believes so: it performs the effects of the state machine in memory.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus::protocol::StepConfig;
use futures::future::BoxFuture;
use step::Operator;
use step::commit::CommitAnswer;
use step::commit_schedule::CommitSchedule;
use step::partition::{Effect, Ended, Event, Partition, PartitionReport, Setup};
use step::time::Time;

use crate::log::{InputLog, PARTITION};
use crate::memory::Memory;

/// Delay of every answer. A batch is stored at once, but its answer takes this long.
const ANSWER_DELAY: Duration = Duration::from_millis(25);

/// Waits until a held message can be applied further, for example until a model is fitted.
pub type Wait = Box<dyn Fn(BoxFuture<'static, ()>)>;

/// A request that is not answered yet.
enum PendingAnswer {
    Checkpoint,
    Reader(u64),
    Commit(CommitAnswer),
    Position,
    Need(BoxFuture<'static, ()>),
    Look(u64),
}

/// An owner of the partition. It acts only in methods that take the memory, such as [`Owner::pass`].
pub struct Owner<O: Operator> {
    partition: Partition<O>,
    wait: Wait,
    /// In order, with the time of the answer.
    pending: VecDeque<(Time, PendingAnswer)>,
    /// The index of the next message, once it reads.
    place: Option<usize>,
    /// The last sequence of which it was given messages, or needs none.
    given: u64,
    /// The position of the last commit that it knows of.
    committed: u64,
    /// The states of that commit contain every message up to here.
    settled: u64,
    ended: Option<Ended>,
}

impl<O: Operator> fmt::Debug for Owner<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, committed, settled, ended, .. } = self;
        write!(f, "given {given}, committed {committed}, settled {settled}, ended {ended:?}")
    }
}

impl<O: Operator> Owner<O> {
    /// A process that starts now.
    pub fn start(operator: Arc<O>, wait: Wait, memory: &mut Memory) -> Self {
        let setup = Setup {
            partition: PARTITION,
            partitions: 1,
            log: InputLog::id(),
            config: StepConfig::new(operator.event_time(), operator.shape()),
            accept_loss: false,
        };
        let schedule = CommitSchedule::new(O::STEP, setup.partitions);
        let (partition, effects) = Partition::new(operator, setup, schedule, memory.now);
        let (pending, place, ended) = (VecDeque::new(), None, None);
        let mut owner = Self { partition, wait, pending, place, given: 0, committed: 0, settled: 0, ended };
        effects.into_iter().for_each(|effect| owner.perform(effect, memory));
        owner
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// The last sequence of which it was given messages, or needs none.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Whether a message is applied in part, and waits for something that its next line needs.
    pub fn is_waiting(&self) -> bool {
        self.pending.iter().any(|(_, pending)| matches!(pending, PendingAnswer::Need(_)))
    }

    /// Lets time pass.
    pub fn pass(&mut self, memory: &mut Memory, span: Duration) {
        let until = memory.now + span;
        while self.next_at(memory.now).is_some_and(|at| at <= until) {
            self.advance(memory);
        }
        memory.now = until;
    }

    /// Gives it the next message as soon as it accepts one, with `follow` messages known to be pending. Returns false
    /// when the log is applied completely, or when the owner has ended.
    pub fn take(&mut self, memory: &mut Memory, follow: usize) -> bool {
        self.pass(memory, Duration::ZERO);
        self.advance_until(memory, |owner| owner.place.is_some() && owner.partition.takes_input());
        let Some(place) = self.place.filter(|_| self.ended.is_none()) else { return false };
        let Some((delivery, more)) = memory.log.delivery(place, follow) else { return false };
        memory.replayed += u64::from(delivery.seq <= self.committed);
        (self.place, self.given) = (Some(place + 1), delivery.seq);
        self.feed(Event::Input(delivery), memory);
        if !more {
            self.feed(Event::Idle, memory);
        }
        true
    }

    /// Lets time pass until everything that it was given is stored. The states may lack it.
    pub fn store(&mut self, memory: &mut Memory) {
        self.advance_until(memory, |owner| owner.committed >= owner.given);
    }

    /// Lets time pass until everything that it was given is stored and contained in the stored states. Messages that a
    /// replay needs are given first.
    pub fn settle(&mut self, memory: &mut Memory) {
        self.advance_until(memory, |owner| owner.place.is_some());
        while self.given < self.committed && self.take(memory, usize::MAX) {}
        self.advance_until(memory, |owner| owner.committed.min(owner.settled) >= owner.given);
    }

    /// Tells it to stop, and lets time pass until it has.
    pub fn stop(mut self, memory: &mut Memory) -> Ended {
        self.feed(Event::Stop, memory);
        self.advance_until(memory, |_| false);
        self.ended.expect("nothing else ends the loop")
    }

    /// Processes answers and ticks in order, until `is_done` or its end.
    fn advance_until(&mut self, memory: &mut Memory, is_done: impl Fn(&Self) -> bool) {
        while self.ended.is_none() && !is_done(self) {
            self.advance(memory);
        }
    }

    /// The time of the next answer or tick.
    fn next_at(&self, now: Time) -> Option<Time> {
        let answer_at = self.pending.front().map(|(at, _)| *at);
        let wakes_at = self.partition.wakes_at(now).filter(|_| self.ended.is_none());
        answer_at.into_iter().chain(wakes_at).min()
    }

    /// Advances to the next answer or tick.
    fn advance(&mut self, memory: &mut Memory) {
        let next_at = self.next_at(memory.now).expect("a partition that lives waits for something");
        memory.now = memory.now.max(next_at);
        let is_answer = self.pending.front().is_some_and(|(at, _)| *at <= memory.now);
        if let Some((_, pending)) = is_answer.then(|| self.pending.pop_front()).flatten() {
            let event = self.answer(pending, memory);
            return self.feed(event, memory);
        }
        self.feed(Event::Tick, memory);
        let again_at = self.partition.wakes_at(memory.now);
        assert!(again_at.is_none_or(|at| at > memory.now), "a tick at {next_at:?} asks for another one at once");
    }

    fn feed(&mut self, event: Event<O::State, O::Counts>, memory: &mut Memory) {
        for effect in self.partition.on(event, memory.now) {
            self.perform(effect, memory);
        }
    }

    /// Performs an effect, or schedules the answer to it.
    fn perform(&mut self, effect: Effect, memory: &mut Memory) {
        let pending = match effect {
            Effect::Recover => PendingAnswer::Checkpoint,
            Effect::Read { from, .. } => PendingAnswer::Reader(from),
            Effect::Commit { part, .. } => PendingAnswer::Commit(memory.stored.commit(&part)),
            Effect::ReadPosition => PendingAnswer::Position,
            Effect::Wait(ready) => PendingAnswer::Need(ready),
            Effect::CheckInput(seen) => PendingAnswer::Look(seen),
            Effect::Report(PartitionReport::Committed { part, .. }) => {
                (self.committed, self.settled) = (part.position.position, part.position.settled);
                return;
            }
            Effect::Publish(_) | Effect::Report(_) => return,
            Effect::End(ended) => {
                self.pending.clear();
                self.ended = Some(ended);
                return;
            }
            Effect::Fail(error) => panic!("the partition fails: {error}"),
        };
        self.pending.push_back((memory.now + ANSWER_DELAY, pending));
    }

    fn answer(&mut self, pending: PendingAnswer, memory: &Memory) -> Event<O::State, O::Counts> {
        match pending {
            PendingAnswer::Checkpoint => {
                let checkpoint = memory.stored.recover::<O>();
                if let Some(position) = &checkpoint.position {
                    (self.committed, self.settled) = (position.position, position.settled);
                }
                Event::Recovered(checkpoint)
            }
            PendingAnswer::Reader(from) => {
                let place = memory.log.place_of(from);
                (self.place, self.given) = (Some(place), from - 1);
                Event::Attached { input: memory.log.info(), pending: memory.log.rest(place) as u64 }
            }
            PendingAnswer::Commit(answer) => Event::Answered(answer),
            PendingAnswer::Position => Event::PositionRead(memory.stored.stored_position()),
            PendingAnswer::Need(ready) => {
                (self.wait)(ready);
                Event::Ready
            }
            PendingAnswer::Look(seen) => Event::InputChecked { seen, input: memory.log.info() },
        }
    }
}
