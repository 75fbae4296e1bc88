//! Consumers: ordered readers of one replica, without acknowledgements.

use crate::jetstream::log::Log;
use crate::jetstream::message::{Subject, matches};
use crate::jetstream::request::ConsumerDelivery;

/// A consumer.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    filters: Vec<Subject>,
    start: u64,
    next: u64,
    delivered: u64,
    /// Messages before its start that were stored after its creation: the server counts them as pending forever.
    early: u64,
}

impl Consumer {
    pub(crate) fn new(filters: Vec<Subject>, start: u64) -> Self {
        let start = start.max(1);
        Self { filters, start, next: start, delivered: 0, early: 0 }
    }

    /// Number of pending messages up to `end`, including those that the server only believes to be pending.
    pub(crate) fn pending(&self, log: &Log, end: u64) -> u64 {
        log.count(&self.filters, self.next, end) + self.early
    }

    /// Records a message that was just stored.
    pub(crate) fn notice(&mut self, seq: u64, subject: &str) {
        if seq < self.start && self.filters.iter().any(|filter| matches(filter, subject)) {
            self.early += 1;
        }
    }

    /// The next messages up to `end`.
    pub(crate) fn pull(&mut self, log: &Log, end: u64, max: usize) -> Vec<ConsumerDelivery> {
        let mut deliveries = Vec::new();
        let mut pending = self.pending(log, end);
        while deliveries.len() < max
            && let Some(stored) = log.next(&self.filters, self.next)
            && stored.seq <= end
        {
            self.next = stored.seq + 1;
            self.delivered += 1;
            pending -= 1;
            deliveries.push(ConsumerDelivery { stored: stored.clone(), consumer_seq: self.delivered, pending });
        }
        deliveries
    }

    /// Starts again where it was created, as a server does that recreates it from its configuration.
    pub(crate) fn begin_again(&mut self) {
        (self.next, self.delivered, self.early) = (self.start, 0, 0);
    }
}
