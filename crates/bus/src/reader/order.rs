//! Order of delivered messages.

/// The order of a delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOrder {
    /// The next message.
    Next,
    /// A message that was read before.
    Repeated,
    /// A message before it is missing.
    OutOfOrder,
}

impl DeliveryOrder {
    /// Checks the sequences, in the stream and of the consumer, of the `delivered`th message of a consumer. `next` is the
    /// next stream sequence to read.
    pub fn check(next: u64, delivered: u64, (stream_seq, consumer_seq): (u64, u64)) -> Self {
        if stream_seq < next {
            Self::Repeated
        } else if consumer_seq != delivered {
            Self::OutOfOrder
        } else {
            Self::Next
        }
    }
}
