//! Conversions between types of production code and of the model.

use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_ID, NATS_BATCH_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bus::batch::{Numbered, ROLLUP_HEADER};
use bus::codec::{self, SCHEMA_HEADER};
use bus::reader::Delivery;
use bus::topology::StreamInfo;
use bus::{Error, query};
use serde_json::json;
use step::partition::InputInfo;

use crate::jetstream::{self, Answer, LogEntry, Message, Refusal};
use crate::world::executor::Response;

/// The server's clock at the start of a run, in milliseconds since 1970.
pub(crate) const EPOCH_MS: i64 = 1_700_000_000_000;

/// The server's clock in milliseconds.
pub(crate) fn server_ms(now_us: u64) -> i64 {
    EPOCH_MS + (now_us / 1_000) as i64
}

/// A message of a batch as a model message; `commits` for the last one. Payloads are decoded.
pub(crate) fn message((subject, headers, payload): Numbered, commits: bool) -> Message {
    let (headers, payload) = codec::decode(Some(headers), payload);
    let headers = headers.unwrap_or_default();
    let text = |name: &str| headers.get(name).map(|value| value.as_str());
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    let mut message = Message::new(&subject, payload);
    message.headers.schema = text(SCHEMA_HEADER).map(Into::into);
    message.headers.rollup = text(ROLLUP_HEADER).is_some();
    message.headers.expected = number(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.as_ref());
    match (text(NATS_BATCH_ID.as_ref()), number(NATS_BATCH_SEQUENCE.as_ref())) {
        (Some(id), Some(number)) => message.numbered(id, number, commits),
        _ => message,
    }
}

fn headers_of(message: &Message) -> HeaderMap {
    let mut headers = HeaderMap::new();
    message.headers.lines().into_iter().for_each(|(name, value)| headers.insert(name, value));
    headers
}

/// A stored message as production code reads it.
pub(crate) fn stored(stored: &LogEntry) -> query::StoredMessage {
    query::StoredMessage {
        seq: stored.seq,
        subject: stored.message.subject.to_string(),
        payload: stored.message.payload.clone(),
        headers: headers_of(&stored.message),
        server_ms: server_ms(stored.stored_us),
    }
}

/// A delivered message as production code reads it.
pub(crate) fn delivery(delivery: &jetstream::ConsumerDelivery) -> Delivery {
    let jetstream::ConsumerDelivery { stored, pending, .. } = delivery;
    Delivery {
        seq: stored.seq,
        subject: stored.message.subject.as_ref().into(),
        headers: Some(headers_of(&stored.message)),
        payload: stored.message.payload.clone(),
        stored_ms: server_ms(stored.stored_us),
        pending: *pending,
    }
}

/// The part of a stream's configuration that its description contains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) replicas: usize,
    pub(crate) max_age_us: u64,
}

/// The description of a stream as production code reads it.
pub(crate) fn info(response: Option<Response>, limits: Limits) -> Result<StreamInfo, Error> {
    let what = "STREAM.INFO";
    let Response { answer, trimmed, .. } = response.ok_or_else(|| unanswered(what))?;
    let Answer::Info(info) = answer else { return Err(failed(what, answer)) };
    let metadata = if trimmed > 0 { json!({ "candlewire.trimmed": trimmed.to_string() }) } else { json!({}) };
    let state = json!({ "messages": info.messages, "bytes": info.bytes, "first_seq": info.first_seq.max(1), "last_seq": info.last_seq });
    let config = json!({ "num_replicas": limits.replicas, "max_age": limits.max_age_us * 1_000, "metadata": metadata });
    let cluster = info.leader.map(|leader| json!({ "leader": format!("server-{leader}") }));
    let said = json!({ "created": info.created, "config": config, "state": state, "cluster": cluster });
    Ok(serde_json::from_value(said).expect("it has the form of production"))
}

/// The part of a description that a partition needs.
pub(crate) fn input_info(info: &StreamInfo) -> InputInfo {
    InputInfo::try_from(info).expect("no simulated stream was restored")
}

pub(crate) fn unanswered(what: &str) -> Error {
    Error::Unanswered { what: what.to_owned() }
}

/// The error of an unexpected answer.
pub(crate) fn failed(what: &str, answer: Answer) -> Error {
    match answer {
        Answer::Refused(Refusal { code, err_code, .. }) if err_code > 0 => {
            Error::refusal(what.to_owned(), code, err_code, "refused".to_owned())
        }
        _ => unanswered(what),
    }
}
