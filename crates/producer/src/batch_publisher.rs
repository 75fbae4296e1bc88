//! Publishing in batches, one at a time: submissions that arrive while a batch is in flight form the next batch.

use std::collections::VecDeque;

use bus::batch::MESSAGES_MAX;
use bus::publish::{FeedMessage, Receipt};
use bus::{Error, RecordKind, codec};
use futures::future::BoxFuture;

use crate::feed::Feed;
use crate::metrics::ProducerMetrics;

/// Payload at which a batch takes no further submission. It is well below the size limit of a batch. A batch costs the
/// server about 4 ms of a core before its first byte, so large batches pay.
const BATCH_BYTES: usize = 6 * 1024 * 1024;
/// Messages of one submission, at most: gaps, ticks, a flush.
const SUBMISSION_MESSAGES_MAX: usize = 3;

/// Publishes messages of several instruments and keeps their order. The order within an instrument is part of
/// correctness: batches are stored one after the other, each in the order of its submissions.
pub(crate) struct BatchPublisher<'f, F, T> {
    feed: &'f F,
    metrics: &'f ProducerMetrics,
    /// Submissions of each instrument that are not stored yet.
    unstored: Vec<usize>,
    /// The batch that takes submissions.
    next: Batch<T>,
    /// The batch that is being published.
    in_flight: Option<BoxFuture<'f, Result<Vec<StoredSubmission<T>>, Error>>>,
    /// Stored submissions that [`Self::next_stored`] has not returned yet.
    stored: VecDeque<StoredSubmission<T>>,
}

/// A submission of which FEED has stored all messages.
#[derive(Debug)]
pub(crate) struct StoredSubmission<T> {
    pub(crate) instrument_idx: usize,
    /// The context that was submitted with the messages.
    pub(crate) context: T,
    /// Kind and receipt of each message, in order.
    pub(crate) receipts: Vec<(RecordKind, Receipt)>,
}

/// Submissions that are published together.
struct Batch<T> {
    messages: Vec<FeedMessage>,
    bytes: usize,
    submissions: Vec<Submission<T>>,
}

struct Submission<T> {
    instrument_idx: usize,
    messages: usize,
    context: T,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { messages: Vec::new(), bytes: 0, submissions: Vec::new() }
    }
}

impl<'f, F: Feed, T: Send + 'f> BatchPublisher<'f, F, T> {
    /// An idle publisher for this number of instruments.
    pub(crate) fn new(feed: &'f F, instruments: usize, metrics: &'f ProducerMetrics) -> Self {
        Self {
            feed,
            metrics,
            unstored: vec![0; instruments],
            next: Batch::default(),
            in_flight: None,
            stored: VecDeque::new(),
        }
    }

    /// Whether the next batch takes another submission.
    pub(crate) fn has_room(&self) -> bool {
        self.next.bytes < BATCH_BYTES && self.next.messages.len() + SUBMISSION_MESSAGES_MAX <= MESSAGES_MAX
    }

    /// Whether all submissions of an instrument are stored and the next batch has room.
    pub(crate) fn is_free(&self, instrument_idx: usize) -> bool {
        self.unstored[instrument_idx] == 0 && self.has_room()
    }

    /// Whether all submissions are stored and were returned.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.next.submissions.is_empty() && self.stored.is_empty()
    }

    /// Adds messages of an instrument to the next batch, after all earlier submissions; `context` comes back with the
    /// receipts.
    ///
    /// # Panics
    /// There is no room, or there are more messages than one submission may have.
    pub(crate) fn submit(&mut self, instrument_idx: usize, messages: Vec<FeedMessage>, context: T) {
        assert!(self.has_room() && messages.len() <= SUBMISSION_MESSAGES_MAX, "a submission fits into a batch");
        self.unstored[instrument_idx] += 1;
        let Batch { messages: all, bytes, submissions } = &mut self.next;
        *bytes += messages.iter().map(|message| message.payload.len()).sum::<usize>();
        submissions.push(Submission { instrument_idx, messages: messages.len(), context });
        all.extend(messages);
    }

    /// Returns the next stored submission; waits forever when nothing was submitted. Cancellation-safe.
    ///
    /// # Errors
    /// The publish failed for good: retrying does not help.
    pub(crate) async fn next_stored(&mut self) -> Result<StoredSubmission<T>, Error> {
        loop {
            if let Some(stored) = self.stored.pop_front() {
                self.unstored[stored.instrument_idx] -= 1;
                return Ok(stored);
            }
            if self.in_flight.is_none() && !self.next.submissions.is_empty() {
                let batch = std::mem::take(&mut self.next);
                self.in_flight = Some(Box::pin(publish(self.feed, self.metrics, batch)));
            }
            match &mut self.in_flight {
                Some(in_flight) => {
                    let result = in_flight.await;
                    self.in_flight = None;
                    self.stored.extend(result?);
                }
                None => std::future::pending().await,
            }
        }
    }
}

async fn publish<T>(
    feed: &impl Feed,
    metrics: &ProducerMetrics,
    batch: Batch<T>,
) -> Result<Vec<StoredSubmission<T>>, Error> {
    let receipts = feed.publish(&batch.messages).await?;
    for (message, receipt) in batch.messages.iter().zip(&receipts) {
        if !receipt.duplicate {
            metrics.published(message.kind, codec::lines(&message.payload).count() as u64);
        }
    }
    let mut receipts = batch.messages.iter().map(|message| message.kind).zip(receipts);
    let stored = |Submission { instrument_idx, messages, context }| {
        let receipts = receipts.by_ref().take(messages).collect();
        StoredSubmission { instrument_idx, context, receipts }
    };
    Ok(batch.submissions.into_iter().map(stored).collect())
}
