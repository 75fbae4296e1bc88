//! A partition of a step over a log in memory: the state machine of the runtime, driven without a server.
//!
//! Nothing here recovers, applies or commits: [`step::partition::Partition`] does, as in a service. What stands here is the world
//! around it. A [`Log`] is what the partition reads, a [`Stored`] what it has stored, and an [`Owner`] is a process that has the
//! partition, or believes so. Dropping an owner is its crash; keeping it aside while another one begins is a frozen process.
//!
//! Time stands in the [`Memory`] and goes on only where an owner lets it pass: nothing here sleeps or reads a clock.

mod log;
mod owner;
mod stored;

use step::time::Time;

pub use log::Log;
pub use owner::{Owner, Wait};
pub use stored::Stored;

/// One partition of a step: its input, what is stored of it, and what time it is.
#[derive(Debug)]
pub struct Memory {
    /// What it reads.
    pub log: Log,
    /// What it has stored.
    pub stored: Stored,
    /// Messages that new owners were given again, because the stored states may lack them.
    pub replayed: u64,
    now: Time,
}

impl Memory {
    /// A partition that has stored nothing yet.
    pub fn new(log: Log) -> Self {
        Self { log, stored: Stored::default(), replayed: 0, now: Time::ZERO }
    }
}
