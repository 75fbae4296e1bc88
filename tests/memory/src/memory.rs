//! The environment of a partition: input, stored results, time.

use step::time::Time;

use crate::log::InputLog;
use crate::stored::StoredPartition;

/// One partition of a step: its input, its stored results and the current time.
#[derive(Debug)]
pub struct Memory {
    /// The input.
    pub log: InputLog,
    /// Its stored results, states and position.
    pub stored: StoredPartition,
    /// Number of messages that new owners received again, because the stored states may lack them.
    pub replayed: u64,
    pub(crate) now: Time,
}

impl Memory {
    /// A partition that has stored nothing yet.
    pub fn new(log: InputLog) -> Self {
        Self { log, stored: StoredPartition::default(), replayed: 0, now: Time::ZERO }
    }
}
