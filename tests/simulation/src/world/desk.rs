//! Executor of a process's tasks, without a runtime. A task waits for an answer, for a time, or for an item in a
//! [`Mailbox`]. The order of tasks depends only on what arrives.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::jetstream::{Answer, Request};
use crate::random::Random;

/// Identifies a task of a process.
pub(crate) type TaskId = u64;

/// Destination of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// The server that leads the stream, or believes to.
    Leader,
    /// Any server.
    Any,
    /// The server with the consumer.
    Server(usize),
    /// The server with the consumer; it waits for messages if there are none.
    Patient(usize),
}

/// A request in flight.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) to: To,
    pub(crate) request: Request,
}

/// An answer in flight.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// The server that answered.
    pub(crate) server: usize,
    pub(crate) answer: Answer,
    /// The sequence up to which the stream is marked as trimmed; 0 for never.
    pub(crate) trimmed: u64,
}

/// The connection, clock and random generator of a process. Clones share them.
#[derive(Clone)]
pub(crate) struct Io(Arc<Mutex<Desk>>);

struct Desk {
    now: Duration,
    ids: u64,
    outbox: Vec<Sent>,
    /// The task that waits for each answer.
    waiting: HashMap<u64, TaskId>,
    answers: HashMap<u64, Packet>,
    timers: BTreeMap<(Duration, u64), TaskId>,
    ready: VecDeque<TaskId>,
    current: TaskId,
    random: Random,
    /// Trace lines; `None` without tracing.
    notes: Option<Vec<String>>,
}

impl Io {
    pub(crate) fn new(random: Random, now: Duration, is_traced: bool) -> Self {
        Self(Arc::new(Mutex::new(Desk {
            now,
            ids: 0,
            outbox: Vec::new(),
            waiting: HashMap::new(),
            answers: HashMap::new(),
            timers: BTreeMap::new(),
            ready: VecDeque::new(),
            current: 0,
            random,
            notes: is_traced.then(Vec::new),
        })))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().expect("one thread runs a world")
    }

    /// The clock of the process.
    pub(crate) fn now(&self) -> Duration {
        self.desk().now
    }

    /// Advances the clock and wakes the tasks whose timers are due.
    pub(crate) fn set_now(&self, now: Duration) {
        let mut desk = self.desk();
        desk.now = now;
        while let Some(entry) = desk.timers.first_entry()
            && entry.key().0 <= now
        {
            let task = entry.remove();
            desk.ready.push_back(task);
        }
    }

    /// The time of the first timer.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        self.desk().timers.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.desk().random.below(end)
    }

    /// Writes a trace line.
    pub(crate) fn note(&self, words: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.desk().notes {
            notes.push(words());
        }
    }

    /// The trace lines since the last call.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.desk().notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The requests sent since the last call.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.desk().outbox)
    }

    /// Delivers an answer. Only the first answer to a request counts.
    pub(crate) fn answer(&self, id: u64, packet: Packet) {
        let mut desk = self.desk();
        if let Some(task) = desk.waiting.remove(&id) {
            desk.answers.insert(id, packet);
            desk.ready.push_back(task);
        }
    }

    pub(crate) fn ready(&self, task: TaskId) {
        self.desk().ready.push_back(task);
    }

    fn next_ready(&self) -> Option<TaskId> {
        let mut desk = self.desk();
        let task = desk.ready.pop_front()?;
        desk.current = task;
        Some(task)
    }

    /// Sends a request and waits for the answer; `None` when none comes in time.
    pub(crate) async fn ask(&self, to: To, request: Request, within: Duration) -> Option<Packet> {
        let (id, deadline) = {
            let mut desk = self.desk();
            desk.ids += 1;
            let (id, deadline, current) = (desk.ids, desk.now + within, desk.current);
            desk.outbox.push(Sent { id, to, request });
            desk.waiting.insert(id, current);
            desk.timers.insert((deadline, id), current);
            (id, deadline)
        };
        poll_fn(|_| {
            let mut desk = self.desk();
            if let Some(packet) = desk.answers.remove(&id) {
                desk.timers.remove(&(deadline, id));
                return Poll::Ready(Some(packet));
            }
            if desk.now >= deadline {
                desk.waiting.remove(&id);
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        let at = {
            let mut desk = self.desk();
            desk.ids += 1;
            let (at, id, current) = (desk.now + time, desk.ids, desk.current);
            desk.timers.insert((at, id), current);
            at
        };
        poll_fn(|_| if self.now() >= at { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of a process.
#[derive(Default)]
pub(crate) struct Tasks {
    last: TaskId,
    all: BTreeMap<TaskId, Task>,
}

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn(&mut self, io: &Io, task: impl Future<Output = ()> + 'static) -> TaskId {
        self.last += 1;
        self.all.insert(self.last, Box::pin(task));
        io.ready(self.last);
        self.last
    }

    /// Drops a task.
    pub(crate) fn cancel(&mut self, task: TaskId) {
        self.all.remove(&task);
    }

    /// Polls every task that is ready; returns whether there was one.
    pub(crate) fn run(&mut self, io: &Io) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut has_run = false;
        while let Some(id) = io.next_ready() {
            if let Some(task) = self.all.get_mut(&id) {
                has_run = true;
                if task.as_mut().poll(&mut context).is_ready() {
                    self.all.remove(&id);
                }
            }
        }
        has_run
    }
}

/// A queue from one task to another task, or to the process itself.
pub(crate) struct Mailbox<T>(Arc<Mutex<Waiting<T>>>);

struct Waiting<T> {
    things: VecDeque<T>,
    task: Option<TaskId>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Waiting { things: VecDeque::new(), task: None })))
    }
}

impl<T> Mailbox<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().expect("one thread runs a world")
    }

    pub(crate) fn put(&self, io: &Io, thing: T) {
        let mut waiting = self.waiting();
        waiting.things.push_back(thing);
        waiting.task.take().into_iter().for_each(|task| io.ready(task));
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.waiting().things.pop_front()
    }

    pub(crate) fn take_all(&self) -> VecDeque<T> {
        std::mem::take(&mut self.waiting().things)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting().things.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().things.is_empty()
    }

    /// Waits until there is an item.
    pub(crate) async fn filled(&self, io: &Io) {
        poll_fn(|_| {
            let mut waiting = self.waiting();
            if waiting.things.is_empty() {
                waiting.task = Some(io.desk().current);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until there is an item or the time is over.
    pub(crate) async fn filled_within(&self, io: &Io, time: Duration) {
        let mut sleeping = std::pin::pin!(io.sleep(time));
        let mut filled = std::pin::pin!(self.filled(io));
        poll_fn(|context| {
            let is_over = filled.as_mut().poll(context).is_ready() || sleeping.as_mut().poll(context).is_ready();
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
