//! The part of JetStream that the transaction relies on.
//!
//! A [`Request`] says what a step may ask and which [`Answer`] it may get. [`JetStream::ask`] asks the leader, which a single
//! server always is; [`JetStream::ask_server`] one of three. The cases in [`crate::cases`] hold it to what a real nats-server
//! answers. Known to be simpler than that:
//!
//! - A leader that has just been chosen and has not applied everything refuses to store (10008) until it has; its reads are
//!   old. Nothing was ever stored on such a leader's judgement in tests with three servers.
//! - A full server is one number for all streams (10023), not a file system.
//! - A power cut leaves the messages that were stored first: never a hole in the middle.
//! - Consumers count what is pending rightly, where a real one is off by some after messages that it had not read were purged.
//! - A server that only believes to lead is silent to what would be stored, where a real one may say 10008.
//! - Of three servers one that loses power is sent all of what it lacks: a torn batch shows on a single server only.

mod batch;
mod config;
mod consumer;
mod copy;
mod disk;
mod duplicates;
mod group;
mod log;
mod message;
mod request;
mod server;

pub use batch::{Allowed, MESSAGES_MAX};
pub use config::{Config, Discard};
pub use copy::Live;
pub use disk::{Survivors, Sync};
pub use message::{Headers, Message, Place, Stored, Subject, matches};
pub use request::{Answer, Delivery, Info, Refusal, Request};
pub use server::{JetStream, Reply, Ticket};
