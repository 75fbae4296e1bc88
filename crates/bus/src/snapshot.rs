//! The last message of each of many subjects, as one consistent read where the server allows it.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::Message;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::connect::Connection;
use crate::error::Error;
use crate::query::{StoredMessage, several};
use crate::reader::{ConsumerPosition, Created, create_consumer, delete_consumer};
use crate::stream::Stream;

/// Upper bound of the subjects of one isolated read. The server's limit is 1,024.
pub const ISOLATED_MAX: u64 = 1_000;
/// Upper bound of the bytes of one isolated read. nats.conf lets the server close a connection with more than twice
/// that pending.
const ISOLATED_BYTES_MAX: usize = 8_000_000;
/// Isolated reads that run concurrently in this process.
static ISOLATED: Semaphore = Semaphore::const_new(2);
/// Messages per pull of a consumer pass; at most 8 MiB with states of the largest size.
const PASS_PULL: usize = 8;
/// Time limit of a pull.
const PASS_MAX: Duration = Duration::from_secs(5);

/// The last message of each matching subject, of which there are at most 1,024, as one consistent read.
pub async fn all_last(connection: &Connection, stream: &str, subject: &str) -> Result<Vec<StoredMessage>, Error> {
    let _permit = isolated().await;
    let found = multi_last(connection, stream, subject).await?;
    found.ok_or_else(|| Error::Unreadable {
        what: format!("the last messages on {subject}"),
        detail: "there are too many".to_owned(),
    })
}

/// Acquires a permit for an isolated read, to be held until the read has ended.
pub async fn isolated() -> SemaphorePermit<'static> {
    ISOLATED.acquire().await.expect("the semaphore is never closed")
}

/// The last message of each matching subject, as one consistent read; `None` when there are too many. The caller holds
/// a permit of [`isolated`].
pub async fn multi_last(
    connection: &Connection,
    stream: &str,
    subject: &str,
) -> Result<Option<Vec<StoredMessage>>, Error> {
    let body = json!({ "multi_last": [subject], "max_bytes": ISOLATED_BYTES_MAX });
    let found = several(connection, stream, &body, &format!("the last messages on {subject}")).await?;
    Ok(found.filter(|found| found.left_out == 0).map(|found| found.messages))
}

/// The last message of any number of subjects, through a consumer. A concurrent commit shows as a changed position.
pub async fn last_per_subject(
    connection: &Connection,
    stream: Stream,
    subject: &str,
) -> Result<Vec<StoredMessage>, Error> {
    let config = json!({
        "deliver_policy": "last_per_subject",
        "ack_policy": "none",
        "mem_storage": true,
        "num_replicas": 1,
        "inactive_threshold": PASS_MAX.as_nanos() as u64,
    });
    let Created { name, pending } = create_consumer(connection, stream, &[subject.to_owned()], config).await?;
    let messages = pull_all(connection, stream, &name, pending as usize).await;
    delete_consumer(connection, stream, &name).await;
    let messages = messages?;
    // A state that was replaced during the pass appears twice; the newer one counts.
    let mut seen = HashSet::new();
    let mut newest: Vec<StoredMessage> =
        messages.into_iter().rev().filter(|message| seen.insert(message.subject.clone())).collect();
    newest.reverse();
    Ok(newest)
}

async fn pull_all(
    connection: &Connection,
    stream: Stream,
    name: &str,
    pending: usize,
) -> Result<Vec<StoredMessage>, Error> {
    let unanswered = || Error::Unanswered { what: format!("messages of {stream}") };
    let client = connection.client();
    let inbox = client.new_inbox();
    let mut subscriber = client.subscribe(inbox.clone()).await.map_err(|_| unanswered())?;
    let mut messages = Vec::with_capacity(pending);
    while messages.len() < pending {
        let batch = PASS_PULL.min(pending - messages.len());
        let body = json!({ "batch": batch, "expires": PASS_MAX.as_nanos() as u64 }).to_string();
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        client.publish_with_reply(subject, inbox.clone(), body.into()).await.map_err(|_| unanswered())?;
        let deadline = Instant::now() + PASS_MAX;
        for _ in 0..batch {
            let message = tokio::time::timeout_at(deadline, subscriber.next()).await;
            messages.push(consumed(message.ok().flatten().ok_or_else(unanswered)?).ok_or_else(unanswered)?);
        }
    }
    Ok(messages)
}

/// Parses a message that a consumer delivered; `None` for a status.
fn consumed(message: Message) -> Option<StoredMessage> {
    let place = ConsumerPosition::parse(message.reply.as_ref().filter(|_| message.status.is_none())?)?;
    let ConsumerPosition { stream_seq: seq, server_ms, .. } = place;
    let headers = message.headers.unwrap_or_default();
    Some(StoredMessage { seq, subject: message.subject.to_string(), payload: message.payload, headers, server_ms })
}
