//! The input log of a partition.

use std::time::Duration;

use bus::protocol::LogId;
use bus::reader::Delivery;
use bus::stream::Step;
use bus::subject;
use step::partition::InputInfo;

/// The only partition of every log in memory.
pub(crate) const PARTITION: u32 = 0;

/// A log from which no message is ever deleted, as a step reads it.
#[derive(Debug)]
pub struct InputLog {
    /// The messages that the step reads, in order.
    deliveries: Vec<Delivery>,
    last_seq: u64,
}

impl InputLog {
    /// A log of messages in order. As on a server the step gets only those that its reader selects.
    pub fn new(step: Step, messages: impl IntoIterator<Item = Delivery>) -> Self {
        let filters = subject::inputs(step, PARTITION);
        let is_read = |subject: &str| filters.iter().any(|filter| subject.starts_with(filter.trim_end_matches('>')));
        let (mut deliveries, mut last_seq) = (Vec::new(), 0);
        for message in messages {
            assert!(message.seq > last_seq, "sequence {} after {last_seq}", message.seq);
            last_seq = message.seq;
            if is_read(&message.subject) {
                deliveries.push(message);
            }
        }
        Self { deliveries, last_seq }
    }

    /// The identity of the log.
    pub(crate) fn id() -> LogId {
        LogId::new("in memory")
    }

    pub(crate) fn info(&self) -> InputInfo {
        InputInfo {
            log: Self::id(),
            begins: 1,
            first_seq: 1,
            last_seq: self.last_seq,
            is_trimmed: false,
            deletes: false,
            retention: Duration::ZERO,
        }
    }

    /// The index of the first message that a reader gets from a sequence on.
    pub(crate) fn place_of(&self, from: u64) -> usize {
        self.deliveries.partition_point(|delivery| delivery.seq < from)
    }

    /// Number of messages that a reader gets from an index on.
    pub(crate) fn rest(&self, place: usize) -> usize {
        self.deliveries.len() - place
    }

    /// The message at an index, with up to `following` pending messages; and whether there is one.
    pub(crate) fn delivery(&self, place: usize, following: usize) -> Option<(Delivery, bool)> {
        let mut delivery = self.deliveries.get(place)?.clone();
        let following = following.min(self.rest(place + 1));
        delivery.pending = following as u64;
        Some((delivery, following > 0))
    }
}
