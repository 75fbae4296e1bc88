//! `trainer run`: archives continuously, trains as event time passes, forecasts and scores.
//!
//! Two tasks run side by side: the archive service reads MARKET and writes archive files, and the step [`crate::live`]
//! forecasts. The step starts trainings. A training asks the archive service to write as far as it needs.

use std::sync::Arc;
use std::time::Duration;

use bus::connect::start_service;
use bus::lease::LeaderLease;
use bus::retry::wait_for;
use bus::stream::{ARCHIVER, Stream};
use bus::topology::StreamInfo;
use bus::{Connection, NatsArgs};
use service::{Code, Health, Shutdown, WithCode};
use step::{self, Context};
use store::archive::Archive;
use tokio::sync::Semaphore;

use crate::archive_service::{ArchiveService, archive_handle};
use crate::archive_writer::Archiver;
use crate::artifacts::prepare_folder;
use crate::error::{is_locked, is_outage};
use crate::live::Forecasting;
use crate::live::archive_trainer::{ArchiveTrainer, ModelSinks};
use crate::live::config::ForecastConfig;
use crate::live::trainings::Trainings;
use crate::run_args::RunArgs;
use crate::upload::Uploader;

/// Pause before a locked archive is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Runs until shutdown. Ticks that were read and not written yet then become a last archive file.
///
/// # Errors
/// Bad flags, an archive of another stream, an unwritable folder, a missing permission: errors that waiting does not
/// resolve.
pub async fn run(args: RunArgs, nats: &NatsArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = args.forecast_config().exit_code(Code::BadConfig)?;
    args.out.as_deref().map(prepare_folder).transpose()?;
    let bucket = args.upload.bucket()?;
    let archive = args.archive.open()?;
    let Some((connection, health)) = start_service(nats, "trainer", &args.health, &shutdown).await? else {
        return Ok(());
    };
    let (uploader, uploading) = bucket.map(|bucket| Uploader::start(bucket, shutdown.clone())).unzip();
    let fit_permit = Arc::new(Semaphore::new(1));
    let service = Service { args, config, archive, connection, uploader, fit_permit, health, shutdown };
    let ended = service.serve_when_active().await;
    if let Some(uploading) = uploading.filter(|_| ended.is_ok()) {
        uploading.finish().await;
    }
    ended
}

/// An instance of the service: active or standby.
struct Service {
    args: RunArgs,
    config: ForecastConfig,
    archive: Archive,
    connection: Connection,
    uploader: Option<Uploader>,
    /// One fit at a time, including one that is left from an earlier active period of this instance.
    fit_permit: Arc<Semaphore>,
    health: Health,
    shutdown: Shutdown,
}

impl Service {
    /// Waits for the leader lease, and serves while this instance holds it; until shutdown.
    async fn serve_when_active(&self) -> anyhow::Result<()> {
        let Self { connection, health, shutdown, .. } = self;
        let ttl = self.args.instance.lease.lease_ttl;
        while let Some(mut lease) = LeaderLease::take(connection, ARCHIVER, ttl, health, shutdown).await? {
            tokio::select! {
                served = self.serve() => {
                    lease.leave().await;
                    return served;
                }
                // The next writer of this archive reads again the ticks that were not written yet.
                lost = lease.lost() => lost?,
            }
            tracing::warn!("another trainer has taken over, standing by");
        }
        Ok(())
    }

    /// Serves as the active instance until shutdown.
    async fn serve(&self) -> anyhow::Result<()> {
        let Self { args, config, connection, health, shutdown, .. } = self;
        let require = || bus::topology::require(connection, Stream::Market);
        let Some(market) = wait_for(require, health, shutdown).await? else { return Ok(()) };
        let Some(archiver) = self.open_archive(&market).await? else { return Ok(()) };
        let parts = Parts { archive: health.part("archive"), forecasts: health.part("forecasts") };
        health.ready();

        let (archive, requests) = archive_handle(archiver.last_seq().unwrap_or_default());
        let (out, uploader) = (args.out.clone(), self.uploader.clone());
        let sinks = ModelSinks { connection: connection.clone(), out, uploader };
        let (storage, permit) = (args.archive.archive.clone(), Arc::clone(&self.fit_permit));
        let trainer = ArchiveTrainer::new(storage, archive, args.learn_config()?, sinks, permit);
        let end = EndWithService(Shutdown::new());
        let (trainings, mut fatal) = Trainings::new(Arc::new(trainer), end.0.clone());
        let context = Context {
            connection: connection.clone(),
            shutdown: shutdown.clone(),
            health: parts.forecasts.clone(),
            on_commit: None,
            instance: args.instance,
        };
        let forecasting = async {
            step::run(context, Forecasting::new(config.clone(), trainings)).await?;
            Ok(())
        };
        let archiving = ArchiveService::new(archiver, requests, parts.archive.clone(), shutdown.clone());
        let archiving = archiving.run(connection, Duration::from_millis(args.archive_every.ms().unsigned_abs()));
        tokio::select! {
            both = async { tokio::try_join!(archiving, forecasting) } => both.map(drop),
            Some(error) = fatal.recv() => Err(error),
        }
    }

    /// Opens the archive. Waits while the instance that was active before still holds it (frozen, or with a
    /// half-written file), or its bucket cannot be reached. Returns `None` when shutdown came first.
    async fn open_archive(&self, market: &StreamInfo) -> anyhow::Result<Option<Archiver>> {
        let mut has_warned = false;
        loop {
            let error = match Archiver::open(&self.connection, &self.archive, market).await {
                Err(error) if is_locked(&error) || is_outage(&error) => error,
                opened => return opened.map(Some),
            };
            self.health.not_ready(format!("{error:#}"));
            if !std::mem::replace(&mut has_warned, true) {
                tracing::warn!("waiting: {error:#}");
            }
            tokio::select! {
                () = self.shutdown.requested() => return Ok(None),
                () = tokio::time::sleep(RETRY_DELAY) => {}
            }
        }
    }
}

/// The health of the parts of the active instance; a standby has none.
struct Parts {
    archive: Health,
    forecasts: Health,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.archive.retire();
        self.forecasts.retire();
    }
}

/// Ends the trainings with the active instance.
struct EndWithService(Shutdown);

impl Drop for EndWithService {
    fn drop(&mut self) {
        self.0.request();
    }
}
