//! Archive storage in a bucket, under a prefix.

use std::fmt;
use std::future::Future;

use tokio::runtime::Handle;

use super::{Content, Fill, SCHEME, Storage, StorageError, StoredFile, WriterClaim, is_id, new_id};
use crate::bucket::Bucket;
use crate::paths;

/// The objects of a bucket whose keys begin with a prefix.
///
/// A bucket has no lock. The caller must ensure that only one process writes; a service does so with its lease. Two
/// writers would write files that overlap, and every reader refuses those.
#[derive(Debug, Clone)]
pub struct BucketStorage {
    bucket: Bucket,
    prefix: String,
    /// Runtime that runs the requests while a thread waits for them.
    runtime: Handle,
}

impl BucketStorage {
    /// Returns the storage; `prefix` is empty or ends with a slash.
    pub fn new(bucket: Bucket, prefix: impl Into<String>, runtime: Handle) -> Self {
        Self { bucket, prefix: prefix.into(), runtime }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Blocks until a request is done. A runtime thread passes its other tasks to another thread first.
    fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        tokio::task::block_in_place(|| self.runtime.block_on(request))
    }
}

impl fmt::Display for BucketStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket.name(), self.prefix)
    }
}

impl Storage for BucketStorage {
    fn claim(&self) -> Result<WriterClaim, StorageError> {
        let key = self.key(paths::ARCHIVE_ID);
        let known = self.wait(self.bucket.get(&key))?;
        let known = known.and_then(|known| String::from_utf8(known.into()).ok()).filter(|known| is_id(known));
        let id = match known {
            Some(known) => known,
            None => {
                let id = new_id();
                self.wait(self.bucket.put(&key, id.as_bytes()))?;
                id
            }
        };
        self.wait(self.bucket.remove_unfinished(&self.prefix))?;
        Ok(WriterClaim { id, _lock: None })
    }

    fn list(&self) -> Result<Vec<StoredFile>, StorageError> {
        let objects = self.wait(self.bucket.list(&self.prefix))?.into_iter();
        let of_prefix = objects.filter_map(|object| {
            let name = object.key.strip_prefix(&self.prefix)?;
            (!name.contains('/')).then(|| StoredFile { name: name.to_owned(), bytes: object.bytes })
        });
        Ok(of_prefix.collect())
    }

    fn open(&self, name: &str) -> Result<Option<Content>, StorageError> {
        Ok(self.wait(self.bucket.get(&self.key(name)))?.map(Content::Bytes))
    }

    /// Keeps the whole file in memory, because S3 needs the key first and the key holds the digest.
    fn put(&self, fill: &mut Fill<'_>) -> Result<(), StorageError> {
        let mut content = Vec::new();
        let name = fill(&mut content).map_err(|error| StorageError::Io { path: self.to_string().into(), error })?;
        Ok(self.wait(self.bucket.put(&self.key(&name), &content))?)
    }

    fn remove(&self, names: &[String]) -> Result<(), StorageError> {
        for name in names {
            self.wait(self.bucket.delete(&self.key(name)))?;
        }
        Ok(())
    }

    fn full_name(&self) -> String {
        self.to_string()
    }
}
