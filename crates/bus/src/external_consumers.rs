//! Readers that keep their place elsewhere, such as an archive on a disk: here they say how far they have read, so that
//! trimming does not overtake them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connect::{Connection, parse_answer};
use crate::error::Error;
use crate::protocol::{LogId, decode_version};
use crate::snapshot::all_last;
use crate::subject;
use crate::topology::{READERS_STREAM, Stream, purge, stream_info};

/// The version of the stored form of registrations.
pub const REGISTRATION_VERSION: u32 = 2;

/// How far a reader is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The version of its form: [`REGISTRATION_VERSION`].
    pub version: u32,
    /// What it is, for people: `the archive /srv/candlewire/archive`.
    pub name: String,
    /// Which log it reads. Another one cannot be continued.
    pub log: LogId,
    /// It needs nothing up to this sequence any more.
    pub through: u64,
}

/// Says how far a reader is, in the place of what it said before.
///
/// # Errors
/// [`Error::StreamMissing`] when there is no bucket; whatever a request can meet.
pub async fn register(
    connection: &Connection,
    stream: Stream,
    id: &str,
    registration: &Registration,
) -> Result<(), Error> {
    stream_info(connection, READERS_STREAM).await?;
    let payload = serde_json::to_vec(registration).expect("a registration is plain data");
    let answer = connection.request(subject::reader(stream, id), None, payload.into()).await?;
    parse_answer::<Value>("a registration", &answer.payload).map(drop)
}

/// Everybody who has said how far it has read a stream, by id.
///
/// # Errors
/// As [`register`], and [`Error::Unreadable`] for what this version cannot have written.
pub async fn registered(connection: &Connection, stream: Stream) -> Result<Vec<(String, Registration)>, Error> {
    stream_info(connection, READERS_STREAM).await?;
    let stored = all_last(connection, READERS_STREAM, &subject::reader(stream, "*")).await?;
    let read = |message: crate::query::StoredMessage| {
        let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let advice = format!("run `topology trim --forget {id}`, and archive into another place");
        let registration = decode_version(&message.payload, REGISTRATION_VERSION, &advice)
            .map_err(|detail| Error::Unreadable { what: format!("reader {}", message.subject), detail })?;
        Ok((id, registration))
    };
    stored.into_iter().map(read).collect()
}

/// Forgets a reader that will not come back. False when there is none of that id.
///
/// # Errors
/// As [`register`].
pub async fn forget(connection: &Connection, stream: Stream, id: &str) -> Result<bool, Error> {
    let body = json!({ "filter": subject::reader(stream, id) });
    Ok(purge(connection, READERS_STREAM, &body).await? > 0)
}
