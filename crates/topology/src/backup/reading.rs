//! Reads a stream to its end while others write to it.

use std::time::Duration;

use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID};
use bus::reader::{Delivery, Form, Reader, ReaderEvent, Selection};
use bus::stream::Stream;
use bus::topology::{StreamInfo, stream_info};
use bus::{Connection, query};
use tokio::time::Instant;

use super::error::BackupError;
use super::file::Record;

/// Every stored subject.
const ALL: &str = ">";
/// How long to chase the end of a stream. Reading is faster than committing; this is for a busy machine.
const CHASE_MAX: Duration = Duration::from_secs(60);

/// Reads all messages of a record stream. A message replaced before it was read is followed by its replacement, so the
/// copy is complete only at the end of the stream; and since a commit is one batch, only after the last message of a
/// batch. The stream itself is asked for its end: the pending count of a delivery may be a moment old, during which the
/// next commit can replace an unread state.
///
/// # Errors
/// Every error of reading, and every error of `each`.
pub(super) async fn records(
    connection: &Connection,
    stream: Stream,
    info: &StreamInfo,
    mut each: impl FnMut(&Record) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let mut reader =
        Reader::start_as(connection, Selection { stream, filters: vec![ALL.to_owned()], from: 1 }, Form::Stored);
    let mut chase: Option<Instant> = None;
    loop {
        let delivery = match reader.next().await? {
            ReaderEvent::Attached { pending: 0, .. } => return Ok(()),
            ReaderEvent::Attached { .. } => continue,
            ReaderEvent::Message(delivery) => delivery,
        };
        each(&Record::new(&delivery, false))?;
        let is_past = delivery.seq >= info.state.last_seq;
        // Messages of FEED replace nothing.
        if is_past && stream == Stream::Feed {
            return Ok(());
        }
        if delivery.pending == 0
            && ends_batch(&delivery)
            && stream_info(connection, stream.name()).await?.state.last_seq == delivery.seq
        {
            return Ok(());
        }
        if is_past && chase.get_or_insert_with(Instant::now).elapsed() > CHASE_MAX {
            return Err(BackupError::Outrun { stream: stream.name().to_owned() });
        }
    }
}

/// Whether the message is the last of its batch.
fn ends_batch(delivery: &Delivery) -> bool {
    let has = |name| delivery.headers.as_ref().is_some_and(|headers| headers.get(name).is_some());
    has(NATS_BATCH_COMMIT) || !has(NATS_BATCH_ID)
}

/// Reads all messages of a bucket in the same way, one message at a time: buckets are small or hold large messages.
///
/// # Errors
/// As [`records`].
pub(super) async fn bucket(
    connection: &Connection,
    info: &StreamInfo,
    mut each: impl FnMut(&Record) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let name = info.config["name"].as_str().unwrap_or_default();
    let keeps_newest = info.config["max_msgs_per_subject"] == 1;
    let mut from = 1;
    while let Some(found) = query::next_in(connection, name, ALL, from).await? {
        let message = found.message;
        from = message.seq + 1;
        let (subject, headers) = (message.subject.into(), Some(message.headers));
        let (payload, stored_ms) = (message.payload, message.server_ms);
        let delivery = Delivery { seq: message.seq, subject, headers, payload, stored_ms, pending: 0 };
        each(&Record::new(&delivery, keeps_newest))?;
    }
    Ok(())
}
