//! Into FEED: ordered, acknowledged, and never twice.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use market::Instrument;
use serde::Deserialize;

use crate::batch::{self, Numbered};
use crate::codec::{Encoder, SCHEMA_HEADER};
use crate::connect::{Connection, Reminder, parse_answer};
use crate::error::{Disposition, Error};
use crate::subject::{self, RecordKind};

const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long to wait before a full stream is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A message on its way into FEED.
#[derive(Debug, Clone)]
pub struct FeedMessage {
    /// What it holds.
    pub kind: RecordKind,
    /// Of which instrument.
    pub instrument: Instrument,
    /// One or more lines.
    pub payload: Bytes,
    /// The same for the same content, so that a second copy is dropped: source, instrument, first and last event time,
    /// count; of a flush also the id of the ticks before it.
    pub id: String,
}

/// FEED has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    /// Its sequence, or that of the first copy.
    pub seq: u64,
    /// FEED had it already.
    #[serde(default)]
    pub duplicate: bool,
}

/// Publishes one message and returns when FEED has stored it. After a time-out, a lost connection or a full stream the
/// same bytes go again with the same id, so nothing is lost, doubled or overtaken: await one message of an instrument
/// before publishing its next. Never gives up on an outage; cancel it to stop.
///
/// # Errors
/// What sending again cannot mend: a message that is too large, a missing permission, a request that is wrong.
pub async fn publish(connection: &Connection, message: &FeedMessage) -> Result<Receipt, Error> {
    let subject = subject::feed(message.kind, &message.instrument);
    let (headers, payload) = sent(message, &mut Encoder::default());
    let mut delay = RETRY_MIN;
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
        match error.disposition() {
            Disposition::Stop => return Err(error),
            Disposition::RetrySlowly => delay = FULL_RETRY,
            Disposition::Retry => delay = (delay * 2).min(RETRY_MAX),
        }
        reminder.warn(&error);
        tokio::time::sleep(delay).await;
        connection.connected().await;
    }
}

/// Publishes messages in order and returns when FEED has stored all of them: several as one atomic batch, which costs the
/// server one sync of its disk instead of one for each. Whatever keeps the batch from being stored, such as a message
/// that FEED has already, has them published one after the other, as [`publish`] does. At most
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
            // It may be stored all the same: then each of them is found to be there.
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

/// Headers and payload as they go to the server.
fn sent(message: &FeedMessage, encoder: &mut Encoder) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message.id.as_str());
    headers.insert(async_nats::header::NATS_EXPECTED_STREAM, crate::topology::Stream::Feed.name());
    headers.insert(SCHEMA_HEADER, message.kind.schema());
    let payload = encoder.encode(&mut headers, &message.payload);
    (headers, payload)
}
