//! Pull consumers: creation, names, descriptions, positions of delivered messages.

use std::time::Duration;

use async_nats::Message;
use rand::Rng;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::connect::{Connection, nothing};
use crate::error::Error;
use crate::stream::Stream;

/// The server deletes a consumer this long after the last request of its process.
const INACTIVE: Duration = Duration::from_secs(5);

/// The server's description of a consumer.
#[derive(Debug, Deserialize)]
pub(super) struct ConsumerInfo {
    pub(super) num_pending: u64,
    pub(super) delivered: Delivered,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delivered {
    pub(super) consumer_seq: u64,
}

/// The user that reads history with a password that may be public. Its permissions name each consumer that it may
/// create (deploy/nats/guests.conf), so it cannot use up the consumers of a stream.
pub(super) const SHARED_USER: &str = "reader";
/// Consumers per stream that this user may have at a time: `reader-1` and so on.
const SHARED_CONSUMERS: u32 = 32;

/// Candidate names for a consumer. A shared user tries each name that it may use, in random order. Any other user takes
/// a fresh name that no server can remember.
fn consumer_names(connection: &Connection, stream: Stream) -> Vec<String> {
    if connection.user() != SHARED_USER {
        return vec![format!("{}-{:016x}", stream.root(), rand::rng().next_u64())];
    }
    let mut names: Vec<_> = (1..=SHARED_CONSUMERS).map(|number| format!("{SHARED_USER}-{number}")).collect();
    names.shuffle(&mut rand::rng());
    names
}

/// A consumer that was created.
pub(crate) struct Created {
    pub(crate) name: String,
    /// Messages that are pending for it.
    pub(crate) pending: u64,
}

/// Creates a consumer of the given subjects.
pub(crate) async fn create_consumer(
    connection: &Connection,
    stream: Stream,
    filters: &[String],
    config: Value,
) -> Result<Created, Error> {
    const NAME_IN_USE: [u32; 2] = [10_013, 10_148];
    for name in consumer_names(connection, stream) {
        match create_named(connection, stream, &name, filters, config.clone()).await {
            Ok(pending) => return Ok(Created { name, pending }),
            Err(Error::Api { err_code, .. }) if NAME_IN_USE.contains(&err_code) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoConsumer { user: connection.user().to_owned(), stream: stream.name().to_owned() })
}

async fn create_named(
    connection: &Connection,
    stream: Stream,
    name: &str,
    filters: &[String],
    mut config: Value,
) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Answer {
        num_pending: u64,
    }
    config["name"] = json!(name);
    // A nonce per process: for equal configurations the server would return the same consumer to both.
    config["metadata"] = json!({ "nonce": format!("{:016x}", rand::rng().next_u64()) });
    let call = if let [filter] = filters {
        config["filter_subject"] = json!(filter);
        format!("CONSUMER.CREATE.{stream}.{name}.{filter}")
    } else {
        config["filter_subjects"] = json!(filters);
        format!("CONSUMER.CREATE.{stream}.{name}")
    };
    let body = json!({ "stream_name": stream.name(), "config": config, "action": "create" });
    let answer: Answer = connection.api(&call, &body).await?;
    Ok(answer.num_pending)
}

/// Counts the messages on the given subjects at or after `from`.
///
/// # Errors
/// Any error of [`Connection::api`].
pub async fn count_from(connection: &Connection, stream: Stream, subjects: &[String], from: u64) -> Result<u64, Error> {
    let Created { name, pending } = create_consumer(connection, stream, subjects, reading_from(from)).await?;
    delete_consumer(connection, stream, &name).await;
    Ok(pending)
}

/// Configuration of a consumer that reads from a sequence and is deleted soon after its process has ended.
pub(super) fn reading_from(from: u64) -> Value {
    json!({
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": from.max(1),
        "ack_policy": "none",
        "replay_policy": "instant",
        "mem_storage": true,
        "num_replicas": 1,
        "inactive_threshold": INACTIVE.as_nanos() as u64,
    })
}

/// Deletes a consumer that is no longer needed; otherwise the server deletes it after its inactivity threshold.
pub(crate) async fn delete_consumer(connection: &Connection, stream: Stream, name: &str) {
    if let Err(error) = connection.api::<Value>(&format!("CONSUMER.DELETE.{stream}.{name}"), &nothing()).await {
        tracing::debug!(%error, "consumer not deleted");
    }
}

/// Position of a delivered message, from its reply subject
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, to which newer servers may add
/// the prefix `$JS.ACK.<domain>.<account>.`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConsumerPosition {
    pub(crate) stream_seq: u64,
    pub(super) consumer_seq: u64,
    /// Time of storing by the server's clock, in milliseconds.
    pub(crate) server_ms: i64,
    pub(super) pending: u64,
}

impl ConsumerPosition {
    pub(super) fn of(message: &Message) -> Option<Self> {
        Self::parse(message.reply.as_ref()?)
    }

    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let skipped = match tokens.len() {
            9 => 4,
            11 | 12 => 6,
            _ => return None,
        };
        let number = |idx: usize| tokens.get(skipped + idx)?.parse::<u64>().ok();
        let server_ms = tokens.get(skipped + 3)?.parse::<i64>().ok()?.div_euclid(1_000_000);
        Some(Self { stream_seq: number(1)?, consumer_seq: number(2)?, server_ms, pending: number(4)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_reply_subjects_are_read() {
        let place = Some(ConsumerPosition { stream_seq: 7, consumer_seq: 3, server_ms: 1_700_000_000_123, pending: 5 });
        assert_eq!(ConsumerPosition::parse("$JS.ACK.FEED.feed-1.1.7.3.1700000000123999999.5"), place);
        assert_eq!(ConsumerPosition::parse("$JS.ACK._.hash.FEED.feed-1.1.7.3.1700000000123999999.5"), place);
        assert_eq!(ConsumerPosition::parse("$JS.ACK._.hash.FEED.feed-1.1.7.3.1700000000123999999.5.rnd"), place);
        assert_eq!(ConsumerPosition::parse("_INBOX.x"), None);
    }
}
