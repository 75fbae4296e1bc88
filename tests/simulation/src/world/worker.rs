//! Worker of one partition: performs the effects of `step::partition::Partition`, like `step::worker`.

use std::sync::Arc;
use std::time::Duration;

use bus::lease::Lease;
use bus::{Error, subject};
use step::checkpoint::{self, Checkpoint};
use step::commit_schedule::CommitSchedule;
use step::part::StoredPosition;
use step::partition::{Effect, Ended, Event, Partition, PartitionReport, Setup};
use step::{Operator, commit};

use crate::jetstream::Request;
use crate::world::client::{ANSWER_MAX, Client};
use crate::world::committer::Sealed;
use crate::world::executor::{Destination, Mailbox, ProcessIo, TaskId, Tasks};
use crate::world::fault::Fault;
use crate::world::reader::{Reader, ReaderEvent};
use crate::world::wire::{self, Limits};

const RETRY_DELAY: Duration = Duration::from_millis(100);

type Asked<O> = Result<Event<<O as Operator>::State, <O as Operator>::Counts>, Error>;

/// State that the workers of a process share.
pub(crate) struct Shared<O> {
    pub(crate) client: Client,
    pub(crate) operator: Arc<O>,
    pub(crate) setup: Setup,
    pub(crate) schedule: CommitSchedule,
    pub(crate) input: Limits,
    pub(crate) sealed: Mailbox<Sealed>,
}

/// A partition at work.
pub(crate) struct Worker<O: Operator> {
    pub(crate) lease: Lease,
    shared: Arc<Shared<O>>,
    partition: Partition<O>,
    number: u32,
    asked: Mailbox<Asked<O>>,
    read: Mailbox<ReaderEvent>,
    tasks: Vec<TaskId>,
    reader: Option<TaskId>,
    pub(crate) is_asked_to_stop: bool,
    pub(crate) is_lost: bool,
    pub(crate) ended: Option<Result<Ended, Error>>,
}

impl<O: Operator> Worker<O> {
    pub(crate) fn new(shared: Arc<Shared<O>>, lease: Lease, tasks: &mut Tasks) -> Self {
        let (number, now) = (lease.slot, shared.client.io.now());
        let setup = Setup { partition: number, ..shared.setup.clone() };
        let (partition, effects) = Partition::new(Arc::clone(&shared.operator), setup, shared.schedule.clone(), now);
        let mut worker = Self {
            lease,
            shared,
            partition,
            number,
            asked: Mailbox::default(),
            read: Mailbox::default(),
            tasks: Vec::new(),
            reader: None,
            is_asked_to_stop: false,
            is_lost: false,
            ended: None,
        };
        worker.perform_all(effects, tasks);
        worker
    }

    /// The time at which it continues without an answer.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        if self.ended.is_some() { None } else { self.partition.wakes_at(self.shared.client.io.now()) }
    }

    /// Handles the next event, if there is one; returns whether there was.
    pub(crate) fn turn(&mut self, tasks: &mut Tasks) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let Some(event) = self.next() else { return false };
        match event {
            Ok(event) => {
                self.io().note(|| words::<O>(self.number, &event));
                let now = self.shared.client.io.now();
                let effects = self.partition.on(event, now);
                self.perform_all(effects, tasks);
            }
            Err(error) => self.end(Err(error), tasks),
        }
        true
    }

    fn next(&mut self) -> Option<Asked<O>> {
        if self.is_lost {
            return Some(Ok(Event::LeaseLost));
        }
        if self.partition.is_gathering() && self.read.is_empty() {
            return Some(Ok(Event::Idle));
        }
        if let Some(event) = self.asked.take() {
            return Some(event);
        }
        if self.is_asked_to_stop && !self.partition.is_stopping() {
            return Some(Ok(Event::Stop));
        }
        let now = self.shared.client.io.now();
        if self.partition.wakes_at(now).is_some_and(|at| at <= now) {
            return Some(Ok(Event::Tick));
        }
        if !self.partition.takes_input() {
            return None;
        }
        Some(Ok(match self.read.take()? {
            ReaderEvent::Attached { info, pending } => Event::Attached { input: wire::input_info(&info), pending },
            ReaderEvent::Message(delivery) => Event::Input(delivery),
        }))
    }

    fn end(&mut self, ended: Result<Ended, Error>, tasks: &mut Tasks) {
        self.io().note(|| format!("{} {}: {ended:?}", O::STEP.service, self.number));
        self.tasks.drain(..).chain(self.reader.take()).for_each(|task| tasks.cancel(task));
        self.ended = Some(ended);
    }

    fn io(&self) -> &ProcessIo {
        &self.shared.client.io
    }

    fn note(&self, effect: &Effect) {
        let (service, number) = (O::STEP.service, self.number);
        match effect {
            Effect::Publish(_) | Effect::Report(PartitionReport::Committed { .. }) => {}
            Effect::Commit { part, .. } => self.io().note(|| {
                let (position, messages, fence) = (&part.position, part.messages.len(), part.fence);
                let (place, settled, frontier) = (position.position, position.settled, position.frontier);
                let verified = position.verified;
                format!(
                    "{service} {number}: commit of {messages} messages to position {place} (settled {settled}, frontier \
                     {frontier}, verified {verified}) behind {fence}"
                )
            }),
            effect => self.io().note(|| format!("{service} {number}: {effect:?}")),
        }
    }

    fn perform_all(&mut self, effects: Vec<Effect>, tasks: &mut Tasks) {
        for effect in effects {
            match effect {
                Effect::End(ended) => return self.end(Ok(ended), tasks),
                Effect::Fail(error) => return self.end(Err(error), tasks),
                effect => self.perform(effect, tasks),
            }
        }
    }

    fn perform(&mut self, effect: Effect, tasks: &mut Tasks) {
        self.note(&effect);
        let (client, number) = (self.shared.client.clone(), self.number);
        match effect {
            Effect::Recover => self.ask(tasks, async move {
                let recovered = checkpoint::recover(&client, O::STEP, number).await?;
                Ok(Event::Recovered(planted::<O>(recovered, client.fault)))
            }),
            Effect::Read { from, reaches } => self.start_reader(from, reaches, tasks),
            Effect::Commit { part, .. } => {
                let (asked, io) = (self.asked.clone(), self.io().clone());
                let done = move |answer: commit::CommitAnswer| asked.put(&io, Ok(Event::Answered(answer)));
                self.shared.sealed.put(self.io(), Sealed { part, done: Box::new(done) });
            }
            Effect::ReadPosition => self.ask(tasks, async move {
                let subject = subject::position(O::STEP.output, number);
                loop {
                    if let Ok(found) = client.last_message(O::STEP.output.name(), &subject).await {
                        let batch = |headers: &async_nats::HeaderMap| {
                            headers.get(async_nats::header::NATS_BATCH_ID).map(|id| id.as_str().to_owned())
                        };
                        let position =
                            found.map(|found| StoredPosition { seq: found.seq, batch: batch(&found.headers) });
                        return Ok(Event::PositionRead(position));
                    }
                    client.io.sleep(RETRY_DELAY).await;
                }
            }),
            Effect::CheckInput(seen) => {
                let limits = self.shared.input;
                self.ask(tasks, async move {
                    loop {
                        let request = Request::Info { stream: O::STEP.input.name().to_owned() };
                        let response = client.io.ask(Destination::Leader, request, ANSWER_MAX).await;
                        if let Ok(info) = wire::info(response, limits) {
                            return Ok(Event::InputChecked { seen, input: wire::input_info(&info) });
                        }
                        client.io.sleep(RETRY_DELAY).await;
                    }
                });
            }
            // No operator here waits.
            Effect::Wait(_) | Effect::Publish(_) | Effect::Report(_) | Effect::End(_) | Effect::Fail(_) => {}
        }
    }

    /// Starts a request whose outcome is an event.
    fn ask(&mut self, tasks: &mut Tasks, asked: impl Future<Output = Asked<O>> + 'static) {
        let (done, io) = (self.asked.clone(), self.io().clone());
        let task = tasks.spawn(self.io(), async move {
            let event = asked.await;
            done.put(&io, event);
        });
        self.tasks.push(task);
    }

    fn start_reader(&mut self, from: u64, reaches: u64, tasks: &mut Tasks) {
        let filters = subject::inputs(O::STEP, self.number).iter().map(|filter| filter.as_str().into()).collect();
        self.read = Mailbox::default();
        let reader = Reader {
            client: self.shared.client.clone(),
            limits: self.shared.input,
            stream: O::STEP.input.name(),
            filters,
            next: from,
            reaches,
            log: None,
            events: self.read.clone(),
        };
        let task = tasks.spawn(self.io(), reader.run());
        self.reader.replace(task).into_iter().for_each(|task| tasks.cancel(task));
    }
}

/// The recovered checkpoint, changed by a planted fault.
fn planted<O: Operator>(
    mut recovered: Checkpoint<O::State, O::Counts>,
    fault: Option<Fault>,
) -> Checkpoint<O::State, O::Counts> {
    if let Some(position) = &mut recovered.position {
        match fault {
            Some(Fault::ReplayEmits) => position.position = position.settled,
            Some(Fault::ReplayFromPosition) => position.settled = position.position,
            _ => return recovered,
        }
        position.applied = position.states_applied;
    }
    recovered
}

/// An event as text; empty for frequent events.
fn words<O: Operator>(number: u32, event: &Event<O::State, O::Counts>) -> String {
    let words = match event {
        Event::Recovered(found) => format!("recovered behind {}", found.fence),
        Event::Attached { input, pending } => {
            format!("attached, {pending} pending, input from {} to {}", input.begins, input.last_seq)
        }
        Event::Input(delivery) => format!("input {}", delivery.seq),
        Event::PositionRead(position) => format!("{position:?}"),
        Event::InputChecked { seen, input } => format!("looked from {seen}, input from {}", input.begins),
        Event::LeaseLost => "lease lost".to_owned(),
        Event::Stop => "told to stop".to_owned(),
        Event::Idle | Event::Ready | Event::Tick | Event::Answered(_) => return String::new(),
    };
    format!("{} {number}: {words}", O::STEP.service)
}
