//! From where on what is left of FEED decides what every row must be.

use super::Bounds;

/// How far FEED reaches back, and what follows from it.
///
/// What a tick is depends on all of the log before it: how far time had come, which ticks were seen. When the beginning
/// of FEED is gone, that is unknown but bounded. The first tick still there that MARKET accepted was not too late:
/// whatever came before it, the watermark stood below the end of its minute + allowed lateness, so no earlier record lies
/// beyond that end + allowed lateness + disorder bound. What has a later event time is decided by what is left of FEED
/// alone; what has not is not checked. The hour-of-day profile begins with the log, so it is not checked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Horizon {
    /// First sequence that FEED still has.
    pub(super) first_seq: u64,
    /// Later event times are certain; `None` when FEED has its beginning.
    uncertain_until_ms: Option<i64>,
}

impl Horizon {
    /// The horizon of an instrument whose first accepted tick in what is left of FEED is at `first_event_ms`.
    pub(super) fn new(first_seq: u64, first_event_ms: Option<i64>, bounds: Bounds) -> Self {
        let memory_ms = 60_000 + bounds.lateness_ms + bounds.disorder_ms;
        // Without a tick nothing is certain.
        let until_ms = first_event_ms.map_or(i64::MAX, |first| first.saturating_add(memory_ms));
        Self { first_seq, uncertain_until_ms: (first_seq > 1).then_some(until_ms) }
    }

    /// Whether FEED has everything since its beginning.
    pub(super) fn is_whole(&self) -> bool {
        self.uncertain_until_ms.is_none()
    }

    /// Whether what is stamped with this event time is decided by what is left of FEED.
    pub(super) fn is_certain(&self, event_ms: i64) -> bool {
        self.uncertain_until_ms.is_none_or(|until| event_ms > until)
    }
}
