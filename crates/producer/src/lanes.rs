//! Publishing side by side: within a lane one message after the other, lanes among themselves at the same time.

use bus::publish::FeedMessage;
use bus::{Error, codec};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::feed::Feed;
use crate::metrics::ProducerMetrics;

/// Lanes that publish at the same time. Each keeps one request under way: some 100 hide the server's answer times, more
/// would only queue there.
const RUNNING_MAX: usize = 128;

/// One lane an instrument. Order within an instrument is part of correctness: a lane takes new messages only when all
/// it had are stored.
pub(crate) struct Lanes<'f, F, T> {
    feed: &'f F,
    metrics: &'f ProducerMetrics,
    is_busy: Vec<bool>,
    running: FuturesUnordered<BoxFuture<'f, Result<Stored<T>, Error>>>,
}

/// All messages of a launch are stored.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    /// The lane.
    pub(crate) lane: usize,
    /// What was launched with them.
    pub(crate) note: T,
    /// Sequence of the last one.
    pub(crate) last_seq: u64,
    /// How many of them FEED had already.
    pub(crate) known: u64,
}

impl<'f, F: Feed, T: Send + 'f> Lanes<'f, F, T> {
    /// Idle lanes.
    pub(crate) fn new(feed: &'f F, count: usize, metrics: &'f ProducerMetrics) -> Self {
        Self { feed, metrics, is_busy: vec![false; count], running: FuturesUnordered::new() }
    }

    /// Whether a lane can take messages now.
    pub(crate) fn is_free(&self, lane: usize) -> bool {
        !self.is_busy[lane] && self.running.len() < RUNNING_MAX
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Publishes messages one after the other in a free lane; `note` comes back with the result.
    pub(crate) fn launch(&mut self, lane: usize, messages: Vec<FeedMessage>, note: T) {
        assert!(!self.is_busy[lane], "a lane keeps its messages in order");
        self.is_busy[lane] = true;
        let (feed, metrics) = (self.feed, self.metrics);
        self.running.push(Box::pin(async move {
            let (mut last_seq, mut known) = (0, 0);
            for message in &messages {
                let receipt = feed.publish(message).await?;
                last_seq = receipt.seq;
                known += u64::from(receipt.duplicate);
                if !receipt.duplicate {
                    metrics.published(message.kind, codec::lines(&message.payload).count() as u64);
                }
            }
            Ok(Stored { lane, note, last_seq, known })
        }));
    }

    /// The next launch that is stored; waits for ever when nothing is under way. Safe to cancel.
    ///
    /// # Errors
    /// What publishing cannot mend.
    pub(crate) async fn next(&mut self) -> Result<Stored<T>, Error> {
        match self.running.next().await {
            Some(result) => {
                let stored = result?;
                self.is_busy[stored.lane] = false;
                Ok(stored)
            }
            None => std::future::pending().await,
        }
    }
}
