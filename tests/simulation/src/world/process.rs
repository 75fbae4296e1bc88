//! A process of a step: its leases, workers and committer, as in `step::supervisor`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Error;
use bus::lease::{Change, Holdings, Process as HostProcess};
use bus::protocol::{LogId, StepConfig};
use bus::stream::Stream;
use step::Operator;
use step::commit_schedule::CommitSchedule;
use step::partition::Setup;

use crate::jetstream::Request;
use crate::world::client::{ANSWER_MAX, Client};
use crate::world::committer::Committer;
use crate::world::executor::{Destination, Mailbox, Tasks};
use crate::world::membership::{Command, Membership};
use crate::world::wire::{self, Limits};
use crate::world::worker::{Shared, Worker};

/// Something about a process that the checks need to know.
#[derive(Debug, Clone)]
pub(crate) enum ProcessEvent {
    /// A partition has stopped, for a reason that the next owner would meet too.
    Stopped { output: Stream, number: u32, error: Error },
    /// The process no longer owns the partition.
    Dropped { output: Stream, number: u32 },
    /// The process has ended; with an error, or as it was told.
    Ended(Option<Error>),
}

/// Settings of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub(crate) partitions: u32,
    pub(crate) accept_loss: bool,
    pub(crate) lease_ttl: Duration,
    pub(crate) input: Limits,
}

/// A process of any kind.
pub(crate) trait Program {
    /// Does everything that can be done now.
    fn run(&mut self);
    /// The time at which it continues without an answer.
    fn wakes_at(&self) -> Option<Duration>;
    /// Tells it to stop in order.
    fn stop(&mut self) {}
    /// Returns what has happened since the last call.
    fn news(&mut self) -> Option<ProcessEvent> {
        None
    }
}

/// A process that runs a step.
pub(crate) struct Process<O: Operator> {
    operator: Arc<O>,
    client: Client,
    flags: Flags,
    tasks: Tasks,
    /// The log of the input, once it is known.
    log: Mailbox<LogId>,
    shared: Option<Arc<Shared<O>>>,
    changes: Mailbox<Change>,
    commands: Mailbox<Command>,
    left: Mailbox<()>,
    news: Mailbox<ProcessEvent>,
    /// Workers of the owned partitions.
    workers: BTreeMap<u32, Worker<O>>,
    /// Workers of former partitions that have not ended yet.
    dropped: Vec<Worker<O>>,
    is_stopping: bool,
    is_leaving: bool,
}

impl<O: Operator> Process<O> {
    pub(crate) fn new(operator: O, client: Client, flags: Flags) -> Self {
        let mut tasks = Tasks::default();
        let log = Mailbox::default();
        let (found, ask) = (log.clone(), client.clone());
        tasks.spawn(&client.io, async move {
            loop {
                let request = Request::Info { stream: O::STEP.input.name().to_owned() };
                let response = ask.io.ask(Destination::Leader, request, ANSWER_MAX).await;
                if let Ok(log) = wire::info(response, flags.input).and_then(|info| info.log()) {
                    return found.put(&ask.io, log);
                }
                ask.io.sleep(Duration::from_millis(200)).await;
            }
        });
        Self {
            operator: Arc::new(operator),
            client,
            flags,
            tasks,
            log,
            shared: None,
            changes: Mailbox::default(),
            commands: Mailbox::default(),
            left: Mailbox::default(),
            news: Mailbox::default(),
            workers: BTreeMap::new(),
            dropped: Vec::new(),
            is_stopping: false,
            is_leaving: false,
        }
    }

    /// Starts committer and leases once the input is known.
    fn begin(&mut self, log: LogId) {
        let Flags { partitions, accept_loss, lease_ttl, input } = self.flags;
        let io = self.client.io.clone();
        let sealed = Mailbox::default();
        let prefix = format!("{:016x}", io.below(u64::MAX));
        let committer =
            Committer { client: self.client.clone(), output: O::STEP.output, prefix, sealed: sealed.clone() };
        self.tasks.spawn(&io, committer.run());
        let id = format!("{:08x}", io.below(1 << 32));
        let membership = Membership {
            client: self.client.clone(),
            group: O::STEP.service,
            holdings: Arc::new(Mutex::new(Holdings::new(id, HostProcess::default(), partitions, lease_ttl))),
            commands: self.commands.clone(),
            changes: self.changes.clone(),
            left: self.left.clone(),
        };
        self.tasks.spawn(&io, membership.run());
        let config = StepConfig::new(self.operator.event_time(), self.operator.shape());
        self.shared = Some(Arc::new(Shared {
            client: self.client.clone(),
            operator: Arc::clone(&self.operator),
            setup: Setup { partition: 0, partitions, log, config, accept_loss },
            schedule: CommitSchedule::new(O::STEP, partitions),
            input,
            sealed,
        }));
    }

    fn follow(&mut self, change: Change) {
        self.client.io.note(|| format!("{}: {change:?}", O::STEP.service));
        match change {
            Change::Taken(lease) => {
                let Some(shared) = self.shared.clone() else { return };
                let worker = Worker::new(shared, lease, &mut self.tasks);
                self.dropped.extend(self.workers.insert(lease.slot, worker));
            }
            Change::Wanted(slot) => {
                if let Some(worker) = self.workers.get_mut(&slot) {
                    worker.is_asked_to_stop = true;
                    if worker.ended.is_some() {
                        self.give_back(slot);
                    }
                }
            }
            Change::Lost(slot) => {
                self.news.put(&self.client.io, ProcessEvent::Dropped { output: O::STEP.output, number: slot });
                if let Some(mut worker) = self.workers.remove(&slot) {
                    worker.is_lost = true;
                    self.dropped.push(worker);
                }
            }
            Change::Settled => {}
        }
    }

    fn give_back(&mut self, slot: u32) {
        if let Some(worker) = self.workers.remove(&slot) {
            self.news.put(&self.client.io, ProcessEvent::Dropped { output: O::STEP.output, number: slot });
            self.commands.put(&self.client.io, Command::Release(worker.lease));
        }
    }

    /// Handles workers that have ended: releases their partitions, or keeps those that stopped by themselves.
    fn conclude(&mut self) {
        self.dropped.retain(|worker| worker.ended.is_none());
        let mut given = Vec::new();
        for (&number, worker) in &mut self.workers {
            match &worker.ended {
                Some(Ok(_)) => given.push(number),
                Some(Err(error)) if !error.concerns_partition() => {
                    self.news.put(&self.client.io, ProcessEvent::Ended(Some(error.clone())));
                }
                Some(Err(error)) if !worker.is_asked_to_stop => {
                    let (output, error) = (O::STEP.output, error.clone());
                    self.news.put(&self.client.io, ProcessEvent::Stopped { output, number, error });
                    // Reported once.
                    worker.is_asked_to_stop = true;
                }
                _ => {}
            }
        }
        given.into_iter().for_each(|number| self.give_back(number));
        let have_ended = self.workers.values().all(|worker| worker.ended.is_some());
        if self.is_stopping && !self.is_leaving && have_ended {
            self.is_leaving = true;
            self.commands.put(&self.client.io, Command::Leave);
        }
        let is_gone = self.is_stopping && (self.shared.is_none() || self.left.take().is_some());
        if is_gone {
            self.news.put(&self.client.io, ProcessEvent::Ended(None));
        }
    }
}

impl<O: Operator> Program for Process<O> {
    fn run(&mut self) {
        let io = self.client.io.clone();
        loop {
            let mut has_run = self.tasks.run(&io);
            if let Some(log) = self.log.take() {
                self.begin(log);
                has_run = true;
            }
            while let Some(change) = self.changes.take() {
                self.follow(change);
                has_run = true;
            }
            for worker in self.workers.values_mut().chain(&mut self.dropped) {
                while worker.turn(&mut self.tasks) {
                    has_run = true;
                }
            }
            self.conclude();
            if !has_run {
                return;
            }
        }
    }

    fn wakes_at(&self) -> Option<Duration> {
        let of_workers = self.workers.values().chain(&self.dropped).filter_map(Worker::wakes_at);
        self.client.io.wakes_at().into_iter().chain(of_workers).min()
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.workers.values_mut().for_each(|worker| worker.is_asked_to_stop = true);
    }

    fn news(&mut self) -> Option<ProcessEvent> {
        self.news.take()
    }
}
