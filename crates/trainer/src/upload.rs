//! Uploads models to a bucket, in the background of the service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use market::Instrument;
use service::{Code, Shutdown, WithCode};
use store::bucket::{Access, Bucket};
use store::model_card::ModelCard;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::artifacts::Artifacts;

/// Pause before a failed upload is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// Longest wait for uploads at the end of the service.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Flags of uploads.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Object storage")]
pub struct UploadArgs {
    /// Also upload each model's files to this bucket, with the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; see
    /// also AWS_DEFAULT_REGION and AWS_ENDPOINT_URL
    #[arg(long, env = "S3_BUCKET_NAME", value_name = "NAME")]
    pub s3_bucket: Option<String>,
}

impl UploadArgs {
    /// Returns the bucket, if one is named.
    ///
    /// # Errors
    /// There is no key for it; the exit code is that of a bad configuration.
    pub fn bucket(&self) -> anyhow::Result<Option<Bucket>> {
        let Some(name) = self.s3_bucket.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
        let access = Access::from_environment().exit_code(Code::BadConfig)?;
        Ok(Some(Bucket::new(name, &access)))
    }
}

/// Takes models to upload, and keeps the newest of each instrument until it is uploaded. Clones share it.
#[derive(Clone)]
pub struct Uploader(Arc<Shared>);

struct Shared {
    bucket: Bucket,
    /// Models that are not in the bucket yet. A newer model of an instrument replaces the one before.
    waiting: Mutex<BTreeMap<Instrument, Arc<Upload>>>,
    offered: Notify,
}

struct Upload {
    card: ModelCard,
    artifacts: Artifacts,
}

/// The task that uploads. It ends when this is dropped.
pub struct Uploading {
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
}

impl Uploader {
    /// Starts the task. A failed upload is tried again until it succeeds.
    pub fn start(bucket: Bucket, shutdown: Shutdown) -> (Self, Uploading) {
        let shared = Arc::new(Shared { bucket, waiting: Mutex::default(), offered: Notify::new() });
        let task = AbortOnDropHandle::new(tokio::spawn(upload(Arc::clone(&shared), shutdown)));
        (Self(Arc::clone(&shared)), Uploading { shared, task })
    }

    /// Takes a model to upload, and returns at once.
    pub fn offer(&self, instrument: &Instrument, card: &ModelCard, artifacts: Artifacts) {
        let upload = Arc::new(Upload { card: card.clone(), artifacts });
        self.0.waiting().insert(instrument.clone(), upload);
        self.0.offered.notify_one();
    }
}

impl Uploading {
    /// Waits a short while for the last uploads after shutdown, and warns about those that are left.
    pub async fn finish(mut self) {
        drop(tokio::time::timeout(DRAIN_MAX, &mut self.task).await);
        for (instrument, upload) in &*self.shared.waiting() {
            tracing::warn!(%instrument, model = upload.card.model, "not uploaded");
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Instrument, Arc<Upload>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads all waiting models. Returns whether all succeeded.
    async fn upload_all(&self) -> bool {
        let waiting = self.waiting().clone();
        for (instrument, upload) in waiting {
            let model = &upload.card.model;
            if let Err(error) = upload.artifacts.upload(&self.bucket, &instrument, &upload.card).await {
                tracing::warn!(%instrument, model, "not uploaded, trying again: {error}");
                return false;
            }
            tracing::info!(%instrument, model, bucket = self.bucket.name(), "uploaded");
            // A newer model that came meanwhile stays.
            self.waiting().retain(|_, other| !Arc::ptr_eq(other, &upload));
        }
        true
    }
}

/// Uploads until shutdown, and then once more the models that are left.
async fn upload(shared: Arc<Shared>, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        let took_all = shared.upload_all().await;
        tokio::select! {
            () = shared.offered.notified() => {}
            () = tokio::time::sleep(RETRY_DELAY), if !took_all => {}
            () = shutdown.requested() => {}
        }
    }
    shared.upload_all().await;
}
