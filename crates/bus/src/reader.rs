//! Our own ordered reader of a stream.
//!
//! The client's ordered consumer can restart at sequence 1 and stay silent for half a minute. This one reads through a
//! named pull consumer without acknowledgements, checks that every message follows the one before, and on any doubt (a
//! jump, silence, an unexpected status, a lost connection) makes a new consumer where it stands.

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

/// Messages asked for at once.
const PULL: usize = 40;
/// Bytes asked for at once, two times at most: nats.conf has the server drop a client for whom more than twice that waits.
const PULL_BYTES: usize = 4_000_000;
/// Messages that wait decoded between the connection and whoever reads.
const AHEAD: usize = 64;
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Two missed heartbeats and some slack: longer silence is doubt.
const SILENCE_MAX: Duration = Duration::from_millis(1_100);
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// The server forgets a consumer of ours this long after its process died.
const INACTIVE: Duration = Duration::from_secs(5);
/// How often a reader that has nothing to read looks how far nothing is missing. Far less than any retention takes to
/// turn over.
const IDLE_LOOK: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// What to read.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The stream.
    pub stream: Stream,
    /// Stored subjects, with wildcards; they must not overlap.
    pub filters: Vec<String>,
    /// First sequence of interest.
    pub from: u64,
}

/// A stored message.
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
    /// When the server stored it, in milliseconds; of a restored message, the first time (`bus::arrival`).
    pub stored_ms: i64,
    /// Matching messages that were still to come when it was sent.
    pub pending: u64,
}

/// How messages are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With their lines as they are.
    Lines,
    /// As they are stored, for whoever stores or measures them.
    Stored,
}

/// What a reader reports, in order.
#[derive(Debug)]
pub enum Event {
    /// Reading begins, or begins again after a doubt, or has nothing to read for a while: what the stream was just before,
    /// and whether anything is waiting.
    Attached {
        /// The stream.
        info: Box<StreamInfo>,
        /// Matching messages from here on.
        pending: u64,
    },
    /// The next message.
    Message(Delivery),
}

/// Reads a stream in its own task; dropping it ends the task.
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
    /// Starts reading; payloads are decoded.
    pub fn start(connection: &Connection, selection: Selection) -> Self {
        Self::start_as(connection, selection, Form::Lines)
    }

    /// Starts reading messages in a form.
    pub fn start_as(connection: &Connection, selection: Selection, form: Form) -> Self {
        Self::start_with(connection, selection, form, false, 0)
    }

    /// Starts reading a stream that is known to reach a sequence: a leader that says less is asked again.
    pub fn start_reaching(connection: &Connection, selection: Selection, reaches: u64) -> Self {
        Self::start_with(connection, selection, Form::Lines, false, reaches)
    }

    /// Starts reading up to the end: when nothing more is waiting, an [`Event::Attached`] comes at once that says so. Only that
    /// is the end where a stream has several copies, since the one that is read may lag.
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

    /// The next event. Outages are waited for; only what waiting cannot mend is an error, and the last event.
    /// Cancelling loses nothing.
    ///
    /// # Errors
    /// Missing permission, a stream that is not there, a request that the server calls wrong.
    pub async fn next(&mut self) -> Result<Event, Error> {
        match self.events.recv().await {
            Some(event) => event,
            None => Err(Error::Unreadable { what: "the stream".to_owned(), detail: "its reader has ended".to_owned() }),
        }
    }

    /// How many messages came that were read before. They were dropped.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Whether nothing has arrived that was not taken yet.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Reads what a stream holds now, message by message, and returns the last sequence that was looked at: everything up
/// to it that matches has been seen.
///
/// # Errors
/// As [`Reader::next`], and whatever `each` returns.
pub async fn read_to_end<E: From<Error>>(
    connection: &Connection,
    selection: Selection,
    each: impl FnMut(Delivery) -> Result<(), E>,
) -> Result<u64, E> {
    read_to_end_as(connection, selection, Form::Lines, each).await
}

/// The same for messages in a form.
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

/// What the server says of a consumer.
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
    /// Next stream sequence of interest.
    next: u64,
    /// Whether the end is told at once.
    confirms_end: bool,
    /// A sequence that the stream is known to reach.
    reaches: u64,
    /// Which log is read, once that is known.
    log: Option<LogId>,
    events: mpsc::Sender<Result<Event, Error>>,
    /// Messages that came again.
    repeated: Arc<AtomicU64>,
}

/// Whoever reads is gone.
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
                    // Nobody listens when this fails: then nobody needs to know.
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
        // The stream is looked at first: what shows nothing pending after it has everything up to its last sequence.
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
            let place = ConsumerPosition::of(&message).ok_or(Doubt::Lost("no place in the reply subject"))?;
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

    /// What the server says of the stream, which reaches as far as it was read.
    async fn info(&mut self) -> Result<StreamInfo, Error> {
        let (stream, read) = (self.selection.stream, self.reaches.max(self.next.saturating_sub(1)));
        let info = leader::info_reaching(&self.connection, stream, self.log.as_ref(), read).await?;
        if self.log.is_none() {
            self.log = Some(info.log()?);
        }
        Ok(info)
    }

    /// Says how far nothing is missing, if everything that matches was delivered and read. The stream is looked at first.
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

    /// A consumer that has nothing to deliver knows the copy of its own server, which may lag behind the leader's, or stand
    /// still for good after a crash: the leader is asked for what comes next.
    async fn check_replica(&self, leader: &StreamInfo) -> Result<(), Doubt> {
        let is_behind = leader.replicas() > 1 && leader.state.last_seq >= self.next;
        // This user may not ask.
        if !is_behind || self.connection.user() == SHARED_USER {
            return Ok(());
        }
        for filter in &self.selection.filters {
            let next = query::next(&self.connection, self.selection.stream, filter, self.next).await?;
            if next.is_some_and(|next| next.message.seq <= leader.state.last_seq) {
                return Err(Doubt::Lost("the copy that is read lags behind the leader's"));
            }
        }
        // Another leader may have answered from less than the first one had.
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

/// What a delivered message is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    Next,
    /// One that was read before.
    Again,
    /// Another one came before it, or should have.
    OutOfOrder,
}

/// Judges the message that is the `delivered`th of its consumer to arrive, by its sequences in the stream and of the consumer;
/// `next` is the next sequence of interest.
pub fn arrival(next: u64, delivered: u64, (stream_seq, consumer_seq): (u64, u64)) -> Arrival {
    if stream_seq < next {
        Arrival::Again
    } else if consumer_seq != delivered {
        Arrival::OutOfOrder
    } else {
        Arrival::Next
    }
}

/// The user who reads history with a password that others may know too: its permission names each consumer that it may
/// create (deploy/nats/guests.conf), so that it cannot take all that a stream may have.
const SHARED_USER: &str = "reader";
/// Consumers of a stream that this user may have at a time, `reader-1` and so on.
const SHARED_CONSUMERS: u32 = 32;

/// Names for a consumer, the next one when one is taken: a fresh name, never one that a server might still know, or each
/// of those that a shared user may use, in any order.
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
    /// Messages that wait for it.
    pub(crate) pending: u64,
}

/// Creates a consumer on the given subjects.
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
    // Unlike that of another process: the server would give both the same consumer.
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

/// How many messages on the given subjects stand at or after `from`.
///
/// # Errors
/// Whatever a request can meet.
pub async fn count_from(connection: &Connection, stream: Stream, subjects: &[String], from: u64) -> Result<u64, Error> {
    let Created { name, pending } = create_consumer(connection, stream, subjects, reading_from(from)).await?;
    delete_consumer(connection, stream, &name).await;
    Ok(pending)
}

/// A consumer that reads on from a sequence and is forgotten soon after its process.
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

/// Deletes a consumer that is no longer needed; the server would forget it soon anyway.
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

/// The requests for messages that are under way.
struct Pulls<'a> {
    connection: &'a Connection,
    stream: Stream,
    name: &'a str,
    inbox: String,
    /// Messages that the server may still send.
    outstanding: usize,
}

impl Pulls<'_> {
    /// Asks for more when half of what was asked for has come.
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

    /// Takes note of a status instead of a message: a heartbeat, or the end of a pull, which has expired or has all of its
    /// messages or bytes; all else is doubt.
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

/// Where a delivered message stands, from its reply subject
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, which newer servers may
/// begin with `$JS.ACK.<domain>.<account>.`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConsumerPosition {
    pub(crate) stream_seq: u64,
    consumer_seq: u64,
    /// When the server stored it, in milliseconds.
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
