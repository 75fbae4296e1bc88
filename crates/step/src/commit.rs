//! Outcome of a commit in flight.
//!
//! The answer "stored" settles a commit. After any other answer, or none, it is unknown whether the batch is stored, not
//! stored, or still on its way. The position decides: it names the batch that stored it.
//! While the position is unchanged the part may be sent again, because the fence admits at most one attempt.

use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use bus::error::Disposition;
use bus::retry::{Backoff, Delays};

use crate::part::{Part, StoredPosition};

const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
/// Delay before full storage is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// The answer to an attempt to store a part.
#[derive(Debug)]
pub struct CommitAnswer {
    /// Id of the batch that was sent.
    pub batch: String,
    /// The sequence of the stored position, or the reason why it is unknown.
    pub result: Result<u64, Error>,
}

/// The next action of the partition.
#[derive(Debug)]
pub enum Next {
    /// The part is stored: continue with this fence.
    Stored(u64),
    /// The part is not stored: the partition has another owner. Drop the uncommitted results.
    Fenced,
    /// Read the position.
    ReadPosition,
    /// The part is not stored, or an attempt is still in flight: send it again after this time.
    Again(Duration),
    /// The part cannot be stored.
    Failed(Error),
}

/// A part in flight.
#[derive(Debug)]
pub struct Commit {
    part: Arc<Part>,
    /// Ids of the batches that were sent.
    tried: Vec<String>,
    delays: Delays,
    /// Whether the last attempt found the storage full.
    is_full: bool,
}

impl Commit {
    /// A part that is about to be sent.
    pub fn new(part: Part) -> Self {
        Self { part: Arc::new(part), tried: Vec::new(), delays: RETRY.delays(), is_full: false }
    }

    /// The part.
    pub fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// Handles the answer to an attempt, or its absence.
    pub fn answered(&mut self, CommitAnswer { batch, result }: CommitAnswer) -> Next {
        self.tried.push(batch);
        match result {
            Ok(fence) => Next::Stored(fence),
            Err(error) => match error.disposition() {
                Disposition::Stop => Next::Failed(error),
                disposition => {
                    self.is_full = disposition == Disposition::RetrySlowly;
                    Next::ReadPosition
                }
            },
        }
    }

    /// Handles the position that was read after a failed attempt.
    pub fn position_read(&mut self, position: Option<&StoredPosition>) -> Next {
        let fence = position.map_or(0, |position| position.seq);
        let batch = position.and_then(|position| position.batch.as_ref());
        if batch.is_some_and(|batch| self.tried.contains(batch)) {
            return Next::Stored(fence);
        }
        if fence != self.part.fence {
            return Next::Fenced;
        }
        let delay = self.delays.next_delay();
        Next::Again(if self.is_full { FULL_RETRY } else { delay })
    }
}
