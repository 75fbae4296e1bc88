//! The ARTIFACTS object store: models, model cards, predictions. Readers need no shared file system.

use std::time::Duration;

use async_nats::jetstream::object_store::{DeleteErrorKind, InfoErrorKind, ObjectInfo, ObjectStore};
use data_encoding::BASE64URL;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::connect::Connection;
use crate::error::Error;
use crate::query;
use crate::stream::{ARTIFACTS, ARTIFACTS_STREAM};
use crate::topology::stream_info;

/// Time limit for one object: some megabytes on a busy machine. The client alone would wait forever for a chunk that
/// was deleted.
const OBJECT_MAX: Duration = Duration::from_secs(30);

/// Stores an object under a key, replacing an earlier one. Readers see the old or the new one, never a mixture.
///
/// # Errors
/// [`Error::StreamMissing`] when the store does not exist; [`Error::Unanswered`] when the server does not answer.
pub async fn put(connection: &Connection, key: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut reader = bytes;
    let store = store(connection).await?;
    let unanswered = |why: &str| Error::Unanswered { what: format!("storing object {key}{why}") };
    match timeout(OBJECT_MAX, store.put(key, &mut reader)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(unanswered(&format!(" ({error})"))),
        Err(_) => Err(unanswered("")),
    }
}

/// Returns the object of a key; `None` when there is none. Its chunks are requested one by one: the client would use a
/// consumer, which does not reach an account without streams.
///
/// # Errors
/// As [`put`], and [`Error::Unreadable`] when what arrives does not match its digest.
pub async fn get(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let unanswered = || Error::Unanswered { what: format!("object {key}") };
    let info = match store(connection).await?.info(key).await {
        Ok(info) if info.deleted => return Ok(None),
        Ok(info) => info,
        Err(error) if error.kind() == InfoErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(unanswered()),
    };
    let bytes = timeout(OBJECT_MAX, chunks(connection, &info)).await.map_err(|_| unanswered())??;
    if info.digest == Some(format!("SHA-256={}", BASE64URL.encode(&Sha256::digest(&bytes)))) {
        Ok(Some(bytes))
    } else {
        Err(Error::Unreadable { what: format!("object {key}"), detail: "wrong digest".to_owned() })
    }
}

/// Returns the sequence of the newest change of an object; 0 before the first.
///
/// # Errors
/// As [`put`].
pub async fn end(connection: &Connection) -> Result<u64, Error> {
    Ok(stream_info(connection, ARTIFACTS_STREAM).await?.state.last_seq)
}

/// Returns the key of every object.
///
/// # Errors
/// As [`put`].
pub async fn keys(connection: &Connection) -> Result<Vec<String>, Error> {
    let entries = query::subjects_of(connection, ARTIFACTS_STREAM, &entry("*")).await?;
    Ok(entries.iter().filter_map(|subject| key_of(subject)).collect())
}

/// Returns the sequence and the key of the first change of an object at or after a sequence of the store's stream; `None`
/// when there is none yet. A deletion is a change too.
///
/// # Errors
/// As [`put`].
pub async fn next_change(connection: &Connection, from: u64) -> Result<Option<(u64, String)>, Error> {
    let Some(found) = query::next_in(connection, ARTIFACTS_STREAM, &entry("*"), from).await? else { return Ok(None) };
    Ok(Some((found.message.seq, key_of(&found.message.subject).unwrap_or_default())))
}

/// Returns the subject of an object's entry, given its key in Base64.
fn entry(key: &str) -> String {
    format!("$O.{ARTIFACTS}.M.{key}")
}

/// Returns the key of the object whose entry is on a subject.
fn key_of(subject: &str) -> Option<String> {
    let key = BASE64URL.decode(subject.strip_prefix(&entry(""))?.as_bytes()).ok()?;
    String::from_utf8(key).ok()
}

/// Reads the existing chunks of an object.
async fn chunks(connection: &Connection, info: &ObjectInfo) -> Result<Vec<u8>, Error> {
    let subject = format!("$O.{ARTIFACTS}.C.{}", info.nuid);
    let mut bytes = Vec::new();
    let mut from = 1;
    for _ in 0..info.chunks {
        let Some(chunk) = query::next_in(connection, ARTIFACTS_STREAM, &subject, from).await? else { break };
        from = chunk.message.seq + 1;
        bytes.extend_from_slice(&chunk.message.payload);
    }
    Ok(bytes)
}

async fn store(connection: &Connection) -> Result<ObjectStore, Error> {
    match connection.jetstream().get_object_store(ARTIFACTS).await {
        Ok(store) => Ok(store),
        Err(_) => {
            // Missing, forbidden or silent: the description of its stream says which.
            stream_info(connection, ARTIFACTS_STREAM).await?;
            Err(Error::Unanswered { what: ARTIFACTS_STREAM.to_owned() })
        }
    }
}

/// Deletes an object. A missing object is no error.
///
/// # Errors
/// As [`put`].
pub async fn delete(connection: &Connection, key: &str) -> Result<(), Error> {
    match store(connection).await?.delete(key).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
        Err(_) => Err(Error::Unanswered { what: format!("removing object {key}") }),
    }
}
