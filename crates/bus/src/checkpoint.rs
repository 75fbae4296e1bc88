//! Where a partition stands: its position and the states of its instruments, in the stream that holds its results.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::ahead::Mark;
use crate::connect::{ANSWER_MAX, Connection, Reminder};
use crate::error::{Disposition, Error};
use crate::history::{self, Stored, direct_answer};
use crate::reader::{Created, Place, create_consumer, delete_consumer};
use crate::subject;
use crate::topology::{Step, Stream};

/// Most subjects that one isolated read returns. The server's own limit is 1,024.
const ISOLATED_MAX: u64 = 1_000;
/// How often equal positions with unequal sums are read again before they count as torn.
const TORN_READS_MAX: u32 = 10;
/// Most outputs that a torn batch can have left behind its position.
const ORPHANS_MAX: usize = 1_000;
const AGAIN: Duration = Duration::from_millis(10);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Most bytes that one isolated read returns: nats.conf has the server close a connection for which twice that waits.
const ISOLATED_BYTES_MAX: usize = 8_000_000;
/// So many of them go on side by side, of all partitions of this process.
static ISOLATED: Semaphore = Semaphore::const_new(2);
/// How many states a pass asks for at once. Of the largest, 8 MiB.
const PASS_PULL: usize = 8;
/// How long these may take.
const PASS_MAX: Duration = Duration::from_secs(5);
/// Version of the encoding of states.
const STATE_VERSION: u8 = 3;

/// The position of a partition, the last message of every commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position<C> {
    /// Last input sequence that the partition has consumed.
    pub position: u64,
    /// Highest input sequence up to which nothing for this partition can be missing.
    pub frontier: u64,
    /// Up to here a look at the input found nothing missing. Input that was read since may have jumped over what was
    /// deleted: the next owner looks again from here.
    pub verified: u64,
    /// Id of the batch that stored it.
    pub batch: String,
    /// When the input stream was created: the identity of the log.
    pub input_created: String,
    /// Partitions of the topology.
    pub partitions: u32,
    /// The settings that shape results, in words.
    pub config: String,
    /// How many instruments have a state.
    pub states: u64,
    /// How many inputs were applied to these states, all together.
    pub applied: u64,
    /// Input sequences that were lost and accepted as such.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost: u64,
    /// Whoever was read no further than this when the loss was accepted has a gap before its next message.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost_to: u64,
    /// Behind this sequence of the output there may be results of inputs beyond the position, stored ahead of their
    /// commit; 0 when there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub ahead: u64,
    /// The step's own counts.
    pub counts: C,
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

/// What was recovered.
#[derive(Debug)]
pub struct Checkpoint<S, C> {
    /// Stream sequence of the position message: the fence. 0 when there is none.
    pub fence: u64,
    /// The position; `None` when nothing was ever committed.
    pub position: Option<Position<C>>,
    /// The states.
    pub states: Vec<InstrumentState<S>>,
}

/// The state of one instrument.
#[derive(Debug)]
pub struct InstrumentState<S> {
    /// Coin, as in the subject.
    pub coin: String,
    /// Quote currency, as in the subject.
    pub quote: String,
    /// Inputs applied to it.
    pub applied: u64,
    /// The last input of it.
    pub last_seq: u64,
    /// The step's state.
    pub state: S,
    /// All of it, as it is stored.
    pub encoded: Bytes,
}

/// Encodes a state with the number of inputs applied to it and the last of them.
///
/// # Panics
/// Never for states, which are plain data.
pub fn encode_state<S: Serialize>(applied: u64, last_seq: u64, state: &S) -> Bytes {
    let bytes = postcard::to_allocvec(&(STATE_VERSION, applied, last_seq, state));
    bytes.expect("states are plain data and memory takes every byte").into()
}

/// A state as [`encode_state`] wrote it: the number of inputs applied to it, the last of them, and the state.
///
/// # Errors
/// Why it cannot be read.
pub fn decode_state<S: DeserializeOwned>(encoded: &[u8]) -> Result<(u64, u64, S), String> {
    match encoded.first() {
        Some(&STATE_VERSION) => {}
        version => return Err(format!("version {version:?}")),
    }
    let decoded: postcard::Result<(u8, u64, u64, S)> = postcard::from_bytes(encoded);
    decoded.map(|(_, applied, last_seq, state)| (applied, last_seq, state)).map_err(|error| error.to_string())
}

fn stored_state<S: DeserializeOwned>(stored: &Stored) -> Result<InstrumentState<S>, Error> {
    let unreadable = |detail: String| Error::Unreadable { what: format!("state {}", stored.subject), detail };
    let (coin, quote) =
        subject::state_instrument(&stored.subject).ok_or_else(|| unreadable("its subject".to_owned()))?;
    let (applied, last_seq, state) = decode_state(&stored.payload).map_err(unreadable)?;
    let encoded = stored.payload.clone();
    Ok(InstrumentState { coin: coin.to_owned(), quote: quote.to_owned(), applied, last_seq, state, encoded })
}

pub(crate) fn decode_position<C: DeserializeOwned>(stored: &Stored) -> Result<Position<C>, Error> {
    serde_json::from_slice(&stored.payload)
        .map_err(|error| Error::Unreadable { what: format!("position {}", stored.subject), detail: error.to_string() })
}

/// The settings that the results of a partition were made with; `None` while it has no position.
///
/// # Errors
/// Whatever reading can meet.
pub(crate) async fn settings_of(
    connection: &Connection,
    output: Stream,
    partition: u32,
) -> Result<Option<String>, Error> {
    let stored = history::last(connection, output, &subject::position(output, partition)).await?;
    let position = stored.as_ref().map(decode_position::<serde_json::Value>).transpose()?;
    Ok(position.map(|position| position.config))
}

/// The newest position of every partition, in order of partition, with the step's counts in the form asked for.
///
/// # Errors
/// Whatever reading can meet.
pub async fn positions<C: DeserializeOwned>(
    connection: &Connection,
    output: Stream,
) -> Result<Vec<(u32, Position<C>)>, Error> {
    let stored = all_last(connection, output.name(), &subject::positions(output)).await?;
    let mut positions = Vec::with_capacity(stored.len());
    for message in &stored {
        let partition = message.subject.split('.').nth(2).and_then(|token| token.parse().ok());
        let partition = partition.ok_or_else(|| Error::Unreadable {
            what: format!("position {}", message.subject),
            detail: "no partition in its subject".to_owned(),
        })?;
        positions.push((partition, decode_position(message)?));
    }
    positions.sort_by_key(|(partition, _)| *partition);
    Ok(positions)
}

/// Recovers a partition of a step: position from the leader, states in one isolated read, accepted only when both agree.
/// Outages are waited for.
///
/// # Errors
/// [`Error::CheckpointLost`] when outputs, states and position contradict each other.
pub async fn recover<S: DeserializeOwned, C: DeserializeOwned>(
    connection: &Connection,
    step: Step,
    partition: u32,
) -> Result<Checkpoint<S, C>, Error> {
    let mut reminder = Reminder::default();
    let mut delay = RETRY_MIN;
    let (mut torn_reads, mut torn_at) = (0, 0);
    loop {
        match attempt(connection, step, partition).await {
            Ok(Attempt::Whole(checkpoint)) => return Ok(checkpoint),
            Ok(Attempt::Moving) => tokio::time::sleep(AGAIN).await,
            Ok(Attempt::Torn { fence, detail }) => {
                // Under another owner's commits a pass over many states may be torn again and again, each time elsewhere.
                torn_reads = if fence == torn_at { torn_reads + 1 } else { 1 };
                torn_at = fence;
                if torn_reads == TORN_READS_MAX {
                    return Err(lost(step.output, partition, detail));
                }
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) if error.disposition() == Disposition::Stop => return Err(error),
            Err(error) => {
                reminder.warn(&error);
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

enum Attempt<S, C> {
    Whole(Checkpoint<S, C>),
    /// Another owner committed while we read.
    Moving,
    /// Position and states do not agree although the position stood still.
    Torn {
        fence: u64,
        detail: String,
    },
}

async fn attempt<S: DeserializeOwned, C: DeserializeOwned>(
    connection: &Connection,
    step: Step,
    partition: u32,
) -> Result<Attempt<S, C>, Error> {
    let output = step.output;
    // Waiting between the two reads would give a busy owner time to move the position.
    let permit = isolated().await;
    let Some(stored) = history::last(connection, output, &subject::position(output, partition)).await? else {
        return beginning(connection, output, partition).await;
    };
    let fence = stored.seq;
    let position: Position<C> = decode_position(&stored)?;
    let messages = read_checkpoint(connection, output, partition, position.states, permit).await?;
    let position_subject = subject::position(output, partition);
    let seen = messages.iter().find(|message| message.subject == position_subject).map_or(0, |message| message.seq);
    if seen != fence {
        return Ok(Attempt::Moving);
    }
    let states = messages.iter().filter(|message| subject::state_instrument(&message.subject).is_some());
    let states = states.map(stored_state).collect::<Result<Vec<InstrumentState<S>>, Error>>()?;
    let applied: u64 = states.iter().map(|state| state.applied).sum();
    if states.len() as u64 != position.states || applied != position.applied {
        let (count, expected) = (states.len(), position.states);
        let detail =
            format!("{count} states with {applied} inputs, the position says {expected} with {}", position.applied);
        return Ok(Attempt::Torn { fence, detail });
    }
    if !remove_orphans(connection, output, partition, fence).await? {
        return Ok(Attempt::Moving);
    }
    Ok(Attempt::Whole(Checkpoint { fence, position: Some(position), states }))
}

/// A partition without a position starts at the beginning, but only if nothing of it was ever stored.
async fn beginning<S, C>(connection: &Connection, output: Stream, partition: u32) -> Result<Attempt<S, C>, Error> {
    for subject in [subject::all_of_partition(output, partition), subject::checkpoint(output, partition)] {
        if let Some(found) = history::last(connection, output, &subject).await? {
            if history::last(connection, output, &subject::position(output, partition)).await?.is_some() {
                return Ok(Attempt::Moving);
            }
            return Err(lost(
                output,
                partition,
                format!("no position, but {} at sequence {}", found.subject, found.seq),
            ));
        }
    }
    Ok(Attempt::Whole(Checkpoint { fence: 0, position: None, states: Vec::new() }))
}

/// Removes outputs behind the position, but for those that were stored ahead of their commit. Commits put them before it,
/// so they are the remains of a batch that a power cut tore. Returns false when the position moved meanwhile: then they belong to another owner's commit.
async fn remove_orphans(connection: &Connection, output: Stream, partition: u32, fence: u64) -> Result<bool, Error> {
    let outputs = subject::all_of_partition(output, partition);
    let last = history::last(connection, output, &outputs).await?.map_or(0, |last| last.seq);
    let behind = history::between(connection, output, &outputs, fence, last + 1).await?;
    let behind = behind.iter().map(|found| &found.message);
    let orphans = behind.filter(|message| Mark::of(Some(&message.headers)).is_none());
    let orphans: Vec<u64> = orphans.map(|message| message.seq).collect();
    if orphans.is_empty() {
        return Ok(true);
    }
    let now = history::last(connection, output, &subject::position(output, partition)).await?;
    if now.is_none_or(|position| position.seq != fence) {
        return Ok(false);
    }
    if orphans.len() > ORPHANS_MAX {
        return Err(lost(output, partition, format!("more than {ORPHANS_MAX} outputs behind the position")));
    }
    tracing::warn!(stream = %output, partition, count = orphans.len(), "removing the remains of a batch that was torn");
    for seq in orphans {
        let body = json!({ "seq": seq, "no_erase": true });
        connection.api::<serde_json::Value>(&format!("STREAM.MSG.DELETE.{output}"), &body).await?;
    }
    Ok(true)
}

fn lost(output: Stream, partition: u32, detail: String) -> Error {
    Error::CheckpointLost { output: output.name().to_owned(), partition, detail }
}

/// Position and states of a partition: in one isolated read where the server allows it.
async fn read_checkpoint(
    connection: &Connection,
    output: Stream,
    partition: u32,
    states: u64,
    permit: SemaphorePermit<'static>,
) -> Result<Vec<Stored>, Error> {
    let subject = subject::checkpoint(output, partition);
    if states < ISOLATED_MAX
        && let Some(messages) = multi_last(connection, output.name(), &subject).await?
    {
        return Ok(messages);
    }
    drop(permit);
    last_per_subject(connection, output, &subject).await
}

/// The last message of each subject that matches, of which there are at most 1,024, as one consistent picture.
pub(crate) async fn all_last(connection: &Connection, stream: &str, subject: &str) -> Result<Vec<Stored>, Error> {
    let _permit = isolated().await;
    let found = multi_last(connection, stream, subject).await?;
    found.ok_or_else(|| Error::Unreadable {
        what: format!("the last messages on {subject}"),
        detail: "they are too many".to_owned(),
    })
}

/// Permission for an isolated read, to be held until it has ended.
async fn isolated() -> SemaphorePermit<'static> {
    ISOLATED.acquire().await.expect("the semaphore is never closed")
}

/// The last message of each subject that matches, as one consistent picture; `None` when they are too many for that. The
/// caller holds a permit of [`isolated`].
async fn multi_last(connection: &Connection, stream: &str, subject: &str) -> Result<Option<Vec<Stored>>, Error> {
    const NOT_FOUND: u16 = 404;
    const END: u16 = 204;
    const TOO_MANY: u16 = 413;
    let unanswered = || Error::Unanswered { what: format!("the last messages on {subject}") };
    let client = connection.client();
    let mut epoch = connection.epoch();
    let inbox = client.new_inbox();
    let mut subscriber = client.subscribe(inbox.clone()).await.map_err(|_| unanswered())?;
    let body = json!({ "multi_last": [subject], "max_bytes": ISOLATED_BYTES_MAX }).to_string();
    let sent = client.publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, body.into()).await;
    sent.map_err(|_| unanswered())?;
    let mut found = Vec::new();
    loop {
        let message = tokio::select! {
            message = tokio::time::timeout(ANSWER_MAX, subscriber.next()) => message.ok().flatten().ok_or_else(unanswered)?,
            _ = epoch.changed() => return Err(unanswered()),
        };
        match message.status.map(|status: StatusCode| status.as_u16()) {
            Some(END) if left_over(&message) > 0 => return Ok(None),
            Some(NOT_FOUND | END) => return Ok(Some(found)),
            Some(TOO_MANY) => return Ok(None),
            // No leader, nobody there: an outage.
            Some(_) => return Err(unanswered()),
            None => found.extend(direct_answer(message)),
        }
    }
}

/// How many messages an answer leaves out, as its end says.
fn left_over(end: &Message) -> u64 {
    let left = end.headers.as_ref().and_then(|headers| headers.get("Nats-Num-Pending"));
    left.and_then(|left| left.as_str().parse().ok()).unwrap_or(0)
}

/// The same for any number of subjects, through a consumer: whoever commits meanwhile shows as a moved position.
async fn last_per_subject(connection: &Connection, stream: Stream, subject: &str) -> Result<Vec<Stored>, Error> {
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
    // A state that was replaced during the pass appears twice: the newer one counts.
    let mut seen = HashSet::new();
    let mut newest: Vec<Stored> =
        messages.into_iter().rev().filter(|message| seen.insert(message.subject.clone())).collect();
    newest.reverse();
    Ok(newest)
}

async fn pull_all(connection: &Connection, stream: Stream, name: &str, pending: usize) -> Result<Vec<Stored>, Error> {
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

/// A message as a consumer delivers it; `None` for a status.
fn consumed(message: Message) -> Option<Stored> {
    let place = Place::parse(message.reply.as_ref().filter(|_| message.status.is_none())?)?;
    let Place { stream_seq: seq, server_ms, .. } = place;
    let headers = message.headers.unwrap_or_default();
    Some(Stored { seq, subject: message.subject.to_string(), payload: message.payload, headers, server_ms })
}
