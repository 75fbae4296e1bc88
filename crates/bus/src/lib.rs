//! The NATS side of the house: every stream and subject, the NDJSON codec, ordered publishing and reading, leases, and the stored
//! forms that say where a step stands.
//!
//! No stream, subject or consumer name is written outside [`topology`] and [`subject`]. Start reading at [`topology`]
//! (what exists), then [`reader`] and [`protocol`]. How a step runs and how its results are stored is in the crate `step`.

#![warn(missing_docs)]

pub mod arrival;
pub mod batch;
pub mod codec;
pub mod connect;
pub mod error;
pub mod external_consumers;
pub mod leader;
pub mod lease;
pub mod objects;
pub mod outcome;
pub mod progress;
pub mod protocol;
pub mod publish;
pub mod query;
pub mod reader;
pub mod snapshot;
pub mod subject;
pub mod topology;

pub use connect::{Connection, NatsArgs};
pub use error::{Error, exit_code};
pub use subject::RecordKind;
pub use topology::Stream;
