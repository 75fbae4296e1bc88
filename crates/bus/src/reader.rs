//! Ordered reader of a stream.
//!
//! The ordered consumer of the client crate can restart at sequence 1 and stay silent for half a minute. This reader
//! uses a named pull consumer without acknowledgements. It checks that every message follows the one before. On a gap,
//! silence, an unexpected status or a lost connection it creates a new consumer at its current sequence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use rand::Rng;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::codec::Decoder;
use crate::connect::{Connection, Reminder, nothing};
use crate::error::{Disposition, Error};
use crate::protocol::LogId;
use crate::topology::{Stream, StreamInfo, stream_info};
use crate::{arrival, leader, query};

/// Messages per pull request.
const PULL: usize = 40;
/// Bytes per pull request; at most two are open. nats.conf lets the server drop a client with more than twice that
/// pending.
const PULL_BYTES: usize = 4_000_000;
/// Decoded messages that are buffered for the caller.
const AHEAD: usize = 64;
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Two missed heartbeats and some slack. Longer silence makes the reader create a new consumer.
const SILENCE_MAX: Duration = Duration::from_millis(1_100);
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// The server deletes a consumer this long after the last request of its process.
const INACTIVE: Duration = Duration::from_secs(5);
/// How often an idle reader checks up to which sequence it has missed nothing. Far shorter than any retention takes to
/// delete unread messages.
const IDLE_LOOK: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// The part of a stream to read.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The stream.
    pub stream: Stream,
    /// Stored subjects, with wildcards; they must not overlap.
    pub filters: Vec<String>,
    /// First sequence to read.
    pub from: u64,
}

/// A stored message, as a reader delivers it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its sequence in the stream.
    pub seq: u64,
    /// Its stored subject.
    pub subject: Subject,
    /// Its headers.
    pub headers: Option<HeaderMap>,
    /// Its payload.
    pub payload: Bytes,
    /// Time of storing by the server's clock, in milliseconds; for a restored message the time of the first storing.
    pub stored_ms: i64,
    /// Matching messages that were still to come when it was sent.
    pub pending: u64,
}

/// The form in which payloads are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Decoded lines.
    Lines,
    /// The stored bytes, for copies and measurements.
    Stored,
}

/// An event of a reader, in stream order.
#[derive(Debug)]
pub enum Event {
    /// Reading started, restarted, or was idle for a while: the stream as it was just before, and the number of
    /// messages that are waiting.
    Attached {
        /// The stream.
        info: Box<StreamInfo>,
        /// Matching messages from here on.
        pending: u64,
    },
    /// The next message.
    Message(Delivery),
}

/// A reader of a stream in a task of its own; dropping it ends the task.
#[derive(Debug)]
pub struct Reader {
    events: mpsc::Receiver<Result<Event, Error>>,
    repeated: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    /// Starts a reader that decodes payloads.
    pub fn start(connection: &Connection, selection: Selection) -> Self {
        Self::start_as(connection, selection, Form::Lines)
    }

    /// Starts a reader that delivers payloads in a form.
    pub fn start_as(connection: &Connection, selection: Selection, form: Form) -> Self {
        Self::start_with(connection, selection, form, false, 0)
    }

    /// Starts a reader of a stream that is known to reach the sequence `reaches`: a leader with an earlier end is asked
    /// again.
    pub fn start_reaching(connection: &Connection, selection: Selection, reaches: u64) -> Self {
        Self::start_with(connection, selection, Form::Lines, false, reaches)
    }

    /// Starts a reader that reports the end: when no message is waiting, it emits an [`Event::Attached`] at once. On a
    /// stream with replicas only that event means the end, since the replica that is read may lag.
    pub fn start_to_end(connection: &Connection, selection: Selection, form: Form) -> Self {
        Self::start_with(connection, selection, form, true, 0)
    }

    fn start_with(connection: &Connection, selection: Selection, form: Form, confirms_end: bool, reaches: u64) -> Self {
        let (sender, events) = mpsc::channel(AHEAD);
        let repeated = Arc::new(AtomicU64::new(0));
        let source = Source {
            connection: connection.clone(),
            next: selection.from,
            selection,
            form,
            confirms_end,
            reaches,
            log: None,
            events: sender,
            repeated: repeated.clone(),
        };
        Self { events, repeated, task: tokio::spawn(source.run()) }
    }

    /// Returns the next event. An outage is waited for; an error is final and the last event. Cancel safe.
    ///
    /// # Errors
    /// A missing permission, a missing stream, a request that the server refuses as invalid.
    pub async fn next(&mut self) -> Result<Event, Error> {
        match self.events.recv().await {
            Some(event) => event,
            None => Err(Error::Unreadable { what: "the stream".to_owned(), detail: "its reader has ended".to_owned() }),
        }
    }

    /// Number of messages that were delivered again, and dropped.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Whether no event is buffered.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Reads the messages that a stream holds now, one by one. Returns the last sequence that was checked: `each` has seen
/// every matching message up to it.
///
/// # Errors
/// As [`Reader::next`], and any error of `each`.
pub async fn read_to_end<E: From<Error>>(
    connection: &Connection,
    selection: Selection,
    each: impl FnMut(Delivery) -> Result<(), E>,
) -> Result<u64, E> {
    read_to_end_as(connection, selection, Form::Lines, each).await
}

/// As [`read_to_end`], with payloads in a form.
///
/// # Errors
/// As [`read_to_end`].
pub async fn read_to_end_as<E: From<Error>>(
    connection: &Connection,
    selection: Selection,
    form: Form,
    mut each: impl FnMut(Delivery) -> Result<(), E>,
) -> Result<u64, E> {
    let info = stream_info(connection, selection.stream.name()).await?;
    let end = info.state.last_seq;
    let mut reader = Reader::start_to_end(connection, selection, form);
    loop {
        let is_over = match reader.next().await? {
            Event::Attached { pending, .. } => pending == 0,
            Event::Message(delivery) if delivery.seq > end => true,
            Event::Message(delivery) => {
                let is_over = info.is_end(&delivery);
                each(delivery)?;
                is_over
            }
        };
        if is_over {
            return Ok(end);
        }
    }
}

/// The server's description of a consumer.
#[derive(Debug, Deserialize)]
struct ConsumerInfo {
    num_pending: u64,
    delivered: Delivered,
}

#[derive(Debug, Deserialize)]
struct Delivered {
    consumer_seq: u64,
}

struct Source {
    connection: Connection,
    selection: Selection,
    form: Form,
    /// Next stream sequence to read.
    next: u64,
    /// Whether the end is reported at once.
    confirms_end: bool,
    /// A sequence that the stream is known to reach.
    reaches: u64,
    /// The identity of the log, once it is known.
    log: Option<LogId>,
    events: mpsc::Sender<Result<Event, Error>>,
    /// Messages that were delivered again.
    repeated: Arc<AtomicU64>,
}

/// The caller has dropped the reader.
struct Unwanted;

enum Doubt {
    Unwanted,
    Lost(&'static str),
    Failed(Error),
}

impl From<Unwanted> for Doubt {
    fn from(_: Unwanted) -> Self {
        Self::Unwanted
    }
}

impl From<Error> for Doubt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Source {
    async fn run(mut self) {
        let mut delay = RETRY_MIN;
        let mut reminder = Reminder::default();
        loop {
            let before = self.next;
            let Err(doubt) = self.attach_and_follow().await;
            if self.next > before {
                delay = RETRY_MIN;
            }
            match doubt {
                Doubt::Unwanted => return,
                Doubt::Lost(why) => {
                    tracing::debug!(stream = %self.selection.stream, next = self.next, why, "reading anew")
                }
                Doubt::Failed(error) if error.disposition() == Disposition::Stop => {
                    // The receiver is gone when this fails, so the error has no reader.
                    drop(self.events.send(Err(error)).await);
                    return;
                }
                Doubt::Failed(error) => reminder.warn(&error),
            }
            tokio::time::sleep(delay).await;
            self.connection.connected().await;
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn attach_and_follow(&mut self) -> Result<std::convert::Infallible, Doubt> {
        // The stream is read before the consumer: when nothing is pending then, everything up to its last sequence was seen.
        let info = self.info().await?;
        let is_alone = info.replicas() == 1;
        let restored_to = info.log()?.restored_to();
        let mut epoch = self.connection.epoch();
        let inbox = self.connection.client().new_inbox();
        let subscriber = self.connection.client().subscribe(inbox.clone()).await;
        let mut subscriber = subscriber.map_err(|_| Doubt::Lost("no subscription"))?;
        let Created { name, pending } = self.create_consumer().await?;
        if pending == 0 {
            self.check_replica(&info).await?;
        }
        self.emit(Ok(Event::Attached { info: Box::new(info), pending })).await?;
        let mut look_at = Instant::now() + IDLE_LOOK;
        let mut pulls = Pulls {
            connection: &self.connection.clone(),
            stream: self.selection.stream,
            name: &name,
            inbox,
            outstanding: 0,
        };
        let mut consumer_seq = 0;
        let mut decoder = Decoder::default();
        loop {
            pulls.top_up().await?;
            let message = tokio::select! {
                message = next_message(&mut subscriber) => message?,
                () = sleep_until(look_at) => {
                    self.look(&name, consumer_seq).await?;
                    look_at = Instant::now() + IDLE_LOOK;
                    continue;
                }
                _ = epoch.changed() => return Err(Doubt::Lost("connection changed")),
            };
            if let Some(status) = message.status {
                pulls.settle(status, &message)?;
                continue;
            }
            let place = ConsumerPosition::of(&message).ok_or(Doubt::Lost("no position in the reply subject"))?;
            consumer_seq += 1;
            pulls.outstanding = pulls.outstanding.saturating_sub(1);
            match arrival(self.next, consumer_seq, (place.stream_seq, place.consumer_seq)) {
                Arrival::Next => self.next = place.stream_seq + 1,
                Arrival::Again => return Err(self.repetition(place.stream_seq)),
                Arrival::OutOfOrder => return Err(Doubt::Lost("out of order")),
            }
            look_at = Instant::now() + IDLE_LOOK;
            let Message { subject, headers, payload, .. } = message;
            let (headers, payload) = match self.form {
                Form::Lines => decoder.decode(headers, payload),
                Form::Stored => (headers, payload),
            };
            if place.pending == 0 {
                decoder.rest();
            }
            let (seq, pending) = (place.stream_seq, place.pending);
            let stored_ms = arrival::stored_ms(seq, place.server_ms, headers.as_ref(), restored_to);
            let delivery = Delivery { seq, subject, headers, payload, stored_ms, pending };
            self.emit(Ok(Event::Message(delivery))).await?;
            if pending == 0 && self.confirms_end && !is_alone {
                self.look(&name, consumer_seq).await?;
            }
        }
    }

    /// Reads the description of the stream from a leader that has everything that was read.
    async fn info(&mut self) -> Result<StreamInfo, Error> {
        let (stream, read) = (self.selection.stream, self.reaches.max(self.next.saturating_sub(1)));
        let info = leader::info_reaching(&self.connection, stream, self.log.as_ref(), read).await?;
        if self.log.is_none() {
            self.log = Some(info.log()?);
        }
        Ok(info)
    }

    /// Reports up to which sequence nothing is missing, if every matching message was delivered. The stream is read first.
    async fn look(&mut self, name: &str, consumer_seq: u64) -> Result<(), Doubt> {
        let stream = self.selection.stream;
        let info = self.info().await?;
        let consumer: ConsumerInfo = self.connection.api(&format!("CONSUMER.INFO.{stream}.{name}"), &nothing()).await?;
        if consumer.num_pending == 0 && consumer.delivered.consumer_seq == consumer_seq {
            self.check_replica(&info).await?;
            self.emit(Ok(Event::Attached { info: Box::new(info), pending: 0 })).await?;
        }
        Ok(())
    }

    /// A consumer with nothing to deliver knows only the replica of its own server, which may lag behind the leader, or
    /// have stopped for good after a crash. So the leader is asked for the next message.
    async fn check_replica(&self, leader: &StreamInfo) -> Result<(), Doubt> {
        let is_behind = leader.replicas() > 1 && leader.state.last_seq >= self.next;
        // This user has no permission for that request.
        if !is_behind || self.connection.user() == SHARED_USER {
            return Ok(());
        }
        for filter in &self.selection.filters {
            let next = query::next(&self.connection, self.selection.stream, filter, self.next).await?;
            if next.is_some_and(|next| next.message.seq <= leader.state.last_seq) {
                return Err(Doubt::Lost("the copy that is read lags behind the leader's"));
            }
        }
        // A new leader may have answered with a shorter log than the first one had.
        let still = stream_info(&self.connection, self.selection.stream.name()).await?;
        if still.leader() == leader.leader() { Ok(()) } else { Err(Doubt::Lost("the stream has another leader")) }
    }

    /// Drops and counts a message that was read before.
    fn repetition(&self, seq: u64) -> Doubt {
        let count = self.repeated.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(stream = %self.selection.stream, seq, next = self.next, count, "a message came again, dropped");
        Doubt::Lost("a message came again")
    }

    async fn create_consumer(&self) -> Result<Created, Error> {
        let Selection { stream, ref filters, .. } = self.selection;
        create_consumer(&self.connection, stream, filters, reading_from(self.next)).await
    }

    async fn emit(&self, event: Result<Event, Error>) -> Result<(), Unwanted> {
        self.events.send(event).await.map_err(|_| Unwanted)
    }
}

/// The order of a delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next message.
    Next,
    /// A message that was read before.
    Again,
    /// A message before it is missing.
    OutOfOrder,
}

/// Checks the sequences, in the stream and of the consumer, of the `delivered`th message of a consumer. `next` is the
/// next stream sequence to read.
pub fn arrival(next: u64, delivered: u64, (stream_seq, consumer_seq): (u64, u64)) -> Arrival {
    if stream_seq < next {
        Arrival::Again
    } else if consumer_seq != delivered {
        Arrival::OutOfOrder
    } else {
        Arrival::Next
    }
}

/// The user that reads history with a password that may be public. Its permissions name each consumer that it may
/// create (deploy/nats/guests.conf), so it cannot use up the consumers of a stream.
const SHARED_USER: &str = "reader";
/// Consumers per stream that this user may have at a time: `reader-1` and so on.
const SHARED_CONSUMERS: u32 = 32;

/// Candidate names for a consumer. A shared user tries each name that it may use, in random order. Any other user takes
/// a fresh name that no server can remember.
fn consumer_names(connection: &Connection, stream: Stream) -> Vec<String> {
    if connection.user() != SHARED_USER {
        return vec![format!("{}-{:016x}", stream.root(), rand::rng().next_u64())];
    }
    let mut names: Vec<_> = (1..=SHARED_CONSUMERS).map(|number| format!("{SHARED_USER}-{number}")).collect();
    names.shuffle(&mut rand::rng());
    names
}

/// A consumer that was created.
pub(crate) struct Created {
    pub(crate) name: String,
    /// Messages that are pending for it.
    pub(crate) pending: u64,
}

/// Creates a consumer of the given subjects.
pub(crate) async fn create_consumer(
    connection: &Connection,
    stream: Stream,
    filters: &[String],
    config: Value,
) -> Result<Created, Error> {
    const NAME_IN_USE: [u32; 2] = [10_013, 10_148];
    for name in consumer_names(connection, stream) {
        match create_named(connection, stream, &name, filters, config.clone()).await {
            Ok(pending) => return Ok(Created { name, pending }),
            Err(Error::Api { err_code, .. }) if NAME_IN_USE.contains(&err_code) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoConsumer { user: connection.user().to_owned(), stream: stream.name().to_owned() })
}

async fn create_named(
    connection: &Connection,
    stream: Stream,
    name: &str,
    filters: &[String],
    mut config: Value,
) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Answer {
        num_pending: u64,
    }
    config["name"] = json!(name);
    // A nonce per process: for equal configurations the server would return the same consumer to both.
    config["metadata"] = json!({ "nonce": format!("{:016x}", rand::rng().next_u64()) });
    let call = if let [filter] = filters {
        config["filter_subject"] = json!(filter);
        format!("CONSUMER.CREATE.{stream}.{name}.{filter}")
    } else {
        config["filter_subjects"] = json!(filters);
        format!("CONSUMER.CREATE.{stream}.{name}")
    };
    let body = json!({ "stream_name": stream.name(), "config": config, "action": "create" });
    let answer: Answer = connection.api(&call, &body).await?;
    Ok(answer.num_pending)
}

/// Counts the messages on the given subjects at or after `from`.
///
/// # Errors
/// Any error of [`Connection::api`].
pub async fn count_from(connection: &Connection, stream: Stream, subjects: &[String], from: u64) -> Result<u64, Error> {
    let Created { name, pending } = create_consumer(connection, stream, subjects, reading_from(from)).await?;
    delete_consumer(connection, stream, &name).await;
    Ok(pending)
}

/// Configuration of a consumer that reads from a sequence and is deleted soon after its process has ended.
fn reading_from(from: u64) -> Value {
    json!({
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": from.max(1),
        "ack_policy": "none",
        "replay_policy": "instant",
        "mem_storage": true,
        "num_replicas": 1,
        "inactive_threshold": INACTIVE.as_nanos() as u64,
    })
}

/// Deletes a consumer that is no longer needed; otherwise the server deletes it after its inactivity threshold.
pub(crate) async fn delete_consumer(connection: &Connection, stream: Stream, name: &str) {
    if let Err(error) = connection.api::<Value>(&format!("CONSUMER.DELETE.{stream}.{name}"), &nothing()).await {
        tracing::debug!(%error, "consumer not deleted");
    }
}

async fn next_message(subscriber: &mut Subscriber) -> Result<Message, Doubt> {
    match tokio::time::timeout(SILENCE_MAX, subscriber.next()).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Doubt::Lost("subscription ended")),
        Err(_) => Err(Doubt::Lost("silence")),
    }
}

/// The open pull requests.
struct Pulls<'a> {
    connection: &'a Connection,
    stream: Stream,
    name: &'a str,
    inbox: String,
    /// Messages that the server may still send.
    outstanding: usize,
}

impl Pulls<'_> {
    /// Sends another pull request when half of the requested messages have arrived.
    async fn top_up(&mut self) -> Result<(), Doubt> {
        if self.outstanding > PULL / 2 {
            return Ok(());
        }
        let body = json!({
            "batch": PULL,
            "max_bytes": PULL_BYTES,
            "expires": PULL_EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name);
        let sent =
            self.connection.client().publish_with_reply(subject, self.inbox.clone(), body.to_string().into()).await;
        sent.map_err(|_| Doubt::Lost("pull not sent"))?;
        self.outstanding += PULL;
        Ok(())
    }

    /// Handles a status message: a heartbeat, or the end of a pull that expired or has delivered all its messages or
    /// bytes. Any other status makes the reader create a new consumer.
    fn settle(&mut self, status: StatusCode, message: &Message) -> Result<(), Doubt> {
        match (status.as_u16(), message.description.as_deref()) {
            (100, _) => Ok(()),
            (408, _) | (409, Some("Batch Completed" | "Message Size Exceeds MaxBytes")) => {
                let unsent = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let unsent = unsent.and_then(|value| value.as_str().parse().ok()).unwrap_or(self.outstanding);
                self.outstanding = self.outstanding.saturating_sub(unsent);
                Ok(())
            }
            _ => Err(Doubt::Lost("unexpected status")),
        }
    }
}

/// Position of a delivered message, from its reply subject `$JS.ACK.<stream>.<consumer>.<delivered>.<stream
/// seq>.<consumer seq>.<time>.<pending>`, to which newer servers may add the prefix `$JS.ACK.<domain>.<account>.`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConsumerPosition {
    pub(crate) stream_seq: u64,
    consumer_seq: u64,
    /// Time of storing by the server's clock, in milliseconds.
    pub(crate) server_ms: i64,
    pending: u64,
}

impl ConsumerPosition {
    fn of(message: &Message) -> Option<Self> {
        Self::parse(message.reply.as_ref()?)
    }

    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let skipped = match tokens.len() {
            9 => 4,
            11 | 12 => 6,
            _ => return None,
        };
        let number = |idx: usize| tokens.get(skipped + idx)?.parse::<u64>().ok();
        let server_ms = tokens.get(skipped + 3)?.parse::<i64>().ok()?.div_euclid(1_000_000);
        Some(Self { stream_seq: number(1)?, consumer_seq: number(2)?, server_ms, pending: number(4)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_reply_subjects_are_read() {
        let place = Some(ConsumerPosition { stream_seq: 7, consumer_seq: 3, server_ms: 1_700_000_000_123, pending: 5 });
        assert_eq!(ConsumerPosition::parse("$JS.ACK.FEED.feed-1.1.7.3.1700000000123999999.5"), place);
        assert_eq!(ConsumerPosition::parse("$JS.ACK._.hash.FEED.feed-1.1.7.3.1700000000123999999.5"), place);
        assert_eq!(ConsumerPosition::parse("$JS.ACK._.hash.FEED.feed-1.1.7.3.1700000000123999999.5.rnd"), place);
        assert_eq!(ConsumerPosition::parse("_INBOX.x"), None);
    }
}
