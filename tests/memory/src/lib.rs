//! A partition of a step over a log in memory: the state machine of the runtime, driven without a server.
//!
//! [`step::partition::Partition`] recovers, applies and commits, as in a service; this crate provides only its
//! environment. An [`InputLog`] is the input of the partition, [`StoredPartition`] is what it has stored. An [`Owner`]
//! is a process that owns the partition, or believes so. Dropping an owner simulates its crash; keeping one while
//! another starts simulates a frozen process.
//!
//! Time is a field of [`Memory`] and advances only when an owner lets it pass: this crate neither sleeps nor reads a
//! clock.

mod log;
mod owner;
mod stored;

use step::time::Time;

pub use log::Log;
pub use owner::{Owner, Wait};
pub use stored::Stored;

/// One partition of a step: its input, its stored results and the current time.
#[derive(Debug)]
pub struct Memory {
    /// The input.
    pub log: Log,
    /// Its stored results, states and position.
    pub stored: Stored,
    /// Number of messages that new owners received again, because the stored states may lack them.
    pub replayed: u64,
    now: Time,
}

impl Memory {
    /// A partition that has stored nothing yet.
    pub fn new(log: Log) -> Self {
        Self { log, stored: Stored::default(), replayed: 0, now: Time::ZERO }
    }
}
