//! Sends one atomic batch: its messages in order, the last one as the request that commits all of them.

use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use bytes::Bytes;
use rand::Rng;
use serde::Deserialize;

use crate::connect::{Connection, parse_answer};
use crate::error::Error;

/// Most messages in a batch: the server's limit.
pub const MESSAGES_MAX: usize = 1_000;
/// Most bytes of payload in a batch. One of this size takes about 60 ms.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Header of a message that replaces the earlier messages of its subject.
pub const ROLLUP_HEADER: &str = "Nats-Rollup";

/// A message of a batch as it is sent, with batch id and number in its headers.
pub type Numbered = (String, HeaderMap, Bytes);

/// The server's answer to a stored batch.
#[derive(Debug, Deserialize)]
pub struct BatchAck {
    /// Stream sequence of its last message.
    pub seq: u64,
    /// Number of messages in the batch.
    pub count: u64,
}

/// Returns 128 random bits as text, the prefix of batch ids. Batches of two senders with one id would mix.
pub fn unguessable() -> String {
    let mut random = [0; 16];
    rand::rng().fill_bytes(&mut random);
    format!("{:032x}", u128::from_be_bytes(random))
}

/// Sets the batch id of a message and its number in the batch, counted from 1.
pub fn number(headers: &mut HeaderMap, id: &str, number: u64) {
    headers.insert(NATS_BATCH_ID, id);
    headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
}

/// Sends numbered messages once, at least one. `what` names them in errors.
///
/// # Errors
/// [`Error::Unanswered`] and other retryable errors, after which it is unknown whether the batch is stored; a refusal
/// by the server.
pub async fn send(connection: &Connection, what: &str, mut batch: Vec<Numbered>) -> Result<BatchAck, Error> {
    let unanswered = || Error::Unanswered { what: what.to_owned() };
    let (subject, mut headers, payload) = batch.pop().expect("a batch holds a message");
    connection.connected().await;
    let mut epoch = connection.epoch();
    for (subject, headers, payload) in batch {
        publish(connection, subject, headers, payload).await?;
    }
    if epoch.has_changed().unwrap_or(true) {
        return Err(unanswered());
    }
    headers.insert(NATS_BATCH_COMMIT, "1");
    let answer = tokio::select! {
        answer = connection.request(subject, Some(headers), payload) => answer?,
        _ = epoch.changed() => return Err(unanswered()),
    };
    parse_answer(what, &answer.payload).map_err(|error| match error {
        // An unreadable answer proves nothing: the stream itself tells.
        Error::Unreadable { .. } => unanswered(),
        error => error,
    })
}

async fn publish(connection: &Connection, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), Error> {
    let sent = connection.client().publish_with_headers(subject, headers, payload).await;
    sent.map_err(|error| match error.kind() {
        async_nats::PublishErrorKind::Send => Error::Unanswered { what: "a message of a batch".to_owned() },
        _ => Error::Unreadable { what: "a message of a batch".to_owned(), detail: error.to_string() },
    })
}
