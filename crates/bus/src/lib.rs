//! The NATS side of the house: every stream and subject, the NDJSON codec, ordered publishing, and the transaction that
//! stores a step's outputs, state and position together or not at all.
//!
//! No stream, subject or consumer name is written outside [`topology`] and [`subject`]. Start reading at [`topology`]
//! (what exists), then [`task`] (how a step runs) and [`transaction`] (how its results are stored).

#![warn(missing_docs)]

pub mod arrival;
pub mod backup;
pub mod batch;
pub mod codec;
pub mod connect;
pub mod error;
pub mod history;
pub mod leader;
pub mod lease;
pub mod objects;
pub mod outcome;
pub mod protocol;
pub mod publish;
pub mod reader;
pub mod readers;
pub mod rebuild;
pub mod snapshot;
pub mod standing;
pub mod subject;
pub mod topology;
pub mod trim;

pub use connect::{Connection, NatsArgs};
pub use error::{Error, exit_code};
pub use subject::Kind;
pub use topology::Stream;
