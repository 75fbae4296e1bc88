//! Descriptions of streams by the server, with the notes in their metadata.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;

use super::metadata::{LOG_KEY, PARTITIONS_KEY, REBUILT_KEY, RESTORING_KEY, SERVERS_OWN, TRIMMED_KEY};
use crate::error::Error;
use crate::protocol::LogId;

/// A stream as the server describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    /// Creation time as the server writes it, the base of the log's identity.
    pub created: String,
    /// Its configuration in the server's own form.
    pub config: Value,
    /// Sequences and size.
    pub state: StreamState,
    /// The Raft group of the stream; `None` on a single server.
    #[serde(default)]
    cluster: Option<Group>,
}

/// The Raft group of a stream.
#[derive(Debug, Clone, Deserialize)]
struct Group {
    leader: Option<String>,
}

/// Sequences and size of a stream.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct StreamState {
    /// Number of messages.
    pub messages: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// First existing sequence; the next sequence when the stream is empty.
    pub first_seq: u64,
    /// Last sequence that was assigned.
    pub last_seq: u64,
}

impl StreamInfo {
    /// The number of partitions that the stream was created with.
    pub fn partitions(&self) -> Option<u32> {
        self.noted(PARTITIONS_KEY)
    }

    /// The identity of the log.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when another version of candlewire restored it.
    pub fn log(&self) -> Result<LogId, Error> {
        let base = match self.note(LOG_KEY) {
            Some(noted) => LogId::from_json(noted).map_err(|_| self.restored_otherwise(noted))?,
            None => LogId::new(&self.created),
        };
        Ok(match self.noted(REBUILT_KEY) {
            Some(after) => base.rebuilt(after),
            None => base,
        })
    }

    /// The error for a log id in the form of another version.
    fn restored_otherwise(&self, noted: &str) -> Error {
        let stream = self.config["name"].as_str().unwrap_or_default();
        let detail = format!(
            "another version of candlewire restored the stream and wrote {noted:?}: continue with that version, or give the \
             streams up (stop nats-server, move its store away, start it again and run `topology apply`)"
        );
        Error::Unreadable { what: format!("{LOG_KEY} of stream {stream}"), detail }
    }

    /// Whether a restore is in progress, or was interrupted.
    pub fn is_being_restored(&self) -> bool {
        self.note(RESTORING_KEY).is_some()
    }

    /// The definition without the metadata that the server added, so that the stream can be created from it.
    pub fn definition(&self) -> Value {
        let mut definition = self.config.clone();
        if let Some(metadata) = definition["metadata"].as_object_mut() {
            metadata.retain(|key, _| !key.starts_with(SERVERS_OWN));
        }
        definition
    }

    /// The first sequence from which no result was removed. After trimming, the server's first sequence does not say
    /// that: checkpoints before it stay, and checkpoints after it are replaced.
    pub fn begins(&self) -> u64 {
        let trimmed: Option<u64> = self.noted(TRIMMED_KEY);
        trimmed.map_or(self.state.first_seq, |trimmed| self.origin().max(trimmed + 1))
    }

    /// Whether results were trimmed. Trimming removes only messages that every reader has committed.
    pub fn is_trimmed(&self) -> bool {
        self.noted::<u64>(TRIMMED_KEY).is_some()
    }

    /// The sequence of the first result since the stream was created or rebuilt.
    pub fn origin(&self) -> u64 {
        self.noted(REBUILT_KEY).map_or(1, |rebuilt: u64| rebuilt + 1)
    }

    pub(super) fn noted<T: FromStr>(&self, key: &str) -> Option<T> {
        self.note(key)?.parse().ok()
    }

    fn note(&self, key: &str) -> Option<&str> {
        self.config.get("metadata")?.get(key)?.as_str()
    }

    /// The leader that answered; `None` on a single server.
    pub fn leader(&self) -> Option<&str> {
        self.cluster.as_ref()?.leader.as_deref()
    }

    /// Number of replicas.
    pub fn replicas(&self) -> u64 {
        self.config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1)
    }

    /// The size limit in bytes, if there is one.
    pub fn max_bytes(&self) -> Option<u64> {
        self.config.get("max_bytes").and_then(Value::as_u64).filter(|&bytes| bytes > 0)
    }

    /// The age limit in nanoseconds; 0 for none.
    pub fn max_age_ns(&self) -> u64 {
        self.config.get("max_age").and_then(Value::as_u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_tells_where_it_begins_and_which_log_it_is() {
        let info = |metadata: Value, first_seq: u64| {
            let state = json!({ "messages": 0, "bytes": 0, "first_seq": first_seq, "last_seq": 99 });
            let info = json!({ "created": "then", "config": { "metadata": metadata }, "state": state });
            serde_json::from_value::<StreamInfo>(info).unwrap()
        };
        let told = |info: StreamInfo| (info.begins(), info.origin(), info.log().unwrap());
        assert_eq!(told(info(json!({}), 7)), (7, 1, LogId::new("then")));
        // A checkpoint before the trimmed sequence stays; later ones were replaced.
        for first_seq in [3, 60] {
            assert_eq!(told(info(json!({ TRIMMED_KEY: "41" }), first_seq)), (42, 1, LogId::new("then")));
        }
        let rebuilt = json!({ TRIMMED_KEY: "41", REBUILT_KEY: "50" });
        assert_eq!(told(info(rebuilt, 51)), (51, 51, LogId::new("then").rebuilt(50)));
        let restored = LogId::new("before").restored(90, "then");
        let noted = json!({ LOG_KEY: restored.to_json(), REBUILT_KEY: "95" });
        assert_eq!(info(noted, 96).log().unwrap(), restored.rebuilt(95));
        // A log id in the form of an older version.
        let refused = info(json!({ LOG_KEY: "before, restored up to sequence 90 on then" }), 1).log().unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("another version of candlewire") && refused.contains("`topology apply`"), "{refused}");
    }
}
