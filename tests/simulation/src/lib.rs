//! The world that a step lives in, simulated: JetStream, as far as the transaction relies on it, a network, and processes that
//! run production code. One seed gives one run, on every machine.
//!
//! Nothing here waits, reads a clock, starts a thread or draws a random number of its own: time is a number of microseconds
//! that the caller passes in, and chance is drawn from a [`Random`].
//!
//! - [`jetstream`]: [`JetStream`] takes a [`Request`] and gives an [`Answer`]; the methods beside it are the faults.
//! - [`network`]: events in virtual time, and links that delay, lose, double and reorder them.
//! - [`world`]: the processes of both steps with their leases, a publisher, and everything that goes wrong.
//! - [`run`]: what the runs of seeds come to, and the shortest history of one that fails.
//! - [`seed`], [`random`]: where chance comes from.
//! - [`cases`]: the requests and answers that model and nats-server agree on, and requests by chance to compare them with.

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
pub use network::{Link, Queue, Weather};
pub use random::Random;
pub use seed::Seed;
