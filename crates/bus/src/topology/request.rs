//! Requests that read, create, change and purge streams.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::definition::{Limits, checkpointed, feed};
use super::difference::{SettingDifference, differences};
use super::info::StreamInfo;
use super::metadata::{LOG_KEY, REBUILT_KEY, TRIMMED_KEY};
use crate::connect::{Connection, nothing};
use crate::error::Error;
use crate::protocol::LogId;
use crate::retry::Backoff;
use crate::stream::Stream;

/// Limit for retries of a stream creation that fails for a passing reason.
const CREATE_MAX: Duration = Duration::from_secs(2);
/// Time that three servers may take to discover each other.
const PEERS_MAX: Duration = Duration::from_secs(10);
const CREATE_RETRY: Backoff = Backoff::constant(Duration::from_millis(50));
/// Temporary stream that tests whether the server has enough storage.
const PROBE: &str = "CANDLEWIRE_PROBE";
const PROBE_SUBJECT: &str = "candlewire.probe";
/// JetStream error code: stream not found.
const STREAM_NOT_FOUND: u32 = 10059;

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
    let chosen = |difference: &SettingDifference| {
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
    let passes = |error: &Error, elapsed: Duration| match error {
        Error::Api { err_code: NO_FOLDER, .. } => elapsed < CREATE_MAX,
        Error::Api { err_code: NO_PEERS, .. } => elapsed < PEERS_MAX,
        _ => false,
    };
    CREATE_RETRY.retry_while(passes, || connection.api::<Value>(&call, definition)).await.map(drop)
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
pub async fn update(connection: &Connection, info: &StreamInfo, changes: &[SettingDifference]) -> Result<(), Error> {
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
