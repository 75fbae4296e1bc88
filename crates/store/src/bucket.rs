//! Client of one bucket of an S3 server: put, get, list and delete whole objects.
//!
//! Every request is retried with exponential backoff and jitter until it succeeds or its timeout has passed. Each
//! request may be sent twice without harm, because the same key gets the same bytes. The SDK sends a CRC-32 with all
//! writes, which the server checks, and verifies the server's CRC-32 on all reads.

mod access;
mod error;
mod upload;

use std::fmt;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

pub use access::{Access, AccessError};
use error::Target;
pub use error::{BucketError, BucketErrorKind};
pub use upload::{PART_BYTES, Upload};

/// Reads of an object, at most. A read starts again when the connection breaks in its middle.
const READS_MAX: usize = 5;

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Key of the object.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A bucket. Clones share its connections. Its debug output contains no part of the access key.
#[derive(Clone)]
pub struct Bucket {
    client: Client,
    target: Target,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.target.bucket)
            .field("endpoint", &self.target.endpoint)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// Returns the bucket with this name. Sends no request.
    pub fn new(name: impl Into<String>, access: &Access) -> Self {
        let target = Target { bucket: name.into(), endpoint: access.endpoint().to_owned() };
        Self { client: access.client(), target }
    }

    /// Returns the name of the bucket.
    pub fn name(&self) -> &str {
        &self.target.bucket
    }

    /// Returns the content of an object; `None` when there is none.
    ///
    /// # Errors
    /// The server does not return it.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        let mut reads = 0;
        loop {
            let request = self.client.get_object().bucket(self.name()).key(key);
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) => {
                    let is_absent = error.as_service_error().is_some_and(|error| error.is_no_such_key());
                    return if is_absent { Ok(None) } else { Err(self.target.error(key, &error)) };
                }
            };
            // The SDK does not retry a failure after the answer has begun.
            reads += 1;
            match answer.body.collect().await {
                Ok(body) => return Ok(Some(body.into_bytes())),
                Err(error) if reads < READS_MAX => {
                    tracing::debug!(key, %error, "connection broke, reading the object again")
                }
                Err(error) => return Err(self.target.broken(key, &error)),
            }
        }
    }

    /// Lists all objects whose keys begin with `prefix`, by key.
    ///
    /// # Errors
    /// The server does not list them.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, BucketError> {
        let request = self.client.list_objects_v2().bucket(self.name()).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.target.error(prefix, &error))?;
            let of_page = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let bytes = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                Some(Object { key: object.key?, bytes })
            });
            objects.extend(of_page);
        }
        Ok(objects)
    }

    /// Deletes an object. A missing object is not an error.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let deleted = self.client.delete_object().bucket(self.name()).key(key).send().await;
        deleted.map(drop).map_err(|error| self.target.error(key, &error))
    }

    /// Aborts unfinished multipart uploads under keys that begin with `prefix`, as killed processes leave them: no
    /// reader sees them, but they take space. No other process may be uploading there. Returns the number of uploads.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn remove_unfinished(&self, prefix: &str) -> Result<usize, BucketError> {
        let mut removed = 0;
        loop {
            let page = self.client.list_multipart_uploads().bucket(self.name()).prefix(prefix).send().await;
            let page = page.map_err(|error| self.target.error(prefix, &error))?;
            let uploads = page.uploads.unwrap_or_default();
            for (key, id) in uploads.iter().filter_map(|upload| upload.key().zip(upload.upload_id())) {
                self.abort(key, id).await?;
                removed += 1;
            }
            // An aborted upload is no longer listed, so the first page is always the next one.
            if uploads.is_empty() || page.is_truncated != Some(true) {
                return Ok(removed);
            }
        }
    }

    async fn put_whole(&self, key: &str, content: Vec<u8>) -> Result<(), BucketError> {
        let request = self.client.put_object().bucket(self.name()).key(key).body(ByteStream::from(content));
        request.send().await.map(drop).map_err(|error| self.target.error(key, &error))
    }

    async fn abort(&self, key: &str, id: &str) -> Result<(), BucketError> {
        let aborted = self.client.abort_multipart_upload().bucket(self.name()).key(key).upload_id(id).send().await;
        match aborted {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_upload()) => Ok(()),
            Err(error) => Err(self.target.error(key, &error)),
        }
    }
}
