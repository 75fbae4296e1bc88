//! The workers of a process: one for each partition that it owns, as the leases come and go.

use std::collections::HashMap;
use std::sync::Arc;

use service::{BEAT, Shutdown};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::backlog::Backlog;
use crate::commit_schedule::Turns;
use crate::committer::Sealed;
use crate::metrics::StepMetrics;
use crate::operator::Operator;
use crate::readiness::Readiness;
use crate::serve::Context;
use crate::worker::{Ended, Log, Worker};
use bus::Error;
use bus::lease::{Change, Lease, Leases};

pub(crate) struct Crew<O: Operator> {
    pub(crate) context: Context,
    pub(crate) operator: Arc<O>,
    pub(crate) log: Log,
    pub(crate) turns: Turns,
    pub(crate) commits: mpsc::Sender<Sealed>,
    pub(crate) readiness: Readiness,
    pub(crate) backlog: Backlog,
    pub(crate) metrics: StepMetrics,
    pub(crate) leases: Leases,
    pub(crate) workers: JoinSet<(u32, Result<Ended, Error>)>,
    pub(crate) hands: HashMap<u32, Hand>,
}

/// A partition that is owned, and how its worker is told to end.
pub(crate) struct Hand {
    lease: Lease,
    /// In order: what was applied is committed first.
    stop: Shutdown,
    /// At once.
    abort: AbortHandle,
}

type Joined = Result<(Id, (u32, Result<Ended, Error>)), JoinError>;

impl<O: Operator> Crew<O> {
    /// Works until shutdown or the first error that concerns the whole process; then every worker drains.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let shutdown = self.context.shutdown.clone();
        let pulse = self.context.health.pulse(format!("the {}", O::STEP.service));
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
        self.hands.values().for_each(|hand| hand.stop.request());
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
                self.metrics.lease("handed-over");
                let Some(hand) = self.hands.get(&partition) else { return };
                hand.stop.request();
                if hand.abort.is_finished() {
                    // It has stopped by itself, for a reason that the next owner will find too.
                    self.give_back(partition);
                }
            }
            Change::Lost(partition) => {
                tracing::warn!(partition, "another instance owns the partition now");
                self.metrics.lease("lost");
                if let Some(hand) = self.hands.remove(&partition) {
                    hand.abort.abort();
                }
                self.readiness.gone(partition);
            }
            Change::Settled => self.readiness.settled(),
        }
    }

    fn give_back(&mut self, partition: u32) {
        if let Some(hand) = self.hands.remove(&partition) {
            self.leases.release(hand.lease);
        }
        self.readiness.gone(partition);
    }

    fn start(&mut self, lease: Lease) {
        let partition = lease.slot;
        tracing::debug!(partition, "taken");
        self.metrics.lease("taken");
        self.readiness.taken(partition);
        let stop = Shutdown::new();
        let worker = Worker {
            context: self.context.clone(),
            operator: self.operator.clone(),
            log: self.log.clone(),
            partition,
            stop: stop.clone(),
            turns: self.turns.clone(),
            commits: self.commits.clone(),
            readiness: self.readiness.clone(),
            backlog: self.backlog.clone(),
            metrics: self.metrics.clone(),
            is_in_step: false,
        };
        let owned = self.backlog.owned(partition);
        let abort = self.workers.spawn(async move {
            let _owned = owned;
            (partition, worker.run().await)
        });
        self.hands.insert(partition, Hand { lease, stop, abort });
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
        let is_current = self.hands.get(&partition).is_some_and(|hand| hand.abort.id() == id);
        match result {
            Err(error) if !error.concerns_partition() => return Err(error),
            // Another worker has the partition by now, or another instance.
            _ if !is_current => {}
            Ok(Ended::Drained | Ended::Fenced | Ended::Unsure) => self.give_back(partition),
            Err(error) => {
                tracing::error!(partition, "partition stopped: {error}");
                self.readiness.stopped(partition, &error);
            }
        }
        Ok(())
    }
}
