//! A model of the part of JetStream that the transaction relies on.
//!
//! A [`Request`] is anything that a step may ask, an [`Answer`] anything that it may get. [`JetStream::ask`] asks the
//! leader, which a single server always is; [`JetStream::ask_server`] asks one of three. The cases in [`crate::cases`]
//! compare the model with a real nats-server. Known simplifications:
//!
//! - A leader that was just elected and has not applied its log refuses to store (10008) until it has; its reads are
//!   old. In tests with three real servers no such leader ever stored anything.
//! - A full server is a byte limit for all streams (10023), not a file system.
//! - A power cut keeps the messages that were stored first, never a hole in the middle.
//! - Consumers count pending messages exactly; a real one is off by some after unread messages were purged.
//! - A server that only believes to lead does not answer writes; a real one may say 10008.
//! - In a cluster, a server that lost power receives everything it lacks: a torn batch is visible only on a single
//!   server.

mod batch;
mod config;
mod consumer;
mod disk;
mod duplicates;
mod group;
mod log;
mod message;
mod replica;
mod request;
mod server;

pub use batch::{Allowed, MESSAGES_MAX};
pub use config::{Discard, StreamConfig};
pub use disk::{Survivors, Sync};
pub use message::{BatchPlace, Headers, LogEntry, Message, Subject, matches};
pub use replica::Republished;
pub use request::{Answer, ConsumerDelivery, Info, Refusal, Reply, Request, RequestTarget, Ticket};
pub use server::JetStream;
