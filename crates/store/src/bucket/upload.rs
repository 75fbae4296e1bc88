//! Upload of an object in parts. The object appears when the upload is finished.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::Bucket;
use super::error::{BucketError, BucketErrorKind};

/// Size of a part in bytes, of which one is in memory. An object up to this size is put with one request.
pub const PART_BYTES: usize = 8 << 20;
/// Maximum number of parts of an S3 object.
const PARTS_MAX: i32 = 10_000;
/// Time to abort an upload, at most, so that an error is not reported much later.
const ABORT_MAX: Duration = Duration::from_secs(5);

/// An unfinished upload. When it is dropped, the object never appears.
#[derive(Debug)]
pub struct Upload {
    bucket: Bucket,
    key: String,
    /// Bytes that are not sent yet, at most one part.
    buffer: Vec<u8>,
    multipart: Option<Multipart>,
    bytes: u64,
}

/// State of an upload with more than one part.
#[derive(Debug)]
struct Multipart {
    id: String,
    parts: Vec<CompletedPart>,
}

impl Upload {
    pub(super) fn new(bucket: Bucket, key: String) -> Self {
        Self { bucket, key, buffer: Vec::new(), multipart: None, bytes: 0 }
    }

    /// Appends bytes to the object.
    ///
    /// # Errors
    /// The server rejects them. The upload is then aborted.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), BucketError> {
        while !bytes.is_empty() {
            // A full part is sent only when more bytes follow: an object that fits into one part needs no multipart
            // upload.
            if self.buffer.len() == PART_BYTES {
                self.send_part().await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            self.bytes += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Finishes the upload: the object appears.
    ///
    /// # Errors
    /// The server rejects it. No part of it remains, as far as the server can be reached.
    pub async fn finish(mut self) -> Result<(), BucketError> {
        if self.multipart.is_none() {
            return self.bucket.put_whole(&self.key, self.buffer).await;
        }
        self.send_part().await?;
        let completed = self.complete().await;
        if completed.is_err() {
            self.abort().await;
        }
        completed
    }

    /// Aborts the upload. If the server cannot be reached, [`Bucket::remove_unfinished`] removes the parts later.
    pub async fn abort(&mut self) {
        let Some(Multipart { id, .. }) = self.multipart.take() else { return };
        match tokio::time::timeout(ABORT_MAX, self.bucket.abort(&self.key, &id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(key = self.key, %error, "cannot abort the upload"),
            Err(_) => tracing::debug!(key = self.key, "aborting the upload timed out"),
        }
    }

    async fn send_part(&mut self) -> Result<(), BucketError> {
        let sent = self.try_send_part().await;
        if sent.is_err() {
            self.abort().await;
        }
        sent
    }

    async fn try_send_part(&mut self) -> Result<(), BucketError> {
        let (bucket, key) = (&self.bucket, self.key.as_str());
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            None => self.multipart.insert(Multipart { id: bucket.begin(key).await?, parts: Vec::new() }),
        };
        let number = i32::try_from(multipart.parts.len()).unwrap_or(PARTS_MAX) + 1;
        if number > PARTS_MAX {
            return Err(bucket.target.failure(BucketErrorKind::Other, key, format!("more than {PARTS_MAX} parts")));
        }
        let body = ByteStream::from(std::mem::take(&mut self.buffer));
        let request = bucket.client.upload_part().bucket(bucket.name()).key(key).upload_id(&multipart.id);
        let part =
            request.part_number(number).body(body).send().await.map_err(|error| bucket.target.error(key, &error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32(part.checksum_crc32)
            .build();
        multipart.parts.push(part);
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), BucketError> {
        let Some(Multipart { id, parts }) = &self.multipart else { return Ok(()) };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build();
        let (client, name, key) = (&self.bucket.client, self.bucket.name(), &self.key);
        let request = client.complete_multipart_upload().bucket(name).key(key).upload_id(id).multipart_upload(parts);
        match request.send().await {
            Ok(_) => Ok(()),
            // An earlier attempt completed the upload and its answer was lost.
            Err(error)
                if error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchUpload")
                    && self.is_there().await =>
            {
                Ok(())
            }
            Err(error) => Err(self.bucket.target.error(key, &error)),
        }
    }

    /// Whether an object of this key and size exists.
    async fn is_there(&self) -> bool {
        let head = self.bucket.client.head_object().bucket(self.bucket.name()).key(&self.key).send().await;
        head.is_ok_and(|head| head.content_length.and_then(|bytes| u64::try_from(bytes).ok()) == Some(self.bytes))
    }
}

impl Bucket {
    /// Puts an object. Its key holds the earlier object or all of `content`, never a part.
    ///
    /// # Errors
    /// The server rejects it. No part of it remains, as far as the server can be reached.
    pub async fn put(&self, key: &str, content: &[u8]) -> Result<(), BucketError> {
        let mut upload = self.upload(key);
        upload.write(content).await?;
        upload.finish().await
    }

    /// Starts to upload an object in parts; it appears when the upload is finished.
    pub fn upload(&self, key: &str) -> Upload {
        Upload::new(self.clone(), key.to_owned())
    }

    /// Begins a multipart upload and returns its id.
    async fn begin(&self, key: &str) -> Result<String, BucketError> {
        // An object has one writer, so an earlier unfinished upload was interrupted.
        if let Err(error) = self.remove_unfinished(key).await {
            tracing::debug!(key, %error, "cannot abort earlier unfinished uploads");
        }
        let begun = self.client.create_multipart_upload().bucket(self.name()).key(key).send().await;
        let begun = begun.map_err(|error| self.target.error(key, &error))?;
        begun.upload_id.ok_or_else(|| self.target.failure(BucketErrorKind::Other, key, "an upload without an id"))
    }
}
