//! Ordered reader of a stream.
//!
//! The ordered consumer of the client crate can restart at sequence 1 and stay silent for half a minute. This reader
//! uses a named pull consumer without acknowledgements. It checks that every message follows the one before. On a gap,
//! silence, an unexpected status or a lost connection it creates a new consumer at its current sequence.

mod consumer;
mod interruption;
mod order;
mod pulls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::codec::Decoder;
use crate::connect::{Connection, nothing};
use crate::error::{Disposition, Error};
use crate::protocol::LogId;
use crate::reader::consumer::{ConsumerInfo, SHARED_USER, reading_from};
use crate::reader::interruption::{Dropped, Interruption};
use crate::reader::pulls::Pulls;
use crate::reminder::Reminder;
use crate::retry::Backoff;
use crate::stream::Stream;
use crate::topology::{StreamInfo, stream_info};
use crate::{leader, query, stored_time};

pub use consumer::count_from;
pub(crate) use consumer::{ConsumerPosition, Created, create_consumer, delete_consumer};
pub use order::DeliveryOrder;

/// Decoded messages that are buffered for the caller.
const AHEAD: usize = 64;
/// Two missed heartbeats and some slack. Longer silence makes the reader create a new consumer.
const SILENCE_MAX: Duration = Duration::from_millis(1_100);
/// How often an idle reader checks up to which sequence it has missed nothing. Far shorter than any retention takes to
/// delete unread messages.
const IDLE_CHECK: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

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

impl Delivery {
    /// Whether no message follows. A stream with replicas cannot tell: the replica that is read may lag.
    pub fn is_end_of(&self, stream: &StreamInfo) -> bool {
        self.pending == 0 && stream.replicas() == 1
    }
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
pub enum ReaderEvent {
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
    events: mpsc::Receiver<Result<ReaderEvent, Error>>,
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

    /// Starts a reader that reports the end: when no message is waiting, it emits an [`ReaderEvent::Attached`] at once. On a
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
    pub async fn next(&mut self) -> Result<ReaderEvent, Error> {
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
            ReaderEvent::Attached { pending, .. } => pending == 0,
            ReaderEvent::Message(delivery) if delivery.seq > end => true,
            ReaderEvent::Message(delivery) => {
                let is_over = delivery.is_end_of(&info);
                each(delivery)?;
                is_over
            }
        };
        if is_over {
            return Ok(end);
        }
    }
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
    events: mpsc::Sender<Result<ReaderEvent, Error>>,
    /// Messages that were delivered again.
    repeated: Arc<AtomicU64>,
}

impl Source {
    async fn run(mut self) {
        let mut delays = RETRY.delays();
        let mut reminder = Reminder::default();
        loop {
            let before = self.next;
            let Err(interruption) = self.attach_and_follow().await;
            if self.next > before {
                delays.reset();
            }
            match interruption {
                Interruption::Dropped => return,
                Interruption::Restart(why) => {
                    tracing::debug!(stream = %self.selection.stream, next = self.next, why, "restarting")
                }
                Interruption::Failed(error) if error.disposition() == Disposition::Stop => {
                    // The receiver is gone when this fails, so the error has no reader.
                    drop(self.events.send(Err(error)).await);
                    return;
                }
                Interruption::Failed(error) => reminder.warn(&error),
            }
            tokio::time::sleep(delays.next_delay()).await;
            self.connection.connected().await;
        }
    }

    async fn attach_and_follow(&mut self) -> Result<std::convert::Infallible, Interruption> {
        // The stream is read before the consumer: when nothing is pending then, everything up to its last sequence was seen.
        let info = self.info().await?;
        let is_alone = info.replicas() == 1;
        let restored_to = info.log()?.restored_to();
        let mut epoch = self.connection.epoch();
        let inbox = self.connection.client().new_inbox();
        let subscriber = self.connection.client().subscribe(inbox.clone()).await;
        let mut subscriber = subscriber.map_err(|_| Interruption::Restart("no subscription"))?;
        let Created { name, pending } = self.create_consumer().await?;
        if pending == 0 {
            self.check_replica(&info).await?;
        }
        self.emit(Ok(ReaderEvent::Attached { info: Box::new(info), pending })).await?;
        let mut check_at = Instant::now() + IDLE_CHECK;
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
                () = sleep_until(check_at) => {
                    self.report_if_idle(&name, consumer_seq).await?;
                    check_at = Instant::now() + IDLE_CHECK;
                    continue;
                }
                _ = epoch.changed() => return Err(Interruption::Restart("connection changed")),
            };
            if let Some(status) = message.status {
                pulls.settle(status, &message)?;
                continue;
            }
            let at = ConsumerPosition::of(&message).ok_or(Interruption::Restart("no position in the reply subject"))?;
            consumer_seq += 1;
            pulls.outstanding = pulls.outstanding.saturating_sub(1);
            match DeliveryOrder::check(self.next, consumer_seq, (at.stream_seq, at.consumer_seq)) {
                DeliveryOrder::Next => self.next = at.stream_seq + 1,
                DeliveryOrder::Repeated => return Err(self.repetition(at.stream_seq)),
                DeliveryOrder::OutOfOrder => return Err(Interruption::Restart("out of order")),
            }
            check_at = Instant::now() + IDLE_CHECK;
            let Message { subject, headers, payload, .. } = message;
            let (headers, payload) = match self.form {
                Form::Lines => decoder.decode(headers, payload),
                Form::Stored => (headers, payload),
            };
            if at.pending == 0 {
                decoder.rest();
            }
            let (seq, pending) = (at.stream_seq, at.pending);
            let stored_ms = stored_time::stored_ms(seq, at.server_ms, headers.as_ref(), restored_to);
            let delivery = Delivery { seq, subject, headers, payload, stored_ms, pending };
            self.emit(Ok(ReaderEvent::Message(delivery))).await?;
            if pending == 0 && self.confirms_end && !is_alone {
                self.report_if_idle(&name, consumer_seq).await?;
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
    async fn report_if_idle(&mut self, name: &str, consumer_seq: u64) -> Result<(), Interruption> {
        let stream = self.selection.stream;
        let info = self.info().await?;
        let consumer: ConsumerInfo = self.connection.api(&format!("CONSUMER.INFO.{stream}.{name}"), &nothing()).await?;
        if consumer.num_pending == 0 && consumer.delivered.consumer_seq == consumer_seq {
            self.check_replica(&info).await?;
            self.emit(Ok(ReaderEvent::Attached { info: Box::new(info), pending: 0 })).await?;
        }
        Ok(())
    }

    /// A consumer with nothing to deliver knows only the replica of its own server, which may lag behind the leader, or
    /// have stopped for good after a crash. So the leader is asked for the next message.
    async fn check_replica(&self, leader: &StreamInfo) -> Result<(), Interruption> {
        let is_behind = leader.replicas() > 1 && leader.state.last_seq >= self.next;
        // This user has no permission for that request.
        if !is_behind || self.connection.user() == SHARED_USER {
            return Ok(());
        }
        for filter in &self.selection.filters {
            let next = query::next(&self.connection, self.selection.stream, filter, self.next).await?;
            if next.is_some_and(|next| next.message.seq <= leader.state.last_seq) {
                return Err(Interruption::Restart("the replica lags behind the leader"));
            }
        }
        // A new leader may have answered with a shorter log than the first one had.
        let still = stream_info(&self.connection, self.selection.stream.name()).await?;
        if still.leader() == leader.leader() {
            Ok(())
        } else {
            Err(Interruption::Restart("the stream has another leader"))
        }
    }

    /// Drops and counts a message that was read before.
    fn repetition(&self, seq: u64) -> Interruption {
        let count = self.repeated.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(stream = %self.selection.stream, seq, next = self.next, count, "dropped a message that was delivered again");
        Interruption::Restart("a message was delivered again")
    }

    async fn create_consumer(&self) -> Result<Created, Error> {
        let Selection { stream, ref filters, .. } = self.selection;
        create_consumer(&self.connection, stream, filters, reading_from(self.next)).await
    }

    async fn emit(&self, event: Result<ReaderEvent, Error>) -> Result<(), Dropped> {
        self.events.send(event).await.map_err(|_| Dropped)
    }
}

async fn next_message(subscriber: &mut Subscriber) -> Result<Message, Interruption> {
    match tokio::time::timeout(SILENCE_MAX, subscriber.next()).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Interruption::Restart("subscription ended")),
        Err(_) => Err(Interruption::Restart("silence")),
    }
}
