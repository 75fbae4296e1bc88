//! A bucket of an S3 server: objects are put whole, read whole, listed and deleted.
//!
//! Every request is tried again, with growing pauses of random length, until it succeeds or its time is up. Each of them
//! may be sent twice without harm: the same key gets the same bytes. The SDK sends a CRC-32 with all that is written, which
//! the server checks, and checks the server's on all that is read.

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

/// How often an object is read anew because the connection broke in its middle.
const READS_MAX: usize = 5;

/// An object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A bucket. Clones share its connections. What is printed of it has no part of the key.
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
    /// A bucket by its name. Nothing is asked yet.
    pub fn new(name: impl Into<String>, access: &Access) -> Self {
        let target = Target { bucket: name.into(), endpoint: access.endpoint().to_owned() };
        Self { client: access.client(), target }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.target.bucket
    }

    /// The content of an object; None when there is none.
    ///
    /// # Errors
    /// When the server does not give it.
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
            // What breaks after the answer has begun is not the SDK's to try again.
            reads += 1;
            match answer.body.collect().await {
                Ok(body) => return Ok(Some(body.into_bytes())),
                Err(error) if reads < READS_MAX => tracing::debug!(key, %error, "reading it again"),
                Err(error) => return Err(self.target.broken(key, &error)),
            }
        }
    }

    /// All objects whose keys begin with `prefix`, by key.
    ///
    /// # Errors
    /// When the server does not list them.
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

    /// Deletes an object. That there is none is no error.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let deleted = self.client.delete_object().bucket(self.name()).key(key).send().await;
        deleted.map(drop).map_err(|error| self.target.error(key, &error))
    }

    /// Gives up what killed processes began to upload under keys that begin with `prefix` and never finished: no reader
    /// sees it, but it takes room. Only where nobody else is uploading. Returns how many there were.
    ///
    /// # Errors
    /// When the server refuses.
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
            // What was given up is not listed again: the next page is the first one.
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
