//! Stored position of a partition of a step.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{LogId, StepConfig, version};
use crate::connect::Connection;
use crate::error::Error;
use crate::query::{self, StoredMessage};
use crate::snapshot::all_last;
use crate::stream::Stream;
use crate::subject;

/// The version of the stored form of positions.
pub const POSITION_VERSION: u32 = 2;

/// The position of a partition, the last message of every commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position<C> {
    /// The version of the stored form: [`POSITION_VERSION`].
    pub version: u32,
    /// Last input sequence that the partition has consumed.
    pub position: u64,
    /// Highest input sequence up to which nothing for this partition can be missing.
    pub frontier: u64,
    /// The last check of the input found nothing missing up to here. Input that was read since may follow messages that
    /// were deleted unread, so the next owner checks again from here.
    pub verified: u64,
    /// Id of the batch that stored the position.
    pub batch: String,
    /// The identity of the input log.
    pub log: LogId,
    /// Number of partitions.
    pub partitions: u32,
    /// The settings that shape results.
    pub config: StepConfig,
    /// The stored states contain every input up to here. A new owner applies the later input to them again.
    pub settled: u64,
    /// Number of instruments with a stored state.
    pub states: u64,
    /// Number of inputs that the stored states contain, summed over all states.
    pub states_applied: u64,
    /// Number of inputs that were applied, summed over all states.
    pub applied: u64,
    /// Number of input sequences that were lost with --accept-loss.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost: u64,
    /// An instrument that was last read before this sequence, when the loss was accepted, gets a gap before its next
    /// message.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost_to: u64,
    /// The step's own counts.
    pub counts: C,
}

impl<C> Position<C> {
    /// The last input sequence that is no longer needed, neither to continue nor to complete the stored states.
    pub fn needless(&self) -> u64 {
        if self.settled < self.position { self.settled } else { self.position.max(self.frontier) }
    }
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

/// Decodes a position, or the fields of it that `P` has.
///
/// # Errors
/// [`Error::Unreadable`], with advice when another version of candlewire stored it.
pub fn decode_position<P: DeserializeOwned>(stored: &StoredMessage) -> Result<P, Error> {
    let of_stream = stored.subject.split('.').nth(1).unwrap_or_default();
    let advice = format!("run `topology rebuild {of_stream}`");
    version::decode(&stored.payload, POSITION_VERSION, &advice)
        .map_err(|detail| Error::Unreadable { what: format!("position {}", stored.subject), detail })
}

/// Returns the settings that the results of a partition were computed with; `None` while it has no position.
///
/// # Errors
/// Errors of the request, and a position that cannot be decoded.
pub async fn settings_of(connection: &Connection, output: Stream, partition: u32) -> Result<Option<StepConfig>, Error> {
    let stored = query::last(connection, output, &subject::position(output, partition)).await?;
    let position = stored.as_ref().map(decode_position::<Position<IgnoredAny>>).transpose()?;
    Ok(position.map(|position| position.config))
}

/// The latest position of every partition, in order of partition, with the step's counts as `C`.
///
/// # Errors
/// Errors of the request, and a position that cannot be decoded.
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

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    fn stored(position: &Value) -> StoredMessage {
        let (subject, payload) = (subject::position(Stream::Stats, 3), position.to_string().into());
        StoredMessage { seq: 1, subject, payload, headers: HeaderMap::new(), server_ms: 0 }
    }

    #[test]
    fn only_a_position_of_this_version_is_read() {
        let now = json!({
            "version": POSITION_VERSION, "position": 7, "frontier": 9, "verified": 8, "batch": "id-1",
            "log": { "created": "then", "events": [] }, "partitions": 16,
            "config": { "disorder_ms": 5_000, "lateness_ms": 600_000, "shape": "windows=5m" },
            "settled": 6, "states": 2, "states_applied": 3, "applied": 4, "counts": { "candles": 3 },
        });
        let position: Position<Value> = decode_position(&stored(&now)).unwrap();
        assert_eq!((position.position, &position.log), (7, &LogId::new("then")));
        assert_eq!(position.config.to_string(), "disorder=5000 lateness=600000 windows=5m");
        assert_eq!(serde_json::to_value(&position).unwrap(), now);
        assert_eq!(position.needless(), 6, "the states lack an input");
        assert_eq!(Position { settled: 7, ..position }.needless(), 9);
        for version in [None, Some(1), Some(POSITION_VERSION + 1)] {
            let other =
                json!({ "version": version, "position": 7, "config": "disorder=5000 lateness=600000 windows=5m" });
            let error = decode_position::<Position<Value>>(&stored(&other)).unwrap_err();
            assert!(matches!(error, Error::Unreadable { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains("another version of candlewire stored it"), "{error}");
            assert!(error.contains("run `topology rebuild stats`"), "{error}");
        }
    }
}
