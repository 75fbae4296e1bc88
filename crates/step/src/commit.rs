//! A part on its way, until it is known how it ended.
//!
//! An answer that says "stored" settles it. Every other answer, and none, leaves two ways: the batch was not stored, or an
//! attempt of ours was and its answer got lost, or is still on its way. The position tells: it names the batch that stored it.
//! While nobody has moved it the part may be sent again, because the fence lets at most one attempt in.

use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use bus::error::Disposition;

use crate::partition::StoredPosition;
use crate::transaction::Part;

const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long to wait before full storage is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// What became of an attempt to store a part.
#[derive(Debug)]
pub struct Answer {
    /// Id of the batch that was sent.
    pub batch: String,
    /// The sequence of the position that was stored; or why it is not known to be.
    pub result: Result<u64, Error>,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// It is stored; the new fence.
    Stored(u64),
    /// It is not stored: the partition has another owner. What was computed is void.
    Fenced,
    /// The position has to be read.
    ReadPosition,
    /// It is not stored, or an attempt is still on its way: send it again after this time.
    Again(Duration),
    /// It cannot be stored.
    Failed(Error),
}

/// A part on its way.
#[derive(Debug)]
pub struct Commit {
    part: Arc<Part>,
    /// Ids of the batches that were sent.
    tried: Vec<String>,
    /// How long to wait before the next attempt.
    delay: Duration,
    /// Whether the last attempt found the storage full.
    is_full: bool,
}

impl Commit {
    /// A part that is about to be sent.
    pub fn new(part: Part) -> Self {
        Self { part: Arc::new(part), tried: Vec::new(), delay: RETRY_MIN, is_full: false }
    }

    /// What is to be stored.
    pub fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// An attempt was answered, or is given up.
    pub fn answered(&mut self, Answer { batch, result }: Answer) -> Next {
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

    /// The position was read after an attempt failed.
    pub fn position_read(&mut self, position: Option<&StoredPosition>) -> Next {
        let fence = position.map_or(0, |position| position.seq);
        let batch = position.and_then(|position| position.batch.as_ref());
        if batch.is_some_and(|batch| self.tried.contains(batch)) {
            return Next::Stored(fence);
        }
        if fence != self.part.fence {
            return Next::Fenced;
        }
        let delay = if self.is_full { FULL_RETRY } else { self.delay };
        self.delay = (self.delay * 2).min(RETRY_MAX);
        Next::Again(delay)
    }
}
