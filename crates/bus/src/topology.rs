//! Definitions of the streams: subjects, limits and retention, and the requests that read and change them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use market::Window;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connect::{Connection, nothing};
use crate::error::Error;
use crate::protocol::LogId;
use crate::reader::Delivery;
use crate::subject::RecordKind;

mod difference;

pub use difference::{Difference, differences};

/// A stream of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Raw input: ticks, heartbeats, gaps. Written by the producer.
    Feed,
    /// Prices, 1-minute candles, late and rejected records. Written by the stream-processor.
    Market,
    /// Candles of longer windows and profiles. Written by the aggregator.
    Stats,
    /// Forecasts, their scores and the models that made them. Written by the trainer.
    Forecast,
}

/// The object store of models, model cards and predictions.
pub const ARTIFACTS: &str = "ARTIFACTS";
/// The stream that backs the object store [`ARTIFACTS`].
pub const ARTIFACTS_STREAM: &str = "OBJ_ARTIFACTS";

/// The key-value bucket of leases: which instance owns which partition of which step.
pub const LEASES: &str = "LEASES";
/// The stream that backs the bucket [`LEASES`].
pub const LEASES_STREAM: &str = "KV_LEASES";

/// The key-value bucket in which readers with a position outside the server register how far they have read.
pub const READERS: &str = "READERS";

/// The stream that backs the bucket [`READERS`].
pub const READERS_STREAM: &str = "KV_READERS";

/// The lease group of the trainers: one instance at a time archives MARKET, trains and forecasts.
pub const ARCHIVER: &str = "trainer.archive";

impl Stream {
    /// Every stream of records, upstream first.
    pub const ALL: [Self; 4] = [Self::Feed, Self::Market, Self::Stats, Self::Forecast];

    /// The streams that hold checkpoints next to their results.
    pub const CHECKPOINTED: [Self; 3] = [Self::Market, Self::Stats, Self::Forecast];

    /// The stream's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "FEED",
            Self::Market => "MARKET",
            Self::Stats => "STATS",
            Self::Forecast => "FORECAST",
        }
    }

    /// The first token of the stream's stored subjects.
    pub const fn root(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Market => "market",
            Self::Stats => "stats",
            Self::Forecast => "forecast",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step: its input stream and the stream of its results, states and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Name of the service that runs the step.
    pub service: &'static str,
    /// The input stream.
    pub input: Stream,
    /// The kinds of records that the step reads.
    pub kinds: &'static [RecordKind],
    /// The stream of its results and checkpoints.
    pub output: Stream,
    /// Whether a pipeline works without the step. Until its first commit no command waits for it and no input is kept
    /// for it.
    pub is_optional: bool,
    /// Whether users watch each result live. A commit of such a step never waits for other commits.
    pub is_live: bool,
}

/// FEED → MARKET, by the stream-processor.
pub const MARKET_STEP: Step = Step {
    service: "stream-processor",
    input: Stream::Feed,
    kinds: &[RecordKind::Tick, RecordKind::Heartbeat, RecordKind::Gap],
    output: Stream::Market,
    is_optional: false,
    is_live: true,
};

/// MARKET → STATS, by the aggregator.
pub const STATS_STEP: Step = Step {
    service: "aggregator",
    input: Stream::Market,
    kinds: &[RecordKind::Price, RecordKind::Heartbeat],
    output: Stream::Stats,
    is_optional: false,
    is_live: false,
};

/// MARKET → FORECAST, by the trainer.
pub const FORECAST_STEP: Step = Step {
    service: "trainer",
    input: Stream::Market,
    kinds: &[RecordKind::Price, RecordKind::Heartbeat],
    output: Stream::Forecast,
    is_optional: true,
    is_live: false,
};

/// Every step, upstream first.
pub const STEPS: [Step; 3] = [MARKET_STEP, STATS_STEP, FORECAST_STEP];

/// The windows that the aggregator computes.
pub const STATS_WINDOWS: [Window; 5] =
    [Window::FiveMinutes, Window::QuarterHour, Window::Hour, Window::Day, Window::HourEveryHalf];

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
/// Many times what the leases of all partitions of all steps need.
const LEASES_BYTES_MAX: u64 = 16 << 20;
/// Limit for retries of a stream creation that fails for a passing reason.
const CREATE_MAX: Duration = Duration::from_secs(2);
/// Time that three servers may take to discover each other.
const PEERS_MAX: Duration = Duration::from_secs(10);
const CREATE_AGAIN: Duration = Duration::from_millis(50);
/// Temporary stream that tests whether the server has enough storage.
const PROBE: &str = "CANDLEWIRE_PROBE";
const PROBE_SUBJECT: &str = "candlewire.probe";
/// JetStream error code: stream not found.
const STREAM_NOT_FOUND: u32 = 10059;
/// Metadata key: number of partitions.
const PARTITIONS_KEY: &str = "candlewire.partitions";
/// Metadata key: last sequence up to which results were trimmed.
const TRIMMED_KEY: &str = "candlewire.trimmed";
/// Metadata key: sequence after which the stream was rebuilt.
const REBUILT_KEY: &str = "candlewire.rebuilt";
/// Metadata key of a restored stream: its log id, with the restore.
const LOG_KEY: &str = "candlewire.log";
/// Metadata key that a stream carries while it is being restored.
pub const RESTORING_KEY: &str = "candlewire.restoring";
/// Prefix of the metadata keys that the server adds itself.
const SERVERS_OWN: &str = "_nats.";

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
        readers(limits),
    ]
}

fn feed(limits: &Limits) -> Value {
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
fn checkpointed(stream: Stream, limits: &Limits) -> Value {
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

fn readers(limits: &Limits) -> Value {
    json!({
        "name": READERS_STREAM,
        "subjects": [format!("$KV.{READERS}.>")],
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "discard": "new",
        "max_age": 0,
        "max_bytes": READERS_BYTES_MAX,
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

    fn noted<T: FromStr>(&self, key: &str) -> Option<T> {
        self.note(key)?.parse().ok()
    }

    fn note(&self, key: &str) -> Option<&str> {
        self.config.get("metadata")?.get(key)?.as_str()
    }

    /// The leader that answered; `None` on a single server.
    pub fn leader(&self) -> Option<&str> {
        self.cluster.as_ref()?.leader.as_deref()
    }

    /// Whether no message follows `delivery`. A stream with replicas cannot tell: the replica that is read may lag.
    pub fn is_end(&self, delivery: &Delivery) -> bool {
        delivery.pending == 0 && self.replicas() == 1
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

/// Reads the description of a stream by its JetStream name.
///
/// # Errors
/// [`Error::StreamMissing`] when it does not exist; [`Error::Restoring`]; errors of [`Connection::api`].
pub async fn stream_info(connection: &Connection, name: &str) -> Result<StreamInfo, Error> {
    let info = any_stream_info(connection, name).await?;
    if info.is_being_restored() { Err(Error::Restoring { stream: name.to_owned() }) } else { Ok(info) }
}

/// Reads the description of a stream that may be in the middle of a restore.
pub async fn any_stream_info(connection: &Connection, name: &str) -> Result<StreamInfo, Error> {
    const NOT_FOR_THIS_ACCOUNT: u32 = 10039;
    match connection.api(&format!("STREAM.INFO.{name}"), &nothing()).await {
        Err(Error::Api { err_code: STREAM_NOT_FOUND, .. }) => Err(Error::StreamMissing { stream: name.to_owned() }),
        Err(Error::Api { err_code: NOT_FOR_THIS_ACCOUNT, .. }) => {
            Err(Error::OtherAccount { url: connection.url().to_owned(), user: connection.user().to_owned() })
        }
        Err(Error::Unanswered { .. })
            if connection.client().connection_state() == async_nats::connection::State::Connected =>
        {
            Err(Error::NoJetStream { url: connection.url().to_owned() })
        }
        result => result,
    }
}

/// Checks that a stream exists with the definition of this version, apart from its limits; returns its description.
///
/// # Errors
/// [`Error::StreamMissing`], [`Error::StreamDiffers`], or an error of [`Connection::api`].
pub async fn require(connection: &Connection, stream: Stream) -> Result<StreamInfo, Error> {
    let info = stream_info(connection, stream.name()).await?;
    let refuse = |difference: String| Error::StreamDiffers { stream: stream.name().to_owned(), difference };
    let partitions = info.partitions().ok_or_else(|| refuse("its metadata has no number of partitions".to_owned()))?;
    let limits = Limits { partitions, ..Limits::default() };
    let wanted = match stream {
        Stream::Feed => feed(&limits),
        Stream::Market | Stream::Stats | Stream::Forecast => checkpointed(stream, &limits),
    };
    let chosen = |difference: &Difference| {
        let is_limit = matches!(difference.key.as_str(), "max_bytes" | "num_replicas");
        is_limit || (stream == Stream::Feed && difference.key == "max_age")
    };
    match differences(&wanted, &info.config).iter().find(|difference| !chosen(difference)) {
        Some(difference) => Err(refuse(difference.to_string())),
        None => Ok(info),
    }
}

/// Creates a stream from its definition.
///
/// # Errors
/// The server's refusal.
pub async fn create(connection: &Connection, definition: &Value) -> Result<(), Error> {
    /// Error code: the server still removes the directory of a stream that was deleted a moment ago.
    const NO_FOLDER: u32 = 10049;
    /// Error code: one of three servers that have just started does not know the others yet.
    const NO_PEERS: u32 = 10005;
    let call = format!("STREAM.CREATE.{}", definition["name"].as_str().unwrap_or_default());
    let start = Instant::now();
    loop {
        match connection.api::<Value>(&call, definition).await {
            Err(Error::Api { err_code: NO_FOLDER, .. }) if start.elapsed() < CREATE_MAX => {}
            Err(Error::Api { err_code: NO_PEERS, .. }) if start.elapsed() < PEERS_MAX => {}
            result => return result.map(drop),
        }
        tokio::time::sleep(CREATE_AGAIN).await;
    }
}

/// Checks that a single server can reserve `bytes` more for streams with `replicas` replicas, by creating a stream of
/// that size and deleting it at once. In a cluster, servers learn of each other's storage with a delay, so nothing is
/// checked there: creating the first stream that does not fit is refused.
///
/// # Errors
/// [`Error::NoRoom`]; [`Error::NoCluster`]; errors of [`Connection::api`].
pub async fn check_room(connection: &Connection, bytes: u64, replicas: u32) -> Result<(), Error> {
    const NO_CLUSTER: u32 = 10074;
    if connection.client().server_info().cluster.is_some() {
        return Ok(());
    }
    // A test stream that an interrupted run left behind reserves storage itself.
    remove_probe(connection).await?;
    let probe = json!({
        "name": PROBE,
        "subjects": [PROBE_SUBJECT],
        "storage": "file",
        "num_replicas": replicas,
        "max_bytes": bytes.max(1),
    });
    match create(connection, &probe).await {
        Err(Error::Api { err_code: NO_CLUSTER, description, .. }) => Err(Error::NoCluster { replicas, description }),
        Err(Error::Full { description, .. }) => Err(Error::NoRoom { bytes, description }),
        Err(error) => Err(error),
        Ok(()) => remove_probe(connection).await,
    }
}

async fn remove_probe(connection: &Connection) -> Result<(), Error> {
    match connection.api::<Value>(&format!("STREAM.DELETE.{PROBE}"), &nothing()).await {
        Err(Error::Api { err_code: STREAM_NOT_FOUND, .. }) => Ok(()),
        result => result.map(drop),
    }
}

/// Changes the given settings of a stream and keeps all others.
///
/// # Errors
/// The server's refusal.
pub async fn update(connection: &Connection, info: &StreamInfo, changes: &[Difference]) -> Result<(), Error> {
    let mut config = info.config.clone();
    for change in changes {
        config[&change.key] = change.wanted.clone();
    }
    let name = config["name"].as_str().unwrap_or_default().to_owned();
    connection.api::<Value>(&format!("STREAM.UPDATE.{name}"), &config).await.map(drop)
}

/// Completes a restore: sets the original definition, with the log id that the stream has from now on.
pub async fn reveal(connection: &Connection, mut definition: Value, log: &LogId) -> Result<(), Error> {
    definition["metadata"][LOG_KEY] = json!(log.to_json());
    let name = definition["name"].as_str().unwrap_or_default().to_owned();
    connection.api::<Value>(&format!("STREAM.UPDATE.{name}"), &definition).await.map(drop)
}

/// A sequence that a stream stores in its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamNote {
    /// Results up to the sequence were removed.
    Trimmed,
    /// Everything up to the sequence was removed, to be computed again.
    Rebuilt,
}

/// Stores a sequence in a stream's metadata, unless an equal or later one is there.
pub async fn mark(connection: &Connection, stream: Stream, mark: StreamNote, seq: u64) -> Result<(), Error> {
    let mut info = stream_info(connection, stream.name()).await?;
    let key = match mark {
        StreamNote::Trimmed => TRIMMED_KEY,
        StreamNote::Rebuilt => REBUILT_KEY,
    };
    if info.noted(key).is_some_and(|noted: u64| noted >= seq) {
        return Ok(());
    }
    info.config["metadata"][key] = json!(seq.to_string());
    connection.api::<Value>(&format!("STREAM.UPDATE.{stream}"), &info.config).await.map(drop)
}

/// Purges the messages that a purge request selects; returns their number.
pub async fn purge(connection: &Connection, stream: &str, request: &Value) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Purged {
        purged: u64,
    }
    let Purged { purged } = connection.api(&format!("STREAM.PURGE.{stream}"), request).await?;
    Ok(purged)
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
