//! Publishes into FEED: in order, acknowledged, without duplicates.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use market::Instrument;
use serde::Deserialize;

use crate::batch::{self, Numbered};
use crate::codec::{Encoder, SCHEMA_HEADER};
use crate::connect::{Connection, parse_answer};
use crate::error::{Disposition, Error};
use crate::record_kind::RecordKind;
use crate::reminder::Reminder;
use crate::retry::Backoff;
use crate::stream::Stream;
use crate::subject;

const RETRY: Backoff = Backoff::new(Duration::from_millis(40), Duration::from_millis(500));
/// Delay before a full stream is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A message to be published to FEED.
#[derive(Debug, Clone)]
pub struct FeedMessage {
    /// Its kind.
    pub kind: RecordKind,
    /// Its instrument.
    pub instrument: Instrument,
    /// One or more lines.
    pub payload: Bytes,
    /// Message id for deduplication, equal for equal content: source, instrument, first and last event time, count; for
    /// a flush also the id of the ticks before it.
    pub id: String,
}

/// The acknowledgement of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    /// Sequence of the message, or of its first copy.
    pub seq: u64,
    /// Whether FEED had the message already.
    #[serde(default)]
    pub duplicate: bool,
}

/// Publishes one message and returns when FEED has stored it. After a timeout, a lost connection or a full stream it
/// sends the same bytes again with the same id, so no message is lost, duplicated or overtaken; await one message of an
/// instrument before publishing its next. Retries without a limit during an outage; cancel it to stop.
///
/// # Errors
/// A message that is too large, a missing permission, an invalid request.
pub async fn publish(connection: &Connection, message: &FeedMessage) -> Result<Receipt, Error> {
    let subject = subject::feed(message.kind, &message.instrument);
    let (headers, payload) = sent(message, &mut Encoder::default());
    let mut delays = RETRY.delays();
    let mut reminder = Reminder::default();
    loop {
        let answer = connection.request(subject.clone(), Some(headers.clone()), payload.clone()).await;
        let error = match answer.and_then(|answer| parse_answer::<Receipt>("a publish to FEED", &answer.payload)) {
            Ok(receipt) => {
                reminder.settle("FEED takes messages");
                return Ok(receipt);
            }
            Err(error) => error,
        };
        let delay = match error.disposition() {
            Disposition::Stop => return Err(error),
            Disposition::RetrySlowly => {
                delays.skip_to_max();
                FULL_RETRY
            }
            Disposition::Retry => delays.next_delay(),
        };
        reminder.warn(&error);
        tokio::time::sleep(delay).await;
        connection.connected().await;
    }
}

/// Publishes messages in order and returns when FEED has stored all of them. Several messages go as one atomic batch,
/// which costs the server one sync of its disk instead of one per message. If the batch is not stored, for example
/// because FEED has one of its messages already, they are published one by one as [`publish`] does. At most
/// [`MESSAGES_MAX`](crate::batch::MESSAGES_MAX) messages and [`BYTES_MAX`](crate::batch::BYTES_MAX) bytes.
///
/// # Errors
/// As [`publish`]; messages before the one that failed are stored.
pub async fn publish_all(connection: &Connection, messages: &[FeedMessage]) -> Result<Vec<Receipt>, Error> {
    if messages.len() > 1 {
        match publish_batch(connection, messages).await {
            Ok(last) => {
                let first = last + 1 - messages.len() as u64;
                return Ok((first..=last).map(|seq| Receipt { seq, duplicate: false }).collect());
            }
            // The batch may be stored all the same; then each message is found to be a duplicate.
            Err(error) => tracing::debug!(%error, count = messages.len(), "publishing one by one"),
        }
    }
    let mut receipts = Vec::with_capacity(messages.len());
    for message in messages {
        receipts.push(publish(connection, message).await?);
    }
    Ok(receipts)
}

/// Publishes messages as one batch, once; returns the sequence of the last one.
async fn publish_batch(connection: &Connection, messages: &[FeedMessage]) -> Result<u64, Error> {
    let id = batch::unguessable();
    let mut encoder = Encoder::default();
    let numbered = |(number, message): (u64, &FeedMessage)| -> Result<Numbered, Error> {
        let subject = subject::feed(message.kind, &message.instrument);
        let (mut headers, payload) = sent(message, &mut encoder);
        batch::number(&mut headers, &id, number);
        connection.check_size(&subject, Some(&headers), &payload)?;
        Ok((subject, headers, payload))
    };
    let batch = (1..).zip(messages).map(numbered).collect::<Result<Vec<_>, _>>()?;
    Ok(batch::send(connection, "a batch to FEED", batch).await?.seq)
}

/// Headers and encoded payload.
fn sent(message: &FeedMessage, encoder: &mut Encoder) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message.id.as_str());
    headers.insert(async_nats::header::NATS_EXPECTED_STREAM, Stream::Feed.name());
    headers.insert(SCHEMA_HEADER, message.kind.schema());
    let payload = encoder.encode(&mut headers, &message.payload);
    (headers, payload)
}
