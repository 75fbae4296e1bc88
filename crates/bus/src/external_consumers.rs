//! Registrations of readers that keep their position outside the server, such as an archive on a disk. Each registers
//! how far it has read, so that trimming does not overtake it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connect::{Connection, parse_answer};
use crate::error::Error;
use crate::protocol::{LogId, decode_version};
use crate::snapshot::all_last;
use crate::stream::{READERS_STREAM, Stream};
use crate::subject;
use crate::topology::{purge, stream_info};

/// The version of the stored form of registrations.
pub const REGISTRATION_VERSION: u32 = 2;

/// A reader and how far it has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The version of the stored form: [`REGISTRATION_VERSION`].
    pub version: u32,
    /// A description for people: `the archive /srv/candlewire/archive`.
    pub name: String,
    /// The identity of the log that it reads. It cannot continue in another log.
    pub log: LogId,
    /// It needs no message up to this sequence.
    pub through: u64,
}

/// Registers how far a reader has read; replaces its earlier registration.
///
/// # Errors
/// [`Error::StreamMissing`] when there is no bucket; errors of [`Connection::request`].
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

/// All registered readers of a stream, by id.
///
/// # Errors
/// As [`register`], and [`Error::Unreadable`] for a registration of another version.
pub async fn registered(connection: &Connection, stream: Stream) -> Result<Vec<(String, Registration)>, Error> {
    stream_info(connection, READERS_STREAM).await?;
    let stored = all_last(connection, READERS_STREAM, &subject::reader(stream, "*")).await?;
    let read = |message: crate::query::StoredMessage| {
        let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let advice = format!("run `topology trim --forget {id}`, and archive to another directory or bucket");
        let registration = decode_version(&message.payload, REGISTRATION_VERSION, &advice)
            .map_err(|detail| Error::Unreadable { what: format!("reader {}", message.subject), detail })?;
        Ok((id, registration))
    };
    stored.into_iter().map(read).collect()
}

/// Removes the registration of a reader. False when there is none with that id.
///
/// # Errors
/// As [`register`].
pub async fn forget(connection: &Connection, stream: Stream, id: &str) -> Result<bool, Error> {
    let body = json!({ "filter": subject::reader(stream, id) });
    Ok(purge(connection, READERS_STREAM, &body).await? > 0)
}
