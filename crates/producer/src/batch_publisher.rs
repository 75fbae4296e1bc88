//! Publishing in waves: while one is on its way, whatever is launched waits for the next, which takes all of it at once.

use std::collections::VecDeque;

use bus::batch::MESSAGES_MAX;
use bus::publish::{FeedMessage, Receipt};
use bus::{Error, RecordKind, codec};
use futures::future::BoxFuture;

use crate::feed::Feed;
use crate::metrics::ProducerMetrics;

/// Payload of a wave, but for the launch that makes it full; well within a batch. A batch costs the server some 4 ms of a
/// core before its first byte.
const WAVE_BYTES: usize = 6 * 1024 * 1024;
/// Messages of one launch, at most: gaps, ticks, a flush.
const LAUNCH_MESSAGES_MAX: usize = 3;

/// One lane an instrument. Order within an instrument is part of correctness: waves are stored one after the other, each in
/// the order of its launches.
pub(crate) struct Lanes<'f, F, T> {
    feed: &'f F,
    metrics: &'f ProducerMetrics,
    /// Launches of each lane that are not stored.
    under_way: Vec<usize>,
    waiting: Wave<T>,
    running: Option<BoxFuture<'f, Result<Vec<Stored<T>>, Error>>>,
    /// What was stored and not asked for yet.
    stored: VecDeque<Stored<T>>,
}

/// All messages of a launch are stored.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    /// The lane.
    pub(crate) lane: usize,
    /// What was launched with them.
    pub(crate) note: T,
    /// Where FEED has each of them, in order, with its kind.
    pub(crate) receipts: Vec<(RecordKind, Receipt)>,
}

/// Launches that are published together.
struct Wave<T> {
    messages: Vec<FeedMessage>,
    bytes: usize,
    launches: Vec<Launch<T>>,
}

struct Launch<T> {
    lane: usize,
    messages: usize,
    note: T,
}

impl<T> Default for Wave<T> {
    fn default() -> Self {
        Self { messages: Vec::new(), bytes: 0, launches: Vec::new() }
    }
}

impl<'f, F: Feed, T: Send + 'f> Lanes<'f, F, T> {
    /// Idle lanes.
    pub(crate) fn new(feed: &'f F, count: usize, metrics: &'f ProducerMetrics) -> Self {
        Self {
            feed,
            metrics,
            under_way: vec![0; count],
            waiting: Wave::default(),
            running: None,
            stored: VecDeque::new(),
        }
    }

    /// Whether the next wave takes more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.bytes < WAVE_BYTES && self.waiting.messages.len() + LAUNCH_MESSAGES_MAX <= MESSAGES_MAX
    }

    /// Whether a lane has nothing under way, and there is room.
    pub(crate) fn is_free(&self, lane: usize) -> bool {
        self.under_way[lane] == 0 && self.has_room()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.launches.is_empty() && self.stored.is_empty()
    }

    /// Publishes a lane's messages, a few, behind all that was launched before; `note` comes back with the result.
    pub(crate) fn launch(&mut self, lane: usize, messages: Vec<FeedMessage>, note: T) {
        assert!(self.has_room() && messages.len() <= LAUNCH_MESSAGES_MAX, "a wave fits into a batch");
        self.under_way[lane] += 1;
        let Wave { messages: all, bytes, launches } = &mut self.waiting;
        *bytes += messages.iter().map(|message| message.payload.len()).sum::<usize>();
        launches.push(Launch { lane, messages: messages.len(), note });
        all.extend(messages);
    }

    /// The next launch that is stored; waits for ever when nothing is under way. Safe to cancel.
    ///
    /// # Errors
    /// What publishing cannot mend.
    pub(crate) async fn next(&mut self) -> Result<Stored<T>, Error> {
        loop {
            if let Some(stored) = self.stored.pop_front() {
                self.under_way[stored.lane] -= 1;
                return Ok(stored);
            }
            if self.running.is_none() && !self.waiting.launches.is_empty() {
                let wave = std::mem::take(&mut self.waiting);
                self.running = Some(Box::pin(publish(self.feed, self.metrics, wave)));
            }
            match &mut self.running {
                Some(running) => {
                    let result = running.await;
                    self.running = None;
                    self.stored.extend(result?);
                }
                None => std::future::pending().await,
            }
        }
    }
}

async fn publish<T>(feed: &impl Feed, metrics: &ProducerMetrics, wave: Wave<T>) -> Result<Vec<Stored<T>>, Error> {
    let receipts = feed.publish(&wave.messages).await?;
    for (message, receipt) in wave.messages.iter().zip(&receipts) {
        if !receipt.duplicate {
            metrics.published(message.kind, codec::lines(&message.payload).count() as u64);
        }
    }
    let mut receipts = wave.messages.iter().map(|message| message.kind).zip(receipts);
    let stored = |Launch { lane, messages, note }| {
        let receipts = receipts.by_ref().take(messages).collect();
        Stored { lane, note, receipts }
    };
    Ok(wave.launches.into_iter().map(stored).collect())
}
