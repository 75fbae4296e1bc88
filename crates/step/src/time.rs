//! The time of the state machine.

use std::time::Duration;

/// A time, as the duration since an instant that all partitions of a process share.
pub type Time = Duration;
