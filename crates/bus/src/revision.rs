//! Writes of a key that succeed only if its revision, the sequence of its last write, is still the expected one.

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use serde::Deserialize;

use crate::connect::{Connection, parse_answer};
use crate::error::Error;

#[derive(Deserialize)]
struct Written {
    seq: u64,
}

/// Headers of a write that expects this revision; 0 for a key that was never written.
pub(crate) fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
    headers
}

/// Writes a key and returns its new revision. `what` names the value in errors.
pub(crate) async fn write(
    connection: &Connection,
    what: &str,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<u64, Error> {
    let answer = connection.request(subject, Some(headers), payload).await?;
    let written: Written = parse_answer(what, &answer.payload)?;
    Ok(written.seq)
}

/// `None` for a write that came after another one.
pub(crate) fn unless_overtaken(written: Result<u64, Error>) -> Result<Option<u64>, Error> {
    match written {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.is_overtaken() => Ok(None),
        Err(error) => Err(error),
    }
}
