//! Stores what the workers of a process have sealed, as few batches as possible.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::metrics::StepMetrics;
use crate::serve::Context;
use crate::transaction::{BYTES_MAX, MESSAGES_MAX, Outcome, Part, Transactions};
use bus::Error;
use bus::topology::Step;

/// Sealed drafts that may wait: one for each partition is all there can be.
const WAITING_MAX: usize = bus::topology::PARTITIONS_MAX as usize;

/// After a live commit the next one waits this many times as long as it took: many at once, as when the hour ends for a
/// thousand instruments, go in fewer batches, and what else the server has to store does not wait for them.
const PAUSE: u32 = 2;
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A sealed draft and who waits for it.
pub(crate) struct Sealed {
    pub(crate) part: Part,
    /// Whether it is what came a moment ago, not part of a replay.
    pub(crate) is_live: bool,
    pub(crate) done: Done,
}

/// Whoever waits for a draft is told here how it ended.
type Done = oneshot::Sender<Result<Stored, Error>>;

/// How a draft ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Stored; the new fence.
    At(u64),
    /// Not stored: the partition has another owner.
    Fenced,
}

pub(crate) fn channel() -> (mpsc::Receiver<Sealed>, mpsc::Sender<Sealed>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (receiver, sender)
}

/// Commits until every worker is gone.
pub(crate) async fn run(context: Context, step: Step, metrics: StepMetrics, mut sealed: mpsc::Receiver<Sealed>) {
    let transactions = Transactions::new(&context.connection, step.output);
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
        // Drafts are sealed at the same instant when it is quiet: whoever is just about to hand one in does it first.
        tokio::task::yield_now().await;
        waiting.extend(std::iter::from_fn(|| sealed.try_recv().ok()));
        let group = gather(&mut waiting);
        let began = Instant::now();
        let group = group.into_iter().map(|one| (one.part, one.done)).collect();
        commit(&context, &transactions, &metrics, group).await;
        // Of a step whose results go ahead of their commits these are what cannot, or what nobody waits for.
        if is_live && !step.is_ahead {
            paused_until = Instant::now() + (began.elapsed() * PAUSE).min(PAUSE_MAX);
        }
    }
}

/// Waits, for as long as all that is sealed is live; returns whether it is.
async fn pause(until: Instant, waiting: &mut VecDeque<Sealed>, sealed: &mut mpsc::Receiver<Sealed>) -> bool {
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

/// The first that waits, and all behind it that fit into one batch with it.
fn gather(waiting: &mut VecDeque<Sealed>) -> Vec<Sealed> {
    let (mut messages, mut bytes) = (0, 0);
    let mut group: Vec<Sealed> = Vec::new();
    while let Some(next) = waiting.front() {
        messages += next.part.messages.len() + 1;
        bytes += next.part.bytes();
        // A partition that was lost and taken again may have two owners here for a moment: they go one after the other.
        let is_twice = group.iter().any(|one| one.part.partition == next.part.partition);
        if !group.is_empty() && (is_twice || messages > MESSAGES_MAX || bytes > BYTES_MAX) {
            break;
        }
        group.extend(waiting.pop_front());
    }
    group
}

/// Commits a group and tells each who waits how it ended.
async fn commit(context: &Context, transactions: &Transactions, metrics: &StepMetrics, group: Vec<(Part, Done)>) {
    let (parts, mut waiting): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let start = Instant::now();
    match transactions.commit(&parts).await {
        Ok(outcomes) => {
            metrics.committed(&parts, &outcomes, start.elapsed());
            let mut foreign = Vec::new();
            for ((part, done), outcome) in parts.iter().zip(waiting).zip(outcomes) {
                match outcome {
                    Outcome::Stored(fence) => {
                        if let Some(on_commit) = &context.on_commit {
                            on_commit(&part.messages);
                        }
                        answer(done, Ok(Stored::At(fence)));
                    }
                    Outcome::Fenced => {
                        foreign.push(part.partition);
                        answer(done, Ok(Stored::Fenced));
                    }
                }
            }
            if !foreign.is_empty() {
                tracing::warn!(partitions = ?foreign, "another owner has committed: dropping what was computed");
            }
        }
        // Whose part is wrong shows when each goes alone; the others are none the worse for it.
        Err(_) if parts.len() > 1 => {
            for one in parts.into_iter().zip(waiting) {
                Box::pin(commit(context, transactions, metrics, vec![one])).await;
            }
        }
        Err(error) => {
            if let Some(done) = waiting.pop() {
                answer(done, Err(error));
            }
        }
    }
}

/// A worker that has ended does not care.
fn answer(done: Done, result: Result<Stored, Error>) {
    drop(done.send(result));
}
