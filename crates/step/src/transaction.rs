//! One atomic batch for outputs, states and position, fenced by the sequence of the last position.
//!
//! The server stores all of a batch or nothing. The position expects that its subject was last written at the known
//! sequence. If another owner has written it since, the server refuses the whole batch. [`crate::commit`] handles lost
//! answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_ID, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bus::batch::{self, Numbered, ROLLUP_HEADER};
use bus::codec::{Encoder, SCHEMA_HEADER};
use bus::protocol::Position;
use bus::{Connection, Error, Stream, query, subject};

use crate::part::{Part, Role, StoredPosition};

pub use bus::batch::{BYTES_MAX, MESSAGES_MAX};

const ROLLUP_SUBJECT: &str = "sub";

/// The commits of this process to one stream.
#[derive(Debug)]
pub struct Transactions {
    connection: Connection,
    output: Stream,
    /// 128 random bits of this process: batches of two senders with one id would mix.
    prefix: String,
    counter: AtomicU64,
}

impl Transactions {
    /// Prepares commits to a stream.
    pub fn new(connection: &Connection, output: Stream) -> Self {
        let prefix = batch::unguessable();
        // Stored positions name their batch: this log line tells which batches are from this process.
        tracing::info!(stream = %output, batches = %prefix, "ready to commit");
        Self { connection: connection.clone(), output, prefix, counter: AtomicU64::new(0) }
    }

    /// An id for the next batch.
    pub fn next_id(&self) -> String {
        format!("{}-{:x}", self.prefix, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends all parts once, in one batch with this id; returns the sequence of each part's position, which is its new
    /// fence.
    ///
    /// # Errors
    /// Errors with [`Disposition::Stop`](bus::error::Disposition::Stop) are final: a message that the server does not
    /// accept, a missing permission, an invalid request. After any other error it is unknown whether the batch is
    /// stored: the positions tell.
    pub async fn attempt(&self, parts: &[Arc<Part>], id: &str) -> Result<Vec<u64>, Error> {
        let messages: usize = parts.iter().map(|part| part.messages.len() + 1).sum();
        assert!(messages <= MESSAGES_MAX, "a batch of {messages} messages was not split before it was applied");
        let sent = self.send(parts, id).await;
        sent.map_err(|error| match self.connection.denied(&format!("\"{}.", self.output.root())) {
            // A denied message makes the rest of the batch incomplete, every time.
            Some(denied) => denied,
            None => error,
        })
    }

    async fn send(&self, parts: &[Arc<Part>], id: &str) -> Result<Vec<u64>, Error> {
        let what = format!("a commit to {}", self.output);
        let (batch, offsets) = batch_of(self.output, parts, id);
        for (subject, headers, payload) in &batch {
            // Refuse a message beyond the server's limit before any is sent.
            self.connection.check_size(subject, Some(headers), payload)?;
        }
        let numbered = batch.len() as u64;
        let answer = batch::send(&self.connection, &what, batch).await?;
        if answer.count != numbered {
            let detail = format!("{} of {numbered} messages", answer.count);
            return Err(Error::Unreadable { what: format!("the answer to {what}"), detail });
        }
        Ok(offsets.iter().map(|offset| answer.seq + offset - numbered).collect())
    }
}

/// All messages of a batch, and the number of each part's position among them.
pub fn batch_of(output: Stream, parts: &[Arc<Part>], id: &str) -> (Vec<Numbered>, Vec<u64>) {
    let mut batch: Vec<Numbered> = Vec::new();
    let mut offsets = Vec::with_capacity(parts.len());
    let mut encoder = Encoder::default();
    for part in parts {
        for message in &part.messages {
            let mut headers = headers_of(id, batch.len() as u64 + 1, message.role);
            let payload = match message.role {
                Role::Output(_) => encoder.encode(&mut headers, &message.payload),
                Role::State => message.payload.clone(),
            };
            batch.push((message.subject.clone(), headers, payload));
        }
        offsets.push(batch.len() as u64 + 1);
        batch.push(position_of(output, part, id, batch.len() as u64 + 1));
    }
    (batch, offsets)
}

fn position_of(output: Stream, part: &Part, id: &str, number: u64) -> Numbered {
    let position = Position { batch: id.to_owned(), ..part.position.clone() };
    let payload = serde_json::to_vec(&position).expect("a position is plain data");
    let mut headers = headers_of(id, number, Role::State);
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, part.fence.to_string());
    (subject::position(output, part.partition), headers, payload.into())
}

/// Takes the first waiting part and all parts behind it that fit into one batch with it; `part_of` returns a part.
pub fn gather<T>(waiting: &mut VecDeque<T>, part_of: impl Fn(&T) -> &Part) -> Vec<T> {
    let (mut messages, mut bytes) = (0, 0);
    let mut group: Vec<T> = Vec::new();
    while let Some(next) = waiting.front().map(&part_of) {
        messages += next.messages.len() + 1;
        bytes += next.bytes();
        // A partition that was lost and claimed again may have two owners here for a moment: their parts go into
        // separate batches.
        let is_twice = group.iter().any(|one| part_of(one).partition == next.partition);
        if !group.is_empty() && (is_twice || messages > MESSAGES_MAX || bytes > BYTES_MAX) {
            break;
        }
        group.extend(waiting.pop_front());
    }
    group
}

/// The position of a partition, from the leader of its stream.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn read_position(
    connection: &Connection,
    output: Stream,
    partition: u32,
) -> Result<Option<StoredPosition>, Error> {
    let stored = query::last(connection, output, &subject::position(output, partition)).await?;
    Ok(stored.map(|stored| StoredPosition {
        seq: stored.seq,
        batch: stored.headers.get(NATS_BATCH_ID).map(|id| id.as_str().to_owned()),
    }))
}

fn headers_of(id: &str, number: u64, role: Role) -> HeaderMap {
    let mut headers = HeaderMap::new();
    batch::number(&mut headers, id, number);
    match role {
        Role::Output(schema) => headers.insert(SCHEMA_HEADER, schema),
        Role::State => headers.insert(ROLLUP_HEADER, ROLLUP_SUBJECT),
    }
    headers
}
