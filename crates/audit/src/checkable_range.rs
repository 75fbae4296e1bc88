//! The event times for which the retained part of FEED determines every row.

use crate::bounds::EventTimeBounds;

/// The range of FEED that can be checked.
///
/// The verdict on a tick depends on the log before it: on the watermark and on the ticks already seen. When the
/// beginning of FEED is gone, both are unknown but bounded. Take the first retained tick that MARKET accepted: it was
/// not late, so the watermark was below the end of its minute + allowed lateness. No earlier record therefore lies
/// beyond that end + allowed lateness + disorder bound. The retained part of FEED alone determines all records with a
/// later event time; other records are not checked. The hour-of-day profile starts with the log and is not checked at
/// all. The same bound holds for STATS when the aggregator continued after a lost part of MARKET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckableRange {
    /// First sequence that FEED still holds.
    pub(crate) first_seq: u64,
    /// Later event times are checkable; `None` when FEED is complete.
    uncertain_until_ms: Option<i64>,
}

impl CheckableRange {
    /// The whole log is retained.
    pub(crate) fn complete(first_seq: u64) -> Self {
        Self { first_seq, uncertain_until_ms: None }
    }

    /// Adds the loss of all records before a tick that was accepted at `first_ms`; `None` when no tick came after them.
    pub(crate) fn after_loss(self, first_ms: Option<i64>, bounds: EventTimeBounds) -> Self {
        let memory_ms = 60_000 + bounds.lateness_ms + bounds.disorder_ms;
        let until_ms = first_ms.map_or(i64::MAX, |first| first.saturating_add(memory_ms));
        Self { uncertain_until_ms: self.uncertain_until_ms.max(Some(until_ms)), ..self }
    }

    /// Whether no record is lost.
    pub(crate) fn is_complete(&self) -> bool {
        self.uncertain_until_ms.is_none()
    }

    /// Whether the retained part of FEED determines the rows of this event time.
    pub(crate) fn is_certain(&self, event_ms: i64) -> bool {
        self.uncertain_until_ms.is_none_or(|until| event_ms > until)
    }
}
