//! The watermark of an instrument.

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

/// The watermark before and after a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkAdvance {
    /// Watermark before the record: a window that is open at this watermark takes the record.
    pub before: EventTime,
    /// Watermark after the record: the record closes the windows that this watermark reaches.
    pub after: EventTime,
}

/// The largest event time so far, less the disorder bound. It never goes back.
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
    /// Observes the event time of an accepted tick or heartbeat. An earlier one has no effect.
    pub fn observe(&mut self, event: EventTime) {
        self.max_event = self.max_event.max(event);
    }

    /// Observes an event time, and returns the watermark before and after.
    pub fn advance(&mut self, event: EventTime, disorder: Span) -> WatermarkAdvance {
        let before = self.value(disorder);
        self.observe(event);
        WatermarkAdvance { before, after: self.value(disorder) }
    }

    /// Returns the watermark: no tick before it will come, if none is later than `disorder` allows.
    pub fn value(&self, disorder: Span) -> EventTime {
        self.max_event.saturating_sub(disorder)
    }
}
