//! The ARTIFACTS object store: models, model cards, predictions. No shared file system is needed to read them.

use std::time::SystemTime;

use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, ObjectStore};
use futures::StreamExt;
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

/// An object as the list of them tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was stored, by the server's clock.
    pub stored_at: SystemTime,
}

/// The objects whose keys begin with `prefix`.
///
/// # Errors
/// As [`put`].
pub async fn list(connection: &Connection, prefix: &str) -> Result<Vec<Listed>, Error> {
    let unanswered = || Error::Unanswered { what: format!("the list of objects under {prefix}") };
    let mut objects = store(connection).await?.list().await.map_err(|_| unanswered())?;
    let mut listed = Vec::new();
    while let Some(object) = objects.next().await {
        let object = object.map_err(|_| unanswered())?;
        if object.name.starts_with(prefix) && !object.deleted {
            let stored_at = object.modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
            listed.push(Listed { key: object.name, stored_at });
        }
    }
    Ok(listed)
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
