//! Supervisor of the workers of a process: one worker per owned partition, started and stopped as leases change.

use std::collections::HashMap;
use std::sync::Arc;

use bus::Error;
use bus::lease::{Change, Lease, Leases};
use service::BEAT;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::operator::Operator;
use crate::partition::Ended;
use crate::worker::{Shared, Signals, Worker};

/// The workers of a process and their leases.
pub(crate) struct Supervisor<O: Operator> {
    shared: Arc<Shared<O>>,
    leases: Leases,
    workers: JoinSet<(u32, Result<Ended, Error>)>,
    handles: HashMap<u32, WorkerHandle>,
}

/// An owned partition, and the means to stop its worker.
struct WorkerHandle {
    lease: Lease,
    signals: Signals,
    worker: AbortHandle,
}

type Joined = Result<(Id, (u32, Result<Ended, Error>)), JoinError>;

impl<O: Operator> Supervisor<O> {
    /// A supervisor without workers.
    pub(crate) fn new(shared: Arc<Shared<O>>, leases: Leases) -> Self {
        Self { shared, leases, workers: JoinSet::new(), handles: HashMap::new() }
    }

    /// Runs until shutdown or the first error that concerns the whole process; then every worker commits and ends.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let shutdown = self.shared.context.shutdown.clone();
        let pulse = self.shared.context.health.pulse(format!("the {}", O::STEP.service));
        let mut beat = tokio::time::interval(BEAT);
        let mut result = loop {
            pulse.beat();
            let step = tokio::select! {
                () = shutdown.requested() => break Ok(()),
                _ = beat.tick() => Ok(()),
                change = self.leases.next() => change.map(|change| self.follow(change)),
                Some(joined) = self.workers.join_next_with_id() => self.conclude(joined),
            };
            if let Err(error) = step {
                break Err(error);
            }
        };
        self.handles.values().for_each(|handle| handle.signals.stop.request());
        while let Some(joined) = self.workers.join_next_with_id().await {
            result = result.and(self.conclude(joined));
        }
        self.leases.leave().await;
        result
    }

    fn follow(&mut self, change: Change) {
        match change {
            Change::Taken(lease) => self.start(lease),
            Change::Wanted(partition) => {
                tracing::info!(partition, "handing over");
                self.shared.metrics.lease("handed-over");
                let Some(handle) = self.handles.get(&partition) else { return };
                handle.signals.stop.request();
                if handle.worker.is_finished() {
                    // It stopped by itself, for a reason that the next owner will meet too.
                    self.give_back(partition);
                }
            }
            Change::Lost(partition) => {
                tracing::warn!(partition, "another instance owns the partition now");
                self.shared.metrics.lease("lost");
                if let Some(handle) = self.handles.remove(&partition) {
                    handle.signals.lost.request();
                }
                self.shared.readiness.remove(partition);
            }
            Change::Settled => self.shared.readiness.set_settled(),
        }
    }

    fn give_back(&mut self, partition: u32) {
        if let Some(handle) = self.handles.remove(&partition) {
            self.leases.release(handle.lease);
        }
        self.shared.readiness.remove(partition);
    }

    fn start(&mut self, lease: Lease) {
        let partition = lease.slot;
        tracing::debug!(partition, "taken");
        self.shared.metrics.lease("taken");
        self.shared.readiness.add(partition);
        let signals = Signals::default();
        let worker = Worker::new(self.shared.clone(), partition, signals.clone());
        let counted = self.shared.backlog.count(partition);
        let worker = self.workers.spawn(async move {
            let _counted = counted;
            (partition, worker.run().await)
        });
        self.handles.insert(partition, WorkerHandle { lease, signals, worker });
    }

    /// Handles the end of a worker: releases its partition, keeps it when the reason to stop would meet the next owner
    /// too, or returns an error that concerns the whole process.
    fn conclude(&mut self, joined: Joined) -> Result<(), Error> {
        let (id, (partition, result)) = match joined {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The worker was aborted.
            Err(_) => return Ok(()),
        };
        let is_current = self.handles.get(&partition).is_some_and(|handle| handle.worker.id() == id);
        match result {
            Err(error) if !error.concerns_partition() => return Err(error),
            // A later worker of this process, or another instance, has the partition.
            _ if !is_current => {}
            Ok(Ended::Drained | Ended::Fenced) => self.give_back(partition),
            Err(error) => {
                tracing::error!(partition, "partition stopped: {error}");
                self.shared.readiness.set_stopped(partition, &error);
            }
        }
        Ok(())
    }
}
