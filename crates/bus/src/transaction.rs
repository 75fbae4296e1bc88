//! One atomic batch for outputs, states and position, fenced by the sequence of the last position.
//!
//! The server stores all of a batch or nothing. The position carries the expectation that its subject was last written
//! at the sequence we know; whoever wrote it since is the owner now, and our batch is refused whole. An answer that gets
//! lost is found out by reading the position: it names the batch that stored it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bytes::Bytes;
use rand::Rng;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::checkpoint::Position;
use crate::codec::SCHEMA_HEADER;
use crate::connect::{Connection, Reminder, parse_answer};
use crate::error::{Disposition, Error};
use crate::history;
use crate::subject;
use crate::topology::Stream;

/// Most messages in a batch, the position included: the server's limit.
pub const MESSAGES_MAX: usize = 1_000;
/// Most bytes of payload in a batch. A commit of this size takes about 60 ms.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most commits of one process that are open at once on a stream; the server allows 50 unless told otherwise.
pub const OPEN_MAX: usize = 40;
/// Most bytes in one message: the server's default.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

const ROLLUP_HEADER: &str = "Nats-Rollup";
const ROLLUP_SUBJECT: &str = "sub";
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long to wait before full storage is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// Wrong last sequence: the position moved, or another attempt is in flight.
const REFUSED: [u32; 2] = [10071, 10164];

/// A message of a batch.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Stored subject.
    pub subject: String,
    /// Payload.
    pub payload: Bytes,
    /// What it is.
    pub role: Role,
}

/// What a message of a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A result, with the name of its record.
    Output(&'static str),
    /// A state, which replaces the one before.
    State,
}

/// What one partition wants to store.
#[derive(Debug)]
pub struct Part {
    /// The partition.
    pub partition: u32,
    /// Stream sequence of the position that this follows; 0 for the first one.
    pub fence: u64,
    /// Outputs, then states, each state once.
    pub messages: Vec<Outgoing>,
    /// The new position; its batch is filled in here.
    pub position: Position<Value>,
}

impl Part {
    /// Payload bytes, without the position.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.payload.len()).sum()
    }
}

/// How a commit ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is stored; the new fence of each part, in order.
    Stored(Vec<u64>),
    /// Nothing is stored: these partitions have another owner.
    Fenced(Vec<u32>),
}

/// The commits of this process to one stream.
#[derive(Debug)]
pub struct Transactions {
    connection: Connection,
    output: Stream,
    /// 128 random bits of this process start: ids must be unguessably unique, or two senders could mix.
    prefix: String,
    counter: AtomicU64,
    open: Semaphore,
}

#[derive(Debug, Deserialize)]
struct CommitAnswer {
    seq: u64,
    count: u64,
}

/// What reading the positions says about a commit whose answer is unknown.
enum Finding {
    Stored(Vec<u64>),
    /// All positions are still where they were.
    Unmoved,
    Foreign(Vec<u32>),
}

impl Transactions {
    /// Prepares commits to a stream.
    pub fn new(connection: &Connection, output: Stream) -> Self {
        let mut random = [0; 16];
        rand::rng().fill_bytes(&mut random);
        let prefix = format!("{:032x}", u128::from_be_bytes(random));
        // Stored positions name their batch: this line says which of them are ours.
        tracing::info!(stream = %output, batches = %prefix, "ready to commit");
        Self {
            connection: connection.clone(),
            output,
            prefix,
            counter: AtomicU64::new(0),
            open: Semaphore::new(OPEN_MAX),
        }
    }

    /// Stores all parts together or none, and returns only when it is known which. Outages and full storage are waited
    /// for; cancelling leaves the outcome unknown, which the next recovery finds out.
    ///
    /// # Errors
    /// A request that the server calls wrong in itself.
    pub async fn commit(&self, parts: &[Part]) -> Result<Outcome, Error> {
        let messages: usize = parts.iter().map(|part| part.messages.len() + 1).sum();
        assert!(messages <= MESSAGES_MAX, "a batch of {messages} messages was not split before it was applied");
        let _permit = self.open.acquire().await.expect("the semaphore is never closed");
        let mut tried = Vec::new();
        let mut delay = RETRY_MIN;
        let mut reminder = Reminder::default();
        loop {
            let id = format!("{}-{:x}", self.prefix, self.counter.fetch_add(1, Ordering::Relaxed));
            tried.push(id.clone());
            let error = match self.attempt(parts, &id).await {
                Ok(fences) => return Ok(Outcome::Stored(fences)),
                Err(error) => error,
            };
            let refused = matches!(&error, Error::Api { err_code, .. } if REFUSED.contains(err_code));
            match error.disposition() {
                Disposition::Stop => return Err(error),
                Disposition::RetrySlowly => delay = FULL_RETRY,
                Disposition::Retry => {}
            }
            tracing::debug!(stream = %self.output, %error, attempts = tried.len(), "commit not confirmed");
            if !refused {
                reminder.warn(&error);
            }
            // A denied message of the batch leaves the rest of it incomplete, every time.
            if let Some(denied) = self.connection.denied(&format!("\"{}.", self.output.root())) {
                return Err(denied);
            }
            match self.find_out(parts, &tried).await? {
                Finding::Stored(fences) => return Ok(Outcome::Stored(fences)),
                Finding::Foreign(partitions) => return Ok(Outcome::Fenced(partitions)),
                // Refused although nobody moved: an attempt of ours is still on its way. Either is safe to repeat.
                Finding::Unmoved => tokio::time::sleep(delay).await,
            }
            delay = (delay * 2).min(RETRY_MAX.max(delay));
        }
    }

    /// Sends the batch once; returns the fence of each part.
    async fn attempt(&self, parts: &[Part], id: &str) -> Result<Vec<u64>, Error> {
        let mut numbered = 0_u64;
        let mut offsets = Vec::with_capacity(parts.len());
        let mut epoch = self.connection.epoch();
        for (idx, part) in parts.iter().enumerate() {
            for message in &part.messages {
                numbered += 1;
                let headers = headers_of(id, numbered, message.role);
                self.send(message.subject.clone(), headers, message.payload.clone()).await?;
            }
            numbered += 1;
            offsets.push(numbered);
            let (subject, headers, payload) = self.position_of(part, id, numbered);
            if idx + 1 < parts.len() {
                self.send(subject, headers, payload).await?;
                continue;
            }
            if epoch.has_changed().unwrap_or(true) {
                return Err(Error::Unanswered { what: "a commit".to_owned() });
            }
            let mut headers = headers;
            headers.insert(NATS_BATCH_COMMIT, "1");
            let request = self.connection.request(subject, Some(headers), payload);
            let answer = tokio::select! {
                answer = request => answer?,
                _ = epoch.changed() => return Err(Error::Unanswered { what: "a commit".to_owned() }),
            };
            let answer: CommitAnswer = parse_answer("a commit", &answer.payload)?;
            if answer.count != numbered {
                let detail = format!("{} of {numbered} messages", answer.count);
                return Err(Error::Unreadable { what: "the answer to a commit".to_owned(), detail });
            }
            return Ok(offsets.iter().map(|offset| answer.seq + offset - numbered).collect());
        }
        Ok(Vec::new())
    }

    async fn send(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), Error> {
        let sent = self.connection.client().publish_with_headers(subject, headers, payload).await;
        sent.map_err(|error| match error.kind() {
            async_nats::PublishErrorKind::Send => Error::Unanswered { what: "a message of a batch".to_owned() },
            _ => Error::Unreadable { what: "a message of a batch".to_owned(), detail: error.to_string() },
        })
    }

    fn position_of(&self, part: &Part, id: &str, number: u64) -> (String, HeaderMap, Bytes) {
        let position = Position { batch: id.to_owned(), ..part.position.clone() };
        let payload = serde_json::to_vec(&position).expect("a position is plain data");
        let mut headers = headers_of(id, number, Role::State);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, part.fence.to_string());
        (subject::position(self.output, part.partition), headers, payload.into())
    }

    /// Reads the positions until they are known, however long the outage.
    async fn find_out(&self, parts: &[Part], tried: &[String]) -> Result<Finding, Error> {
        let mut delay = RETRY_MIN;
        let mut reminder = Reminder::default();
        loop {
            self.connection.connected().await;
            match self.read_positions(parts, tried).await {
                Err(error) if error.disposition() == Disposition::Stop => return Err(error),
                Err(error) => reminder.warn(&error),
                Ok(finding) => return Ok(finding),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn read_positions(&self, parts: &[Part], tried: &[String]) -> Result<Finding, Error> {
        let mut fences = Vec::with_capacity(parts.len());
        let mut foreign = Vec::new();
        for part in parts {
            let stored =
                history::last(&self.connection, self.output, &subject::position(self.output, part.partition)).await?;
            let Some(stored) = stored else {
                if part.fence != 0 {
                    foreign.push(part.partition);
                }
                continue;
            };
            let id = stored.headers.get(NATS_BATCH_ID).map(|id| id.as_str().to_owned()).unwrap_or_default();
            if tried.contains(&id) {
                fences.push(stored.seq);
            } else if stored.seq != part.fence {
                foreign.push(part.partition);
            }
        }
        Ok(if !foreign.is_empty() {
            Finding::Foreign(foreign)
        } else if fences.len() == parts.len() {
            Finding::Stored(fences)
        } else {
            Finding::Unmoved
        })
    }
}

fn headers_of(id: &str, number: u64, role: Role) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_BATCH_ID, id);
    headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
    match role {
        Role::Output(schema) => headers.insert(SCHEMA_HEADER, schema),
        Role::State => headers.insert(ROLLUP_HEADER, ROLLUP_SUBJECT),
    }
    headers
}
