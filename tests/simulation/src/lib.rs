//! Simulation of a step's environment: JetStream, as far as the transaction relies on it, a network, and processes that
//! run production code. One seed gives one run, the same on every machine.
//!
//! Nothing here waits, reads a clock, starts a thread or draws a random number of its own: time is a number of
//! microseconds that the caller passes in, and chance is drawn from a [`Random`].
//!
//! - [`jetstream`]: [`JetStream`] takes a [`Request`] and returns an [`Answer`]; its other methods inject faults.
//! - [`network`]: events in virtual time, and links that delay, lose, duplicate and reorder messages.
//! - [`world`]: the processes of both steps with their leases, a publisher, and the disruptions.
//! - [`run`]: the runs of seeds, and the shortest history of a failing one.
//! - [`seed`], [`random`]: the source of chance.
//! - [`cases`]: requests with the answers that both the model and nats-server give, and random requests to compare
//!   them.

pub mod cases;
mod checks;
#[cfg(test)]
mod histories;
pub mod jetstream;
pub mod network;
pub mod random;
pub mod run;
pub mod seed;
pub mod world;

pub use jetstream::{Answer, JetStream, Message, Reply, Request};
pub use network::{Link, LinkQuality, Queue};
pub use random::Random;
pub use seed::Seed;
