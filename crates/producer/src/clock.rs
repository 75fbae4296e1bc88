//! The wall clock in the unit of records.

use std::time::{SystemTime, UNIX_EPOCH};

/// Converts a time to milliseconds since the epoch; an earlier time gives 0.
pub(crate) fn now_ms(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
