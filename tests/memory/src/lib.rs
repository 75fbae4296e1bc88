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
mod memory;
mod owner;
mod stored;

pub use log::InputLog;
pub use memory::Memory;
pub use owner::{Owner, Wait};
pub use stored::StoredPartition;
