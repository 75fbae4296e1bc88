//! Queries of stored messages: the last one, the next one, a run of them, those between two sequences.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageErrorKind};
use async_nats::{HeaderMap, HeaderValue, Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::connect::{ANSWER_MAX, Connection};
use crate::error::Error;
use crate::stream::Stream;
use crate::{codec, leader, subject};

/// Upper bound of the slices of a stream that are read concurrently, and lower bound of their length.
const SLICES: u64 = 8;
const SLICE_MIN: u64 = 64;
/// Bytes of a run of messages, at most, except for its last message. nats.conf lets the server close a connection with
/// eight times that pending.
pub const RUN_BYTES_MAX: usize = 2 << 20;

/// A stored message.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its sequence in the stream.
    pub seq: u64,
    /// Its stored subject.
    pub subject: String,
    /// Its payload.
    pub payload: Bytes,
    /// Its headers.
    pub headers: HeaderMap,
    /// Time of storing by the server's clock, in milliseconds; for a restored message, of the restore: see
    /// [`crate::stored_time::of`].
    pub server_ms: i64,
}

impl StoredMessage {
    /// The message id that it was published with, if any.
    pub fn id(&self) -> Option<&str> {
        self.headers.get(NATS_MESSAGE_ID).map(HeaderValue::as_str)
    }

    /// The message with a decoded payload.
    pub fn decoded(self) -> Self {
        let (headers, payload) = codec::decode(Some(self.headers), self.payload);
        Self { payload, headers: headers.unwrap_or_default(), ..self }
    }
}

/// The last message on a stored subject, which may have wildcards, from the leader.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn last(connection: &Connection, stream: Stream, subject: &str) -> Result<Option<StoredMessage>, Error> {
    let what = || format!("the last message on {subject}");
    let unanswered = || unanswered(connection, stream.name(), what());
    let handle = connection.jetstream().get_stream_no_info(stream.name()).await.map_err(|_| unanswered())?;
    match connection.answered(subject, handle.get_last_raw_message_by_subject(subject)).await? {
        Ok(message) => Ok(Some(
            StoredMessage {
                seq: message.sequence,
                server_ms: ms_of(message.time.into()),
                subject: message.subject.to_string(),
                payload: message.payload,
                headers: message.headers,
            }
            .decoded(),
        )),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(error) => {
                let err_code = u32::try_from(error.error_code().0).unwrap_or_default();
                Err(Error::refusal(what(), error.code() as u16, err_code, error.to_string()))
            }
            _ => Err(unanswered()),
        },
    }
}

/// The last message on an exact stored subject, from any replica: a request that is open to a user without credentials.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn newest(connection: &Connection, stream: Stream, subject: &str) -> Result<Option<StoredMessage>, Error> {
    direct(connection, format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Bytes::new()).await
}

/// The last message before a sequence on a stored subject, which may have wildcards, from any replica.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn last_before(
    connection: &Connection,
    stream: Stream,
    subject: &str,
    seq: u64,
) -> Result<Option<StoredMessage>, Error> {
    // For the server 0 means no bound.
    let Some(up_to) = seq.checked_sub(1).filter(|&up_to| up_to > 0) else { return Ok(None) };
    let body = json!({ "multi_last": [subject], "up_to_seq": up_to }).to_string();
    direct(connection, format!("$JS.API.DIRECT.GET.{stream}"), body.into()).await
}

/// The message of a direct-get answer.
pub(crate) async fn direct(
    connection: &Connection,
    request: String,
    body: Bytes,
) -> Result<Option<StoredMessage>, Error> {
    let message = connection.request(request, None, body).await?;
    // An answer without a message is a status.
    if message.status.is_some() {
        return Ok(None);
    }
    direct_answer(message).map(|stored| Some(stored.decoded())).ok_or_else(|| Error::Unreadable {
        what: "a stored message".to_owned(),
        detail: "the server's answer has no sequence".to_owned(),
    })
}

/// Parses a direct-get answer, whose sequence is in headers; `None` for the end of an answer.
pub(crate) fn direct_answer(message: Message) -> Option<StoredMessage> {
    let headers = message.headers?;
    let header = |name: &str| headers.get(name).map(HeaderValue::as_str);
    let seq = header("Nats-Sequence")?.parse().ok()?;
    let subject = header("Nats-Subject")?.to_owned();
    let server_ms = ms_of(humantime::parse_rfc3339(header("Nats-Time-Stamp")?).ok()?);
    Some(StoredMessage { seq, subject, payload: message.payload, headers, server_ms })
}

/// A server time in whole milliseconds since the epoch.
fn ms_of(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A message and its time of storing.
#[derive(Debug, Clone)]
pub struct Found {
    /// The message.
    pub message: StoredMessage,
    /// Its time of storing, by the server's clock.
    pub stored_at: SystemTime,
}

/// The first existing message on a stored subject, which may have wildcards.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn first(connection: &Connection, stream: Stream, subject: &str) -> Result<Option<StoredMessage>, Error> {
    first_from(connection, stream, subject, 1).await
}

/// The first message on a stored subject, which may have wildcards, at or after a sequence.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn first_from(
    connection: &Connection,
    stream: Stream,
    subject: &str,
    from: u64,
) -> Result<Option<StoredMessage>, Error> {
    Ok(next(connection, stream, subject, from).await?.map(|found| found.message.decoded()))
}

/// Messages on a stored subject from a sequence on.
#[derive(Debug, Clone)]
pub struct Run {
    /// The messages, in order, as stored: see [`StoredMessage::decoded`].
    pub messages: Vec<StoredMessage>,
    /// Whether no message follows.
    pub is_end: bool,
}

/// Several messages on a stored subject at or after a sequence, from any replica: at most `count`, and about
/// [`RUN_BYTES_MAX`] bytes, but at least one if there is one.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn run_from(
    connection: &Connection,
    stream: Stream,
    subject: &str,
    from: u64,
    count: usize,
) -> Result<Run, Error> {
    let what = format!("messages on {subject} from {from}");
    let body = json!({ "seq": from, "next_by_subj": subject, "batch": count, "max_bytes": RUN_BYTES_MAX });
    let found = several(connection, stream.name(), &body, &what).await?;
    let Several { messages, left_out } = found.ok_or(Error::Unanswered { what })?;
    Ok(Run { messages, is_end: left_out == 0 })
}

/// The first message on a stored subject at or after a sequence, decoded, from any replica.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn one_from(
    connection: &Connection,
    stream: Stream,
    subject: &str,
    from: u64,
) -> Result<Option<StoredMessage>, Error> {
    let body = json!({ "seq": from, "next_by_subj": subject }).to_string();
    direct(connection, format!("$JS.API.DIRECT.GET.{stream}"), body.into()).await
}

/// The first message on a subject, which may have wildcards, at or after `from`.
pub async fn next(connection: &Connection, stream: Stream, subject: &str, from: u64) -> Result<Option<Found>, Error> {
    next_in(connection, stream.name(), subject, from).await
}

/// All messages on a subject, which may have wildcards, between two sequences (both exclusive), in order, from the
/// leader. In a cluster a leader that was just elected may lack some of them, so a result counts only when one leader
/// that has everything before `before` led from beginning to end.
pub async fn between(
    connection: &Connection,
    stream: Stream,
    subject: &str,
    after: u64,
    before: u64,
) -> Result<Vec<Found>, Error> {
    if connection.client().server_info().cluster.is_none() {
        return slices(connection, stream, subject, after, before).await;
    }
    let reach = before.saturating_sub(1);
    loop {
        let first = leader::info_reaching(connection, stream, None, reach).await?;
        let found = slices(connection, stream, subject, after, before).await?;
        let second = leader::info_reaching(connection, stream, None, reach).await?;
        if second.state.last_seq < reach {
            return Err(Error::Unanswered { what: format!("messages on {subject} up to {reach}") });
        }
        if first.leader() == second.leader() && first.state.last_seq >= reach {
            return Ok(found);
        }
    }
}

/// Reads several slices concurrently, since each message takes a request.
async fn slices(
    connection: &Connection,
    stream: Stream,
    subject: &str,
    after: u64,
    before: u64,
) -> Result<Vec<Found>, Error> {
    let width = before.saturating_sub(after + 1).div_ceil(SLICES).max(SLICE_MIN);
    let slices = (after + 1..before).step_by(usize::try_from(width).unwrap_or(usize::MAX));
    let slices = slices.map(async |first| {
        let (end, mut from, mut found) = (before.min(first + width), first, Vec::new());
        while from < end
            && let Some(next) = next(connection, stream, subject, from).await?
            && next.message.seq < end
        {
            from = next.message.seq + 1;
            found.push(next);
        }
        Ok::<_, Error>(found)
    });
    Ok(try_join_all(slices).await?.into_iter().flatten().collect())
}

/// As [`next`], by the name of any JetStream stream.
pub async fn next_in(connection: &Connection, stream: &str, subject: &str, from: u64) -> Result<Option<Found>, Error> {
    let unanswered = || unanswered(connection, stream, format!("messages on {subject} from {from}"));
    let handle = connection.jetstream().get_stream_no_info(stream).await.map_err(|_| unanswered())?;
    match connection.answered(subject, handle.get_first_raw_message_by_subject(subject, from)).await? {
        Ok(message) => Ok(Some(Found {
            stored_at: message.time.into(),
            message: StoredMessage {
                seq: message.sequence,
                server_ms: ms_of(message.time.into()),
                subject: message.subject.to_string(),
                payload: message.payload,
                headers: message.headers,
            },
        })),
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(_) => Err(unanswered()),
    }
}

/// All subjects with stored messages of a stream, without checkpoints.
///
/// # Errors
/// Any error of [`Connection::api`].
pub async fn subjects(connection: &Connection, stream: Stream) -> Result<Vec<String>, Error> {
    subjects_of(connection, stream.name(), &subject::all(stream)).await
}

/// All subjects with stored messages that a filter selects, by the name of any JetStream stream.
pub(crate) async fn subjects_of(connection: &Connection, stream: &str, filter: &str) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Page {
        state: State,
        #[serde(default)]
        total: usize,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: BTreeMap<String, u64>,
    }
    let mut subjects: BTreeMap<String, u64> = BTreeMap::new();
    let mut offset = 0;
    loop {
        let body = json!({ "subjects_filter": filter, "offset": offset });
        let page: Page = connection.api(&format!("STREAM.INFO.{stream}"), &body).await?;
        offset += page.state.subjects.len();
        let is_last = page.state.subjects.is_empty() || offset >= page.total;
        subjects.extend(page.state.subjects);
        if is_last {
            return Ok(subjects.into_keys().collect());
        }
    }
}

/// Messages that a request has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Several {
    /// The messages, in order.
    pub(crate) messages: Vec<StoredMessage>,
    /// Number of matching messages that the answer left out.
    pub(crate) left_out: u64,
}

/// Requests messages of a stream; `None` when the server refuses because there are too many. `what` names the messages in
/// errors.
///
/// # Errors
/// No answer, or a missing permission.
pub(crate) async fn several(
    connection: &Connection,
    stream: &str,
    body: &Value,
    what: &str,
) -> Result<Option<Several>, Error> {
    const NOT_FOUND: u16 = 404;
    const END: u16 = 204;
    const TOO_MANY: u16 = 413;
    let request = format!("$JS.API.DIRECT.GET.{stream}");
    let unanswered = || connection.denied(&request).unwrap_or_else(|| Error::Unanswered { what: what.to_owned() });
    let client = connection.client();
    let mut epoch = connection.epoch();
    let inbox = client.new_inbox();
    let mut subscriber = client.subscribe(inbox.clone()).await.map_err(|_| unanswered())?;
    let sent = client.publish_with_reply(request.clone(), inbox, body.to_string().into()).await;
    sent.map_err(|_| unanswered())?;
    let mut found = Several::default();
    loop {
        let message = tokio::select! {
            message = tokio::time::timeout(ANSWER_MAX, subscriber.next()) => message.ok().flatten().ok_or_else(unanswered)?,
            _ = epoch.changed() => return Err(unanswered()),
        };
        match message.status.map(|status: StatusCode| status.as_u16()) {
            Some(END) => return Ok(Some(Several { left_out: left_out(&message), ..found })),
            Some(NOT_FOUND) => return Ok(Some(found)),
            Some(TOO_MANY) => return Ok(None),
            // No leader, or no responder: an outage.
            Some(_) => return Err(unanswered()),
            None => found.messages.extend(direct_answer(message)),
        }
    }
}

/// The number of messages that an answer left out, from its end message.
fn left_out(end: &Message) -> u64 {
    let left = end.headers.as_ref().and_then(|headers| headers.get("Nats-Num-Pending"));
    left.and_then(|left| left.as_str().parse().ok()).unwrap_or(0)
}

/// The error of a missing answer: a denied request, or an unknown reason.
fn unanswered(connection: &Connection, stream: &str, what: String) -> Error {
    let denied = connection.denied(&format!("$JS.API.STREAM.MSG.GET.{stream}"));
    denied.unwrap_or(Error::Unanswered { what })
}
