//! The wall clock in the units of records.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch; a clock before it reads 0.
pub(crate) fn now_ms(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
