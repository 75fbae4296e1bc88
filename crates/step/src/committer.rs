//! Commits the sealed parts of all partitions of a process in as few batches as possible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use bus::error::Disposition;
use bus::reminder::Reminder;
use bus::stream::Step;
use bus::topology::PARTITIONS_MAX;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::commit::CommitAnswer;
use crate::context::Context;
use crate::metrics::StepMetrics;
use crate::part::Part;
use crate::transaction::{Transactions, gather};

/// Capacity of the queue: one sealed part per partition.
const WAITING_MAX: usize = PARTITIONS_MAX as usize;

/// After a live commit the next one is delayed by this multiple of its duration. Results that come together, as at the
/// end of an hour for a thousand instruments, then share batches, and other requests to the server wait less.
const PAUSE_FACTOR: u32 = 2;
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A sealed part, and the channel for the answer.
pub(crate) struct CommitRequest {
    pub(crate) part: Arc<Part>,
    /// Whether it contains live input, not a replay.
    pub(crate) is_live: bool,
    pub(crate) done: oneshot::Sender<CommitAnswer>,
}

pub(crate) fn channel() -> (mpsc::Sender<CommitRequest>, mpsc::Receiver<CommitRequest>) {
    mpsc::channel(WAITING_MAX)
}

/// Commits until every worker has ended.
pub(crate) async fn run(context: Context, step: Step, metrics: StepMetrics, mut sealed: mpsc::Receiver<CommitRequest>) {
    let transactions = Transactions::new(&context.connection, step.output);
    let mut committer = Committer { transactions, metrics, reminder: Reminder::default() };
    let mut waiting = VecDeque::new();
    let mut paused_until = Instant::now();
    loop {
        if waiting.is_empty() {
            match sealed.recv().await {
                Some(first) => waiting.push_back(first),
                None => return,
            }
        }
        let is_live = pause(paused_until, &mut waiting, &mut sealed).await;
        // Many parts are sealed at the same instant when input pauses: yield to workers that are about to send theirs.
        tokio::task::yield_now().await;
        waiting.extend(std::iter::from_fn(|| sealed.try_recv().ok()));
        let began = Instant::now();
        committer.commit(gather(&mut waiting, |one| &*one.part)).await;
        if is_live && !step.is_live {
            paused_until = Instant::now() + (began.elapsed() * PAUSE_FACTOR).min(PAUSE_MAX);
        }
    }
}

/// Waits until `until`, but returns at once when a replayed part waits. Returns whether all waiting parts are live.
async fn pause(
    until: Instant,
    waiting: &mut VecDeque<CommitRequest>,
    sealed: &mut mpsc::Receiver<CommitRequest>,
) -> bool {
    while waiting.iter().all(|one| one.is_live) {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return true,
            next = sealed.recv() => match next {
                Some(next) => waiting.push_back(next),
                None => return true,
            },
        }
    }
    false
}

struct Committer {
    transactions: Transactions,
    metrics: StepMetrics,
    reminder: Reminder,
}

impl Committer {
    /// Sends a group once, and reports the answer to every worker.
    async fn commit(&mut self, group: Vec<CommitRequest>) {
        let id = self.transactions.next_id();
        let parts: Vec<_> = group.iter().map(|one| Arc::clone(&one.part)).collect();
        let start = Instant::now();
        match self.transactions.attempt(&parts, &id).await {
            Ok(fences) => {
                self.reminder.settle("the commit is settled");
                self.metrics.stored(&parts, start.elapsed());
                group.into_iter().zip(fences).for_each(|(one, fence)| one.answer(&id, Ok(fence)));
            }
            // When each part is sent alone, only the invalid one fails.
            Err(error) if group.len() > 1 && error.disposition() == Disposition::Stop => {
                for one in group {
                    Box::pin(self.commit(vec![one])).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, parts = parts.len(), "commit not confirmed");
                if !error.is_overtaken() && error.disposition() != Disposition::Stop {
                    self.reminder.warn(&error);
                }
                group.into_iter().for_each(|one| one.answer(&id, Err(error.clone())));
            }
        }
    }
}

impl CommitRequest {
    /// A worker that has ended ignores the answer.
    fn answer(self, id: &str, result: Result<u64, Error>) {
        drop(self.done.send(CommitAnswer { batch: id.to_owned(), result }));
    }
}
