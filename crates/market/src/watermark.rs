//! How far event time has certainly come.

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

/// The watermark before a record and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkAdvance {
    /// Before: what is open at this watermark is open to the record.
    pub before: EventTime,
    /// After: what this watermark reaches is closed by the record.
    pub after: EventTime,
}

/// The largest event time seen, less the disorder bound. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    max_event: EventTime,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { max_event: EventTime::MIN }
    }
}

impl Watermark {
    /// Observes an event time of an accepted tick or heartbeat. Earlier ones change nothing.
    pub fn observe(&mut self, event: EventTime) {
        self.max_event = self.max_event.max(event);
    }

    /// Observes an event time, and tells where the watermark stood before it and stands now.
    pub fn advance(&mut self, event: EventTime, disorder: Span) -> WatermarkAdvance {
        let before = self.value(disorder);
        self.observe(event);
        WatermarkAdvance { before, after: self.value(disorder) }
    }

    /// Everything before this has been seen, if nothing arrives later than `disorder` allows.
    pub fn value(&self, disorder: Span) -> EventTime {
        self.max_event.saturating_sub(disorder)
    }
}
