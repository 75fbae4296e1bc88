//! Loader: stores messages at their original sequences.
//!
//! During loading a stream listens only to private subjects, so that publishers and republishing do not reach it, and
//! says so in its metadata. Sequences without a message are filled with fillers, which are purged at the end.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SEQUENCE;
use bus::Connection;
use bus::batch::{self, BYTES_MAX, MESSAGES_MAX};
use bus::error::{Disposition, Error};
use bus::stored_time::STORED_HEADER;
use bus::stream::Stream;
use bus::subject::{restored, restored_all};
use bus::topology::{RESTORING_KEY, StreamInfo, any_stream_info, create, purge};
use bytes::Bytes;
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::BackupError;
use super::file::Record;

/// Subject token of messages that only occupy a sequence.
const FILLER: &str = "filler";
/// How long a batch is retried: longer than three servers take to elect a leader.
const RETRY_FOR: Duration = Duration::from_secs(60);
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Creates the stream of a definition: empty, hidden, and starting at its first sequence.
pub(super) async fn hidden(connection: &Connection, definition: &Value, first_seq: u64) -> Result<(), Error> {
    let name = definition["name"].as_str().unwrap_or_default();
    let hidden = json!({
        "name": name,
        "subjects": [restored_all(name)],
        "subject_transform": { "src": restored_all(name), "dest": ">" },
        "storage": "file",
        "retention": "limits",
        "num_replicas": definition["num_replicas"],
        "max_bytes": definition["max_bytes"],
        "discard": "new",
        "first_seq": first_seq,
        "allow_direct": true,
        "allow_atomic": true,
        "metadata": { RESTORING_KEY: "a restore is running, or was interrupted" },
    });
    create(connection, &hidden).await
}

/// Fills a hidden stream.
pub(super) struct Loader<'a> {
    connection: &'a Connection,
    stream: &'a str,
    /// Random prefix of this restore: batch ids must be unique.
    prefix: String,
    batches: u64,
    /// Messages of the next batch.
    batch: Vec<(String, HeaderMap, Bytes)>,
    batch_bytes: usize,
    /// Last sequence of the stream.
    stored: u64,
}

impl<'a> Loader<'a> {
    /// Starts with a stream whose next sequence is `first_seq`.
    pub(super) fn new(connection: &'a Connection, stream: &'a str, first_seq: u64) -> Self {
        let prefix = format!("{:016x}", rand::rng().next_u64());
        let stored = first_seq - 1;
        Self { connection, stream, prefix, batches: 0, batch: Vec::new(), batch_bytes: 0, stored }
    }

    /// Stores a message at its sequence, which is greater than all before.
    pub(super) async fn put(&mut self, record: Record) -> Result<(), BackupError> {
        self.fill_to(record.seq - 1).await?;
        let mut headers = HeaderMap::new();
        for (name, value) in &record.headers {
            headers.append(name.as_str(), value.as_str());
        }
        if self.stream == Stream::Feed.name() {
            // FEED's time of storing decides whether a tick counts as from the future, also when the tick is judged
            // again.
            headers.insert(STORED_HEADER, record.stored_ms.to_string());
        }
        self.push(restored(self.stream, &record.subject), headers, record.payload).await
    }

    /// Fills all sequences up to this one.
    pub(super) async fn fill_to(&mut self, seq: u64) -> Result<(), BackupError> {
        while self.stored + (self.batch.len() as u64) < seq {
            self.push(restored(self.stream, FILLER), HeaderMap::new(), Bytes::new()).await?;
        }
        Ok(())
    }

    /// Sends the last batch and purges the fillers.
    pub(super) async fn finish(mut self) -> Result<StreamInfo, BackupError> {
        self.flush().await?;
        purge(self.connection, self.stream, &json!({ "filter": FILLER })).await?;
        Ok(any_stream_info(self.connection, self.stream).await?)
    }

    async fn push(&mut self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), BackupError> {
        if self.batch.len() == MESSAGES_MAX || self.batch_bytes + payload.len() > BYTES_MAX {
            self.flush().await?;
        }
        self.batch_bytes += payload.len();
        self.batch.push((subject, headers, payload));
        Ok(())
    }

    /// Stores the batch exactly once, also when an acknowledgment is lost.
    async fn flush(&mut self) -> Result<(), BackupError> {
        let (batch, before) = (std::mem::take(&mut self.batch), self.stored);
        if batch.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        let after = before + batch.len() as u64;
        let start = Instant::now();
        while let Err(error) = self.attempt(&batch).await {
            if error.disposition() != Disposition::Retry || start.elapsed() > RETRY_FOR {
                return Err(error.into());
            }
            tokio::time::sleep(RETRY_DELAY).await;
            self.connection.connected().await;
            match any_stream_info(self.connection, self.stream).await {
                Ok(info) if info.state.last_seq == after => break,
                Ok(info) if info.state.last_seq != before => {
                    let detail = format!("sequence {} instead of {before}", info.state.last_seq);
                    return Err(BackupError::CameOutDifferent { stream: self.stream.to_owned(), detail });
                }
                // Not stored yet, or no answer.
                _ => {}
            }
        }
        self.stored = after;
        Ok(())
    }

    async fn attempt(&mut self, batch: &[(String, HeaderMap, Bytes)]) -> Result<(), Error> {
        let what = format!("a batch of {}", self.stream);
        self.batches += 1;
        let id = format!("{}-{:x}", self.prefix, self.batches);
        let numbered = (1..).zip(batch).map(|(number, (subject, headers, payload))| {
            let mut headers = headers.clone();
            batch::number(&mut headers, &id, number);
            if number == 1 {
                headers.insert(NATS_EXPECTED_LAST_SEQUENCE, self.stored.to_string());
            }
            (subject.clone(), headers, payload.clone())
        });
        let answer = batch::send(self.connection, &what, numbered.collect()).await?;
        if answer.seq != self.stored + batch.len() as u64 {
            return Err(Error::Unanswered { what });
        }
        Ok(())
    }
}
