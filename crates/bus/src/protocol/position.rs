//! Where a partition of a step stands, as it is stored.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::connect::Connection;
use crate::error::Error;
use crate::history::{self, Stored};
use crate::snapshot::all_last;
use crate::subject;
use crate::topology::Stream;

/// The position of a partition, the last message of every commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position<C> {
    /// Last input sequence that the partition has consumed.
    pub position: u64,
    /// Highest input sequence up to which nothing for this partition can be missing.
    pub frontier: u64,
    /// Up to here a look at the input found nothing missing. Input that was read since may have jumped over what was
    /// deleted: the next owner looks again from here.
    pub verified: u64,
    /// Id of the batch that stored it.
    pub batch: String,
    /// When the input stream was created: the identity of the log.
    pub input_created: String,
    /// Partitions of the topology.
    pub partitions: u32,
    /// The settings that shape results, in words.
    pub config: String,
    /// Every input up to here is contained in the stored states. What came since is applied to them again by a new owner.
    pub settled: u64,
    /// How many instruments have a stored state.
    pub states: u64,
    /// How many inputs these states contain, all together.
    pub states_applied: u64,
    /// How many inputs were applied, all together.
    pub applied: u64,
    /// Input sequences that were lost and accepted as such.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost: u64,
    /// Whoever was read no further than this when the loss was accepted has a gap before its next message.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost_to: u64,
    /// The step's own counts.
    pub counts: C,
}

impl<C> Position<C> {
    /// Up to here the input is needed no more: neither to go on nor to complete the stored states.
    pub fn needless(&self) -> u64 {
        if self.settled < self.position { self.settled } else { self.position.max(self.frontier) }
    }
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

/// Reads a position.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn decode_position<C: DeserializeOwned>(stored: &Stored) -> Result<Position<C>, Error> {
    serde_json::from_slice(&stored.payload)
        .map_err(|error| Error::Unreadable { what: format!("position {}", stored.subject), detail: error.to_string() })
}

/// The settings that the results of a partition were made with; `None` while it has no position.
///
/// # Errors
/// Whatever reading can meet.
pub async fn settings_of(connection: &Connection, output: Stream, partition: u32) -> Result<Option<String>, Error> {
    let stored = history::last(connection, output, &subject::position(output, partition)).await?;
    let position = stored.as_ref().map(decode_position::<serde_json::Value>).transpose()?;
    Ok(position.map(|position| position.config))
}

/// The newest position of every partition, in order of partition, with the step's counts in the form asked for.
///
/// # Errors
/// Whatever reading can meet.
pub async fn positions<C: DeserializeOwned>(
    connection: &Connection,
    output: Stream,
) -> Result<Vec<(u32, Position<C>)>, Error> {
    let stored = all_last(connection, output.name(), &subject::positions(output)).await?;
    let mut positions = Vec::with_capacity(stored.len());
    for message in &stored {
        let partition = message.subject.split('.').nth(2).and_then(|token| token.parse().ok());
        let partition = partition.ok_or_else(|| Error::Unreadable {
            what: format!("position {}", message.subject),
            detail: "no partition in its subject".to_owned(),
        })?;
        positions.push((partition, decode_position(message)?));
    }
    positions.sort_by_key(|(partition, _)| *partition);
    Ok(positions)
}
