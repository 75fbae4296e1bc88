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
pub(crate) enum Destination {
    /// The server that leads the stream, or believes to.
    Leader,
    /// Any server.
    Any,
    /// The server with the consumer.
    Server(usize),
    /// The server with the consumer; it waits for messages if there are none.
    LongPoll(usize),
}

/// A request in flight.
#[derive(Debug, Clone)]
pub(crate) struct SentRequest {
    pub(crate) id: u64,
    pub(crate) to: Destination,
    pub(crate) request: Request,
}

/// An answer in flight.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// The server that answered.
    pub(crate) server: usize,
    pub(crate) answer: Answer,
    /// The sequence up to which the stream is marked as trimmed; 0 for never.
    pub(crate) trimmed: u64,
}

/// The connection, clock and random generator of a process. Clones share them.
#[derive(Clone)]
pub(crate) struct ProcessIo(Arc<Mutex<IoState>>);

struct IoState {
    now: Duration,
    ids: u64,
    outbox: Vec<SentRequest>,
    /// The task that waits for each answer.
    waiting: HashMap<u64, TaskId>,
    answers: HashMap<u64, Response>,
    timers: BTreeMap<(Duration, u64), TaskId>,
    ready: VecDeque<TaskId>,
    current: TaskId,
    random: Random,
    /// Trace lines; `None` without tracing.
    notes: Option<Vec<String>>,
}

impl ProcessIo {
    pub(crate) fn new(random: Random, now: Duration, is_traced: bool) -> Self {
        Self(Arc::new(Mutex::new(IoState {
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

    fn state(&self) -> MutexGuard<'_, IoState> {
        self.0.lock().expect("one thread runs a world")
    }

    /// The clock of the process.
    pub(crate) fn now(&self) -> Duration {
        self.state().now
    }

    /// Advances the clock and wakes the tasks whose timers are due.
    pub(crate) fn set_now(&self, now: Duration) {
        let mut state = self.state();
        state.now = now;
        while let Some(entry) = state.timers.first_entry()
            && entry.key().0 <= now
        {
            let task = entry.remove();
            state.ready.push_back(task);
        }
    }

    /// The time of the first timer.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        self.state().timers.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.state().random.below(end)
    }

    /// Writes a trace line.
    pub(crate) fn note(&self, words: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.state().notes {
            notes.push(words());
        }
    }

    /// The trace lines since the last call.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.state().notes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The requests sent since the last call.
    pub(crate) fn sent(&self) -> Vec<SentRequest> {
        std::mem::take(&mut self.state().outbox)
    }

    /// Delivers an answer. Only the first answer to a request counts.
    pub(crate) fn answer(&self, id: u64, response: Response) {
        let mut state = self.state();
        if let Some(task) = state.waiting.remove(&id) {
            state.answers.insert(id, response);
            state.ready.push_back(task);
        }
    }

    pub(crate) fn ready(&self, task: TaskId) {
        self.state().ready.push_back(task);
    }

    fn next_ready(&self) -> Option<TaskId> {
        let mut state = self.state();
        let task = state.ready.pop_front()?;
        state.current = task;
        Some(task)
    }

    /// Sends a request and waits for the answer; `None` when none comes in time.
    pub(crate) async fn ask(&self, to: Destination, request: Request, within: Duration) -> Option<Response> {
        let (id, deadline) = {
            let mut state = self.state();
            state.ids += 1;
            let (id, deadline, current) = (state.ids, state.now + within, state.current);
            state.outbox.push(SentRequest { id, to, request });
            state.waiting.insert(id, current);
            state.timers.insert((deadline, id), current);
            (id, deadline)
        };
        poll_fn(|_| {
            let mut state = self.state();
            if let Some(response) = state.answers.remove(&id) {
                state.timers.remove(&(deadline, id));
                return Poll::Ready(Some(response));
            }
            if state.now >= deadline {
                state.waiting.remove(&id);
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        let at = {
            let mut state = self.state();
            state.ids += 1;
            let (at, id, current) = (state.now + time, state.ids, state.current);
            state.timers.insert((at, id), current);
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
    pub(crate) fn spawn(&mut self, io: &ProcessIo, task: impl Future<Output = ()> + 'static) -> TaskId {
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
    pub(crate) fn run(&mut self, io: &ProcessIo) -> bool {
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

    pub(crate) fn put(&self, io: &ProcessIo, thing: T) {
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
    pub(crate) async fn filled(&self, io: &ProcessIo) {
        poll_fn(|_| {
            let mut waiting = self.waiting();
            if waiting.things.is_empty() {
                waiting.task = Some(io.state().current);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until there is an item or the time is over.
    pub(crate) async fn filled_within(&self, io: &ProcessIo, time: Duration) {
        let mut sleeping = std::pin::pin!(io.sleep(time));
        let mut filled = std::pin::pin!(self.filled(io));
        poll_fn(|context| {
            let is_over = filled.as_mut().poll(context).is_ready() || sleeping.as_mut().poll(context).is_ready();
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
