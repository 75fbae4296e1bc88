//! The NATS side of candlewire: stream definitions, subjects, the NDJSON codec, ordered publishing and reading, queries,
//! leases, and the stored forms that several crates share.
//!
//! This crate never computes results. The crate `step` runs the steps and commits their results. Names of streams are
//! written only in [`stream`], subjects only in [`subject`], kinds of records only in [`record_kind`].
//!
//! Start reading at [`stream`] (what exists) and [`topology`] (how it is configured), then [`connect`], [`reader`] and
//! [`protocol`].
//!
//! ```
//! use bus::{RecordKind, Stream, codec, subject};
//!
//! // A price of bitcoin is stored in the partition of the instrument.
//! let partition = subject::partition("bitcoin", "usd", 16);
//! let stored = subject::stored(Stream::Market, partition, RecordKind::Price, "bitcoin", "usd");
//! assert_eq!(stored, "market.15.price.bitcoin.usd");
//! assert_eq!(subject::SubjectParts::parse(&stored).map(|parts| parts.coin), Some("bitcoin"));
//!
//! // A payload has many records, one per line.
//! let mut pack = codec::Pack::default();
//! pack.push(&serde_json::json!({ "close": 103_376.0 }));
//! pack.push(&serde_json::json!({ "close": 103_380.5 }));
//! let payloads = pack.into_payloads();
//! assert_eq!(codec::lines(&payloads[0]).count(), 2);
//! ```

#![warn(missing_docs)]

pub mod batch;
pub mod budgets;
pub mod codec;
pub mod connect;
pub mod error;
pub mod external_consumers;
pub mod leader;
pub mod lease;
pub mod newest;
pub mod objects;
pub mod outcome;
pub mod progress;
pub mod protocol;
pub mod publish;
pub mod query;
pub mod reader;
pub mod record_kind;
pub mod reminder;
pub mod retry;
mod revision;
pub mod snapshot;
pub mod stored_time;
pub mod stream;
pub mod subject;
pub mod topology;

pub use connect::{Connection, NatsArgs};
pub use error::{Error, exit_code};
pub use record_kind::RecordKind;
pub use stream::Stream;
