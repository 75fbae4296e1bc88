//! THE page: every stream, its subjects, limits and retention, and which step turns which stream into which.

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
    /// Everything that enters: ticks, heartbeats, gaps. Written by the producer.
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
/// The stream behind it.
/// The stream of that object store.
pub const ARTIFACTS_STREAM: &str = "OBJ_ARTIFACTS";

/// The key-value bucket that says who runs which partition of which step.
pub const LEASES: &str = "LEASES";
/// The stream behind it.
pub const LEASES_STREAM: &str = "KV_LEASES";

/// The key-value bucket in which readers that keep their place elsewhere say how far they are.
pub const READERS: &str = "READERS";

/// The stream of that bucket.
pub const READERS_STREAM: &str = "KV_READERS";

/// The group of the services that archive MARKET, train and forecast: they take turns.
pub const ARCHIVER: &str = "trainer.archive";

impl Stream {
    /// Every stream of records, upstream first.
    pub const ALL: [Self; 4] = [Self::Feed, Self::Market, Self::Stats, Self::Forecast];

    /// Those that hold checkpoints beside their results.
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

    /// The first token of its stored subjects.
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

/// A step: what it reads and where it stores results, states and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The binary that runs it.
    pub service: &'static str,
    /// What it reads.
    pub input: Stream,
    /// Which kinds of it.
    pub kinds: &'static [RecordKind],
    /// Where its results go, with its checkpoints.
    pub output: Stream,
    /// Whether a pipeline can do without it. Until it has run for the first time nobody waits for it, and nothing is kept
    /// for it.
    pub is_optional: bool,
    /// Whether people watch what each live input gives, so that its commit must not wait for those of others.
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

/// The windows of the aggregator.
pub const STATS_WINDOWS: [Window; 5] =
    [Window::FiveMinutes, Window::QuarterHour, Window::Hour, Window::Day, Window::HourEveryHalf];

/// What an operator chooses when the streams are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Partitions, fixed for the life of the streams.
    pub partitions: u32,
    /// Copies of each stream: 1, or 3 on a cluster.
    pub replicas: u32,
    /// How long FEED keeps what entered, in days of store time.
    pub feed_days: u64,
    /// Most bytes of FEED; the oldest go first.
    pub feed_bytes: u64,
    /// Most bytes of MARKET; full means that the stream-processor waits.
    pub market_bytes: u64,
    /// Most bytes of STATS; full means that the aggregator waits.
    pub stats_bytes: u64,
    /// Most bytes of FORECAST; full means that the trainer waits.
    pub forecast_bytes: u64,
    /// Most bytes of the object store.
    pub artifacts_bytes: u64,
}

/// One gibibyte.
pub const GIB: u64 = 1 << 30;
/// Most partitions: each is a reader and a position in every step.
pub const PARTITIONS_MAX: u32 = 256;
const SECOND_NS: u64 = 1_000_000_000;
/// How long FEED remembers message ids. Longer than a publisher keeps sending the same message after an outage began.
const DUPLICATE_WINDOW_NS: u64 = 600 * SECOND_NS;
/// A single server stops at 1,000 consumers of a stream unless the stream says otherwise.
const CONSUMERS_MAX: i64 = 5_000;
/// A consumer without requests is deleted after this long at most, and the server refuses one that wants more: consumers of a
/// reader that has left must not keep others out.
const CONSUMER_INACTIVE_MAX_NS: u64 = 300 * SECOND_NS;
/// Room for thousands of readers.
const READERS_BYTES_MAX: u64 = 1 << 20;
/// Room for the leases of every partition of every step, many times over.
const LEASES_BYTES_MAX: u64 = 16 << 20;
/// How long a stream that cannot be created for a passing reason is tried.
const CREATE_MAX: Duration = Duration::from_secs(2);
/// How long three servers may take to know of each other.
const PEERS_MAX: Duration = Duration::from_secs(10);
const CREATE_AGAIN: Duration = Duration::from_millis(50);
/// A stream that exists for a moment, to learn whether there is room.
const PROBE: &str = "CANDLEWIRE_PROBE";
const PROBE_SUBJECT: &str = "candlewire.probe";
/// The server's word for a stream that does not exist.
const STREAM_NOT_FOUND: u32 = 10059;
/// Where a stream keeps the number of partitions.
const PARTITIONS_KEY: &str = "candlewire.partitions";
/// Where a stream keeps up to which sequence its results were trimmed.
const TRIMMED_KEY: &str = "candlewire.trimmed";
/// Where a stream keeps after which sequence it was made anew.
const REBUILT_KEY: &str = "candlewire.rebuilt";
/// Where a restored stream keeps which log it was, and that it was restored.
const LOG_KEY: &str = "candlewire.log";
/// What a stream carries while it is being restored.
pub const RESTORING_KEY: &str = "candlewire.restoring";
/// What the server's own notes in a stream's metadata begin with.
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

/// The definitions of every JetStream stream, in the server's own form.
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
        // No step judges other kinds, and the step that reads FEED reads all of a partition.
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

/// A stream that holds checkpoints beside its results: no age limit, and full means wait, because a limit that deletes a
/// checkpoint has everything processed again.
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

/// Leases do not expire here: who waits for one sees for itself that nobody renews it, by its own clock and only while
/// the server answers. So a server that was away takes no lease from a living owner.
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

/// The number of partitions of a definition.
pub fn partitions_of(definition: &Value) -> Option<u32> {
    definition.get("metadata")?.get(PARTITIONS_KEY)?.as_str()?.parse().ok()
}

/// What the server says of a stream.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    /// When it was created, as the server writes it: the identity of the log.
    pub created: String,
    /// Its configuration in the server's own form.
    pub config: Value,
    /// What it holds.
    pub state: StreamState,
    /// Who has copies of it, where there are several servers.
    #[serde(default)]
    cluster: Option<Group>,
}

/// The servers that have copies of a stream.
#[derive(Debug, Clone, Deserialize)]
struct Group {
    leader: Option<String>,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// First sequence that exists; when empty, the next one.
    pub first_seq: u64,
    /// Last sequence given out.
    pub last_seq: u64,
}

impl StreamInfo {
    /// The number of partitions that the stream was created with.
    pub fn partitions(&self) -> Option<u32> {
        self.noted(PARTITIONS_KEY)
    }

    /// Which log it is.
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

    /// What its metadata says of the log is not in the form of this version.
    fn restored_otherwise(&self, noted: &str) -> Error {
        let stream = self.config["name"].as_str().unwrap_or_default();
        let detail = format!(
            "another version of candlewire restored the stream and noted {noted:?}: go on with that version, or give the \
             streams up (stop nats-server, move its store away, start it again and run `topology apply`)"
        );
        Error::Unreadable { what: format!("{LOG_KEY} of stream {stream}"), detail }
    }

    /// Whether a restore fills it, or did not come to its end.
    pub fn is_being_restored(&self) -> bool {
        self.note(RESTORING_KEY).is_some()
    }

    /// Its definition, from which it can be made again: without what the server noted itself.
    pub fn definition(&self) -> Value {
        let mut definition = self.config.clone();
        if let Some(metadata) = definition["metadata"].as_object_mut() {
            metadata.retain(|key, _| !key.starts_with(SERVERS_OWN));
        }
        definition
    }

    /// The first sequence from which on no result was removed. Once a stream was trimmed the server's own figure does not
    /// tell: checkpoints before it stay, and those behind it are replaced.
    pub fn begins(&self) -> u64 {
        let trimmed: Option<u64> = self.noted(TRIMMED_KEY);
        trimmed.map_or(self.state.first_seq, |trimmed| self.origin().max(trimmed + 1))
    }

    /// Whether results were trimmed: by us, and so none that a reader had not committed.
    pub fn is_trimmed(&self) -> bool {
        self.noted::<u64>(TRIMMED_KEY).is_some()
    }

    /// The sequence that its very first result had, since it was made anew if it was.
    pub fn origin(&self) -> u64 {
        self.noted(REBUILT_KEY).map_or(1, |rebuilt: u64| rebuilt + 1)
    }

    fn noted<T: FromStr>(&self, key: &str) -> Option<T> {
        self.note(key)?.parse().ok()
    }

    fn note(&self, key: &str) -> Option<&str> {
        self.config.get("metadata")?.get(key)?.as_str()
    }

    /// The server that leads it, which has answered; `None` where there is only one.
    pub fn leader(&self) -> Option<&str> {
        self.cluster.as_ref()?.leader.as_deref()
    }

    /// Whether nothing is behind a message that came last: a stream of several copies is read from one that may lag.
    pub fn is_end(&self, delivery: &Delivery) -> bool {
        delivery.pending == 0 && self.replicas() == 1
    }

    /// How many servers hold a copy of it.
    pub fn replicas(&self) -> u64 {
        self.config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1)
    }

    /// Limit of its bytes, if it has one.
    pub fn max_bytes(&self) -> Option<u64> {
        self.config.get("max_bytes").and_then(Value::as_u64).filter(|&bytes| bytes > 0)
    }

    /// Age limit in nanoseconds; 0 for none.
    pub fn max_age_ns(&self) -> u64 {
        self.config.get("max_age").and_then(Value::as_u64).unwrap_or_default()
    }
}

/// Asks the server about a stream, by its JetStream name.
///
/// # Errors
/// [`Error::StreamMissing`] when it does not exist; [`Error::Restoring`]; whatever a request can meet.
pub async fn stream_info(connection: &Connection, name: &str) -> Result<StreamInfo, Error> {
    let info = any_stream_info(connection, name).await?;
    if info.is_being_restored() { Err(Error::Restoring { stream: name.to_owned() }) } else { Ok(info) }
}

/// Asks about a stream that may be in the middle of a restore.
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

/// Checks that a stream exists in the form that this version needs, whatever its limits; returns what the server says.
///
/// # Errors
/// [`Error::StreamMissing`], [`Error::StreamDiffers`], or whatever a request can meet.
pub async fn require(connection: &Connection, stream: Stream) -> Result<StreamInfo, Error> {
    let info = stream_info(connection, stream.name()).await?;
    let refuse = |difference: String| Error::StreamDiffers { stream: stream.name().to_owned(), difference };
    let partitions = info.partitions().ok_or_else(|| refuse("it names no number of partitions".to_owned()))?;
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
/// Whatever the server refuses.
pub async fn create(connection: &Connection, definition: &Value) -> Result<(), Error> {
    /// The server has removed its last stream a moment ago, and clears away the folder in which the new one should be.
    const NO_FOLDER: u32 = 10049;
    /// Of three servers that have just started one does not know yet that another is there.
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

/// Asks a single server whether it can set aside so many bytes more for streams of so many copies. It can when it takes a
/// stream of that size, which is removed again at once. Several servers know of each other's room with some delay: there
/// the first stream that does not fit is refused.
///
/// # Errors
/// [`Error::NoRoom`]; [`Error::NoCluster`]; whatever a request can meet.
pub async fn check_room(connection: &Connection, bytes: u64, replicas: u32) -> Result<(), Error> {
    const NO_CLUSTER: u32 = 10074;
    if connection.client().server_info().cluster.is_some() {
        return Ok(());
    }
    // One that was left behind holds room of its own.
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

/// Changes the named settings of a stream and leaves all others as they are.
///
/// # Errors
/// Whatever the server refuses.
pub async fn update(connection: &Connection, info: &StreamInfo, changes: &[Difference]) -> Result<(), Error> {
    let mut config = info.config.clone();
    for change in changes {
        config[&change.key] = change.wanted.clone();
    }
    let name = config["name"].as_str().unwrap_or_default().to_owned();
    connection.api::<Value>(&format!("STREAM.UPDATE.{name}"), &config).await.map(drop)
}

/// Makes a restored stream what it was, as the log that it is from now on.
pub async fn reveal(connection: &Connection, mut definition: Value, log: &LogId) -> Result<(), Error> {
    definition["metadata"][LOG_KEY] = json!(log.to_json());
    let name = definition["name"].as_str().unwrap_or_default().to_owned();
    connection.api::<Value>(&format!("STREAM.UPDATE.{name}"), &definition).await.map(drop)
}

/// What a stream notes of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamNote {
    /// Results up to a sequence are gone.
    Trimmed,
    /// Everything up to a sequence is gone, and made anew.
    Rebuilt,
}

/// Notes a sequence in a stream, unless it has noted as much before.
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

/// Deletes what a purge request names of a stream, and returns how many messages went.
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
        // A checkpoint before what was trimmed stays; those behind it were replaced.
        for first_seq in [3, 60] {
            assert_eq!(told(info(json!({ TRIMMED_KEY: "41" }), first_seq)), (42, 1, LogId::new("then")));
        }
        let rebuilt = json!({ TRIMMED_KEY: "41", REBUILT_KEY: "50" });
        assert_eq!(told(info(rebuilt, 51)), (51, 51, LogId::new("then").rebuilt(50)));
        let restored = LogId::new("before").restored(90, "then");
        let noted = json!({ LOG_KEY: restored.to_json(), REBUILT_KEY: "95" });
        assert_eq!(info(noted, 96).log().unwrap(), restored.rebuilt(95));
        // In the words of an older version.
        let refused = info(json!({ LOG_KEY: "before, restored up to sequence 90 on then" }), 1).log().unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("another version of candlewire") && refused.contains("`topology apply`"), "{refused}");
    }
}
