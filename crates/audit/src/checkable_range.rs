//! From where on what is left of FEED decides what every row must be.

use crate::Bounds;

/// How far FEED reaches back, and what follows from it.
///
/// What a tick is depends on all of the log before it: how far time had come, which ticks were seen. When the beginning
/// of FEED is gone, that is unknown but bounded. The first tick still there that MARKET accepted was not too late:
/// whatever came before it, the watermark stood below the end of its minute + allowed lateness, so no earlier record lies
/// beyond that end + allowed lateness + disorder bound. What has a later event time is decided by what is left of FEED
/// alone; what has not is not checked. The hour-of-day profile begins with the log, so it is not checked at all. The same
/// holds for STATS where the aggregator went on behind a part of MARKET that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    /// First sequence that FEED still has.
    pub(crate) first_seq: u64,
    /// Later event times are certain; `None` when FEED has its beginning.
    uncertain_until_ms: Option<i64>,
}

impl Horizon {
    /// Everything is certain.
    pub(crate) fn whole(first_seq: u64) -> Self {
        Self { first_seq, uncertain_until_ms: None }
    }

    /// Records before a tick that was accepted at `first_ms` are lost; `None` when no tick came after them.
    pub(crate) fn after_loss(self, first_ms: Option<i64>, bounds: Bounds) -> Self {
        let memory_ms = 60_000 + bounds.lateness_ms + bounds.disorder_ms;
        let until_ms = first_ms.map_or(i64::MAX, |first| first.saturating_add(memory_ms));
        Self { uncertain_until_ms: self.uncertain_until_ms.max(Some(until_ms)), ..self }
    }

    /// Whether nothing is lost.
    pub(crate) fn is_whole(&self) -> bool {
        self.uncertain_until_ms.is_none()
    }

    /// Whether what is stamped with this event time is decided by what is left of FEED.
    pub(crate) fn is_certain(&self, event_ms: i64) -> bool {
        self.uncertain_until_ms.is_none_or(|until| event_ms > until)
    }
}
