//! Definitions of the streams: subjects, limits and retention, in the form of the JetStream API.

use serde_json::{Value, json};

use super::metadata::PARTITIONS_KEY;
use crate::stream::{
    ARTIFACTS, ARTIFACTS_STREAM, BUDGETS, BUDGETS_STREAM, LEASES, LEASES_STREAM, MARKET_STEP, READERS, READERS_STREAM,
    Stream,
};

/// One gibibyte.
pub const GIB: u64 = 1 << 30;
/// Upper bound of the number of partitions: each costs a consumer and a position in every step.
pub const PARTITIONS_MAX: u32 = 256;
const SECOND_NS: u64 = 1_000_000_000;
/// Deduplication window of FEED. Longer than a publisher repeats a message after the start of an outage.
const DUPLICATE_WINDOW_NS: u64 = 600 * SECOND_NS;
/// Limit of consumers per stream. Without it a single server allows 1,000.
const CONSUMERS_MAX: i64 = 5_000;
/// Upper bound of a consumer's inactivity. The server refuses a consumer that asks for more, so consumers of readers
/// that have left are gone after this time and do not use up the limit.
const CONSUMER_INACTIVE_MAX_NS: u64 = 300 * SECOND_NS;
/// Enough for thousands of registered readers.
const READERS_BYTES_MAX: u64 = 1 << 20;
/// Enough for hundreds of accounts at sources.
const BUDGETS_BYTES_MAX: u64 = 1 << 20;
/// Many times what the leases of all partitions of all steps need.
const LEASES_BYTES_MAX: u64 = 16 << 20;

/// Limits that an operator chooses when the streams are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of partitions, fixed for the life of the streams.
    pub partitions: u32,
    /// Replicas of each stream: 1, or 3 on a cluster.
    pub replicas: u32,
    /// Retention of FEED, in days of store time.
    pub feed_days: u64,
    /// Size limit of FEED in bytes; beyond it the oldest messages are deleted.
    pub feed_bytes: u64,
    /// Size limit of MARKET in bytes; when it is reached, the stream-processor waits.
    pub market_bytes: u64,
    /// Size limit of STATS in bytes; when it is reached, the aggregator waits.
    pub stats_bytes: u64,
    /// Size limit of FORECAST in bytes; when it is reached, the trainer waits.
    pub forecast_bytes: u64,
    /// Size limit of the object store in bytes.
    pub artifacts_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            partitions: 16,
            replicas: 1,
            feed_days: 90,
            feed_bytes: 4 * GIB,
            market_bytes: 8 * GIB,
            stats_bytes: 2 * GIB,
            forecast_bytes: GIB,
            artifacts_bytes: 2 * GIB,
        }
    }
}

/// Returns the definitions of all JetStream streams, in the form of the JetStream API.
pub fn definitions(limits: &Limits) -> Vec<Value> {
    vec![
        feed(limits),
        checkpointed(Stream::Market, limits),
        checkpointed(Stream::Stats, limits),
        checkpointed(Stream::Forecast, limits),
        artifacts(limits),
        leases(limits),
        bucket(READERS, READERS_STREAM, READERS_BYTES_MAX, limits),
        bucket(BUDGETS, BUDGETS_STREAM, BUDGETS_BYTES_MAX, limits),
    ]
}

pub(super) fn feed(limits: &Limits) -> Value {
    let partition = format!("{{{{partition({},2,3)}}}}", limits.partitions);
    json!({
        "name": Stream::Feed.name(),
        // Only these kinds: the step that reads FEED reads every kind of a partition.
        "subjects": MARKET_STEP.kinds.iter().map(|kind| format!("feed.{kind}.*.*")).collect::<Vec<_>>(),
        "subject_transform": {
            "src": "feed.*.*.*",
            "dest": format!("feed.{partition}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}"),
        },
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "discard": "old",
        "max_age": limits.feed_days * 86_400 * SECOND_NS,
        "max_bytes": limits.feed_bytes,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_consumers": CONSUMERS_MAX,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": true,
        "allow_atomic": true,
        "metadata": { PARTITIONS_KEY: limits.partitions.to_string() },
    })
}

/// A stream with results and checkpoints: no age limit, and new messages are refused when it is full. A limit that
/// deleted a checkpoint would cause all input to be processed again.
pub(super) fn checkpointed(stream: Stream, limits: &Limits) -> Value {
    let (live, max_bytes) = match stream {
        Stream::Market => ("live", limits.market_bytes),
        Stream::Stats | Stream::Feed => ("live.stats", limits.stats_bytes),
        Stream::Forecast => ("live.forecast", limits.forecast_bytes),
    };
    let root = stream.root();
    json!({
        "name": stream.name(),
        "subjects": [format!("{root}.*.*.*.*"), format!("checkpoint.{root}.>")],
        "republish": {
            "src": format!("{root}.*.*.*.*"),
            "dest": format!("{live}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}.{{{{wildcard(4)}}}}"),
        },
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "discard": "new",
        "max_age": 0,
        "max_bytes": max_bytes,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "deny_purge": false,
        "deny_delete": false,
        "max_consumers": CONSUMERS_MAX,
        "consumer_limits": { "inactive_threshold": CONSUMER_INACTIVE_MAX_NS },
        "allow_direct": true,
        "allow_atomic": true,
        "allow_rollup_hdrs": true,
        "metadata": { PARTITIONS_KEY: limits.partitions.to_string() },
    })
}

fn artifacts(limits: &Limits) -> Value {
    json!({
        "name": ARTIFACTS_STREAM,
        "subjects": [format!("$O.{ARTIFACTS}.C.>"), format!("$O.{ARTIFACTS}.M.>")],
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "discard": "new",
        "max_age": 0,
        "max_bytes": limits.artifacts_bytes,
        "max_consumers": CONSUMERS_MAX,
        "allow_direct": true,
        "allow_rollup_hdrs": true,
    })
}

/// Leases do not expire on the server. Each instance observes with its own clock how long a lease was not renewed, and
/// only while the server answers, so an outage of the server takes no lease from a living owner.
fn leases(limits: &Limits) -> Value {
    json!({
        "name": LEASES_STREAM,
        "subjects": [format!("$KV.{LEASES}.>")],
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "discard": "new",
        "max_age": 0,
        "max_bytes": LEASES_BYTES_MAX,
        "max_msgs_per_subject": 1,
        "allow_direct": true,
        "allow_rollup_hdrs": true,
        "allow_msg_ttl": true,
        "deny_delete": true,
    })
}

/// A key-value bucket whose values stay until they are replaced.
fn bucket(name: &str, stream: &str, max_bytes: u64, limits: &Limits) -> Value {
    json!({
        "name": stream,
        "subjects": [format!("$KV.{name}.>")],
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "discard": "new",
        "max_age": 0,
        "max_bytes": max_bytes,
        "max_msgs_per_subject": 1,
        "allow_direct": true,
        "allow_rollup_hdrs": true,
        "deny_delete": true,
    })
}

/// The number of partitions in a stream definition.
pub fn partitions_of(definition: &Value) -> Option<u32> {
    definition.get("metadata")?.get(PARTITIONS_KEY)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_with_checkpoints_never_delete_them() {
        for definition in definitions(&Limits::default()).iter().filter(|d| d["allow_rollup_hdrs"] == true) {
            assert_eq!((&definition["max_age"], &definition["discard"]), (&json!(0), &json!("new")), "{definition}");
        }
    }
}
