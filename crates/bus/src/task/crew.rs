//! The workers of a process: one for each partition that it owns, as the leases come and go.

use std::collections::HashMap;
use std::sync::Arc;

use service::Shutdown;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::error::Error;
use crate::lease::{Change, Leases};
use crate::task::committer::Sealed;
use crate::task::readiness::Readiness;
use crate::task::worker::{Ended, Log, Worker};
use crate::task::{Context, Operator};

pub(super) struct Crew<O: Operator> {
    pub(super) context: Context,
    pub(super) operator: Arc<O>,
    pub(super) log: Log,
    pub(super) commits: mpsc::Sender<Sealed>,
    pub(super) readiness: Readiness,
    pub(super) leases: Leases,
    pub(super) workers: JoinSet<(u32, Result<Ended, Error>)>,
    pub(super) hands: HashMap<u32, Hand>,
}

/// How a worker is told to end.
pub(super) struct Hand {
    /// In order: what was applied is committed first.
    stop: Shutdown,
    /// At once.
    abort: AbortHandle,
}

type Joined = Result<(Id, (u32, Result<Ended, Error>)), JoinError>;

impl<O: Operator> Crew<O> {
    /// Works until shutdown or the first error that concerns the whole process; then every worker drains.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let shutdown = self.context.shutdown.clone();
        let mut result = loop {
            let step = tokio::select! {
                () = shutdown.requested() => break Ok(()),
                change = self.leases.next() => change.map(|change| self.follow(change)),
                Some(joined) = self.workers.join_next_with_id() => self.conclude(joined),
            };
            if let Err(error) = step {
                break Err(error);
            }
        };
        self.hands.values().for_each(|hand| hand.stop.request());
        while let Some(joined) = self.workers.join_next_with_id().await {
            result = result.and(self.conclude(joined));
        }
        self.leases.leave().await;
        result
    }

    fn follow(&mut self, change: Change) {
        match change {
            Change::Taken(partition) => self.start(partition),
            Change::Wanted(partition) => {
                tracing::info!(partition, "handing over");
                match self.hands.get(&partition) {
                    Some(hand) => hand.stop.request(),
                    // It has stopped by itself, for a reason that the next owner will find too.
                    None => {
                        self.readiness.gone(partition);
                        self.leases.release(partition);
                    }
                }
            }
            Change::Lost(partition) => {
                tracing::warn!(partition, "another instance owns the partition now");
                if let Some(hand) = self.hands.remove(&partition) {
                    hand.abort.abort();
                }
                self.readiness.gone(partition);
            }
            Change::Settled => self.readiness.settled(),
        }
    }

    fn start(&mut self, partition: u32) {
        tracing::debug!(partition, "taken");
        self.readiness.taken(partition);
        let stop = Shutdown::new();
        let worker = Worker::new(
            self.context.clone(),
            self.operator.clone(),
            self.log.clone(),
            partition,
            stop.clone(),
            self.commits.clone(),
            self.readiness.clone(),
        );
        let abort = self.workers.spawn(async move { (partition, worker.run().await) });
        // Given back and taken again before we noticed: nobody would tell the worker of before to end.
        if let Some(before) = self.hands.insert(partition, Hand { stop, abort }) {
            before.abort.abort();
        }
    }

    /// A worker has ended: gives its partition back, keeps it when it stopped for a reason that the next owner would find
    /// too, or returns what concerns the whole process.
    fn conclude(&mut self, joined: Joined) -> Result<(), Error> {
        let (id, (partition, result)) = match joined {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Told to end at once.
            Err(_) => return Ok(()),
        };
        // Another worker may have the partition by now.
        if self.hands.get(&partition).is_none_or(|hand| hand.abort.id() != id) {
            return Ok(());
        }
        self.hands.remove(&partition);
        match result {
            Ok(Ended::Drained | Ended::Fenced) => {
                self.readiness.gone(partition);
                self.leases.release(partition);
                Ok(())
            }
            Err(error) if error.concerns_partition() => {
                tracing::error!(partition, "partition stopped: {error}");
                self.readiness.stopped(partition, &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
