//! How far event time has certainly come.

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, Span};

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

    /// Everything before this has been seen, if nothing arrives later than `disorder` allows.
    pub fn value(&self, disorder: Span) -> EventTime {
        self.max_event.saturating_sub(disorder)
    }
}
