//! What the tests share: a real nats-server each, the programs as processes, and an independent computation of every
//! table.

// A test may stop where it stands: what is unwrapped here is an environment that is not as the tests need it.
#![allow(clippy::unwrap_used)]

pub mod coingecko;
pub mod counting;
pub mod disk;
pub mod oracle;
pub mod programs;
pub mod proxy;
pub mod server;
pub mod ticks;
pub mod world;
