//! Bounds of event time that the audited steps run with.

use std::fmt;

use serde::Deserialize;

/// Disorder bound and allowed lateness, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct EventTimeBounds {
    /// How far the watermark stays behind the newest event time.
    pub disorder_ms: i64,
    /// How long after its end a window can still be revised.
    pub lateness_ms: i64,
}

impl fmt::Display for EventTimeBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disorder={} lateness={}", self.disorder_ms, self.lateness_ms)
    }
}
