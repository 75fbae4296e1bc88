//! The messages that a partition commits: outputs, states and position.

use bus::protocol::Position;
use bytes::Bytes;
use serde_json::Value;

/// A message of a batch.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Stored subject.
    pub subject: String,
    /// Payload.
    pub payload: Bytes,
    /// The kind of message.
    pub role: Role,
}

/// The kind of a message in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A result, with the schema of its record.
    Output(&'static str),
    /// A state, which replaces the one before.
    State,
}

/// The messages that one partition commits.
#[derive(Debug, Clone)]
pub struct Part {
    /// The partition.
    pub partition: u32,
    /// Stream sequence of the position before; 0 for the first one.
    pub fence: u64,
    /// Outputs, then states, each state once.
    pub messages: Vec<Outgoing>,
    /// The new position, without its batch id.
    pub position: Position<Value>,
}

impl Part {
    /// Payload bytes, without the position.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.payload.len()).sum()
    }
}

/// A stored position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPosition {
    /// Its sequence in the output stream.
    pub seq: u64,
    /// The id of the batch that stored it.
    pub batch: Option<String>,
}
