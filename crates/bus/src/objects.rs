//! The ARTIFACTS object store: models, model cards, predictions. No shared file system is needed to read them.

use std::time::Duration;

use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, ObjectStore};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::connect::Connection;
use crate::error::Error;
use crate::topology::{ARTIFACTS, stream_info};

/// How long one object may take: some megabytes on a busy machine. The client itself would wait for ever for a chunk that
/// is gone.
const OBJECT_MAX: Duration = Duration::from_secs(30);

/// Stores an object under a key, in place of an earlier one. Readers see the old or the new one, never a part.
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

/// The object under a key; `None` when there is none.
///
/// # Errors
/// As [`put`], and [`Error::Unreadable`] when what arrives does not match its digest.
pub async fn get(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let unanswered = || Error::Unanswered { what: format!("object {key}") };
    let mut object = match store(connection).await?.get(key).await {
        Ok(object) => object,
        Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(unanswered()),
    };
    let mut bytes = Vec::with_capacity(object.info().size);
    let read = timeout(OBJECT_MAX, object.read_to_end(&mut bytes)).await.map_err(|_| unanswered())?;
    read.map_err(|error| Error::Unreadable { what: format!("object {key}"), detail: error.to_string() })?;
    Ok(Some(bytes))
}

async fn store(connection: &Connection) -> Result<ObjectStore, Error> {
    match connection.jetstream().get_object_store(ARTIFACTS).await {
        Ok(store) => Ok(store),
        Err(_) => {
            let stream = format!("OBJ_{ARTIFACTS}");
            // Missing, forbidden or silent: its stream says which.
            stream_info(connection, &stream).await?;
            Err(Error::Unanswered { what: stream })
        }
    }
}

/// Removes an object. One that is gone already is no error.
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
