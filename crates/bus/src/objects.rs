//! The ARTIFACTS object store: models, model cards, predictions. No shared file system is needed to read them.

use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use tokio::io::AsyncReadExt;

use crate::connect::Connection;
use crate::error::Error;
use crate::topology::ARTIFACTS;

/// Stores an object under a key, in place of an earlier one. Readers see the old or the new one, never a part.
///
/// # Errors
/// [`Error::StreamMissing`] when the store does not exist; [`Error::Unanswered`] when the server does not answer.
pub async fn put(connection: &Connection, key: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut reader = bytes;
    let stored = store(connection).await?.put(key, &mut reader).await;
    stored.map(drop).map_err(|_| Error::Unanswered { what: format!("storing object {key}") })
}

/// The object under a key; `None` when there is none.
///
/// # Errors
/// As [`put`], and [`Error::Unreadable`] when what arrives does not match its digest.
pub async fn get(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let mut object = match store(connection).await?.get(key).await {
        Ok(object) => object,
        Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(Error::Unanswered { what: format!("object {key}") }),
    };
    let mut bytes = Vec::with_capacity(object.info().size);
    let read = object.read_to_end(&mut bytes).await;
    read.map_err(|error| Error::Unreadable { what: format!("object {key}"), detail: error.to_string() })?;
    Ok(Some(bytes))
}

async fn store(connection: &Connection) -> Result<ObjectStore, Error> {
    let store = connection.jetstream().get_object_store(ARTIFACTS).await;
    store.map_err(|_| Error::StreamMissing { stream: format!("OBJ_{ARTIFACTS}") })
}
