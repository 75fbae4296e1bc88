//! One atomic batch for outputs, states and position, fenced by the sequence of the last position.
//!
//! The server stores all of a batch or nothing. The position carries the expectation that its subject was last written
//! at the sequence we know; whoever wrote it since is the owner now, and our batch is refused whole. An answer that gets
//! lost is found out by reading the position: it names the batch that stored it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_ID, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::Value;
use tokio::sync::Semaphore;

use bus::Error;
use bus::batch::{self, Numbered, ROLLUP_HEADER};
use bus::codec::{Encoder, SCHEMA_HEADER};
use bus::connect::{Connection, Reminder};
use bus::error::Disposition;
use bus::history;
use bus::protocol::Position;
use bus::subject;
use bus::topology::Stream;

pub use bus::batch::{BYTES_MAX, MESSAGES_MAX};

/// Most commits of one process that are open at once on a stream; the server allows 50 unless told otherwise.
pub const OPEN_MAX: usize = 40;

const ROLLUP_SUBJECT: &str = "sub";
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long to wait before full storage is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

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

/// How the commit of a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored; the new fence.
    Stored(u64),
    /// The partition has another owner. What was computed is void: where it was stored after all, the other owner began
    /// from it.
    Fenced,
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

impl Transactions {
    /// Prepares commits to a stream.
    pub fn new(connection: &Connection, output: Stream) -> Self {
        let prefix = batch::unguessable();
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

    /// Stores all parts in one batch and returns only when it is known how each ended, in order. A part whose partition
    /// has another owner keeps the others out of that batch: they go again without it. Outages and full storage are
    /// waited for; cancelling leaves the outcome unknown, which the next recovery finds out.
    ///
    /// # Errors
    /// A message that the server does not take, a missing permission, a request that the server calls wrong in itself.
    pub async fn commit(&self, parts: &[Part]) -> Result<Vec<Outcome>, Error> {
        let messages: usize = parts.iter().map(|part| part.messages.len() + 1).sum();
        assert!(messages <= MESSAGES_MAX, "a batch of {messages} messages was not split before it was applied");
        let _permit = self.open.acquire().await.expect("the semaphore is never closed");
        let mut outcomes = vec![None; parts.len()];
        let mut tried = Vec::new();
        let mut delay = RETRY_MIN;
        let mut reminder = Reminder::default();
        loop {
            let open: Vec<&Part> =
                parts.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none()).map(|(part, _)| part).collect();
            let id = format!("{}-{:x}", self.prefix, self.counter.fetch_add(1, Ordering::Relaxed));
            tried.push(id.clone());
            let found = match self.attempt(&open, &id).await {
                Ok(fences) => fences.into_iter().map(|fence| Some(Outcome::Stored(fence))).collect(),
                Err(error) => {
                    tracing::debug!(stream = %self.output, %error, attempts = tried.len(), "commit not confirmed");
                    delay = self.may_repeat(error, delay, &mut reminder)?;
                    self.find_out(&open, &tried).await?
                }
            };
            let mut found = found.into_iter();
            outcomes.iter_mut().filter(|outcome| outcome.is_none()).for_each(|open| *open = found.next().flatten());
            if let Some(outcomes) = outcomes.iter().copied().collect() {
                reminder.settle("the commit is settled");
                return Ok(outcomes);
            }
            // Nobody moved: the batch is not stored, or an attempt of ours is still on its way. Either is safe to repeat.
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_MAX.max(delay));
        }
    }

    /// How long to wait before an attempt that failed like this is repeated, if it is not found to be stored.
    fn may_repeat(&self, error: Error, delay: Duration, reminder: &mut Reminder) -> Result<Duration, Error> {
        let delay = match error.disposition() {
            Disposition::Stop => return Err(error),
            Disposition::RetrySlowly => FULL_RETRY,
            Disposition::Retry => delay.min(RETRY_MAX),
        };
        if !error.is_overtaken() {
            reminder.warn(&error);
        }
        // A denied message of the batch leaves the rest of it incomplete, every time.
        match self.connection.denied(&format!("\"{}.", self.output.root())) {
            Some(denied) => Err(denied),
            None => Ok(delay),
        }
    }

    /// Sends the batch once; returns the fence of each part.
    async fn attempt(&self, parts: &[&Part], id: &str) -> Result<Vec<u64>, Error> {
        let what = format!("a commit to {}", self.output);
        let (batch, offsets) = self.batch_of(parts, id)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let numbered = batch.len() as u64;
        let answer = batch::send(&self.connection, &what, batch).await?;
        if answer.count != numbered {
            let detail = format!("{} of {numbered} messages", answer.count);
            return Err(Error::Unreadable { what: format!("the answer to {what}"), detail });
        }
        Ok(offsets.iter().map(|offset| answer.seq + offset - numbered).collect())
    }

    /// All messages of a batch, and the number of each part's position among them. None is larger than the server takes.
    fn batch_of(&self, parts: &[&Part], id: &str) -> Result<(Vec<Numbered>, Vec<u64>), Error> {
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
            batch.push(self.position_of(part, id, batch.len() as u64 + 1));
        }
        for (subject, headers, payload) in &batch {
            self.connection.check_size(subject, Some(headers), payload)?;
        }
        Ok((batch, offsets))
    }

    fn position_of(&self, part: &Part, id: &str, number: u64) -> Numbered {
        let position = Position { batch: id.to_owned(), ..part.position.clone() };
        let payload = serde_json::to_vec(&position).expect("a position is plain data");
        let mut headers = headers_of(id, number, Role::State);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, part.fence.to_string());
        (subject::position(self.output, part.partition), headers, payload.into())
    }

    /// Reads the positions until they are known, however long the outage; `None` for a part that is not stored, whose
    /// partition nobody else has taken.
    async fn find_out(&self, parts: &[&Part], tried: &[String]) -> Result<Vec<Option<Outcome>>, Error> {
        let mut delay = RETRY_MIN;
        let mut reminder = Reminder::default();
        loop {
            self.connection.connected().await;
            match try_join_all(parts.iter().map(|part| self.read_position(part, tried))).await {
                Err(error) if error.disposition() == Disposition::Stop => return Err(error),
                Err(error) => reminder.warn(&error),
                Ok(found) => return Ok(found),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn read_position(&self, part: &Part, tried: &[String]) -> Result<Option<Outcome>, Error> {
        let subject = subject::position(self.output, part.partition);
        let stored = history::last(&self.connection, self.output, &subject).await?;
        let fence = stored.as_ref().map_or(0, |stored| stored.seq);
        let id = stored.as_ref().and_then(|stored| stored.headers.get(NATS_BATCH_ID));
        let is_ours = id.is_some_and(|id| tried.iter().any(|tried| tried == id.as_str()));
        Ok(if is_ours {
            Some(Outcome::Stored(fence))
        } else if fence != part.fence {
            Some(Outcome::Fenced)
        } else {
            None
        })
    }
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
