//! `trainer run`: archives continuously, trains as event time passes, forecasts and scores.
//!
//! Two things run side by side: `archiving` reads MARKET and writes archive files, and the step [`crate::live`]
//! forecasts. The step asks for trainings, a training asks the archiver to write as far as it needs.

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

use crate::archive_service::{Archiving, reach};
use crate::archive_writer::Archiver;
use crate::args::RunArgs;
use crate::artifacts::prepare_folder;
use crate::live::Forecasting;
use crate::live::config::Rules;
use crate::live::model_trainer::{Forge, Shelves};
use crate::live::trainings::Trainings;
use crate::train::{is_locked, is_outage};
use crate::upload::Uploader;

/// How long to wait before a locked archive is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until shutdown; then what was read and not yet written becomes a last archive file.
///
/// # Errors
/// What waiting cannot mend: bad flags, an archive of another stream, an unwritable folder, missing permission.
pub async fn run(args: RunArgs, nats: &NatsArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let rules = args.rules().exit_code(Code::BadConfig)?;
    args.out.as_deref().map(prepare_folder).transpose()?;
    let bucket = args.upload.bucket()?;
    let archive = args.archive.open()?;
    let Some((connection, health)) = start_service(nats, "trainer", &args.health, &shutdown).await? else {
        return Ok(());
    };
    let (uploader, uploading) = bucket.map(|bucket| Uploader::start(bucket, shutdown.clone())).unzip();
    let turn = Arc::new(Semaphore::new(1));
    let service = Service { args, rules, archive, connection, uploader, turn, health, shutdown };
    let ended = service.take_turns().await;
    if let Some(uploading) = uploading.filter(|_| ended.is_ok()) {
        uploading.finish().await;
    }
    ended
}

/// An instance of the service: active, or standing by.
struct Service {
    args: RunArgs,
    rules: Rules,
    archive: Archive,
    connection: Connection,
    uploader: Option<Uploader>,
    /// One fit at a time, also when one is left over from when this instance was active before.
    turn: Arc<Semaphore>,
    health: Health,
    shutdown: Shutdown,
}

impl Service {
    /// Stands by until this instance is the active one, and works as that until shutdown.
    async fn take_turns(&self) -> anyhow::Result<()> {
        let Self { connection, health, shutdown, .. } = self;
        let ttl = self.args.instance.lease.lease_ttl;
        while let Some(mut seat) = LeaderLease::take(connection, ARCHIVER, ttl, health, shutdown).await? {
            tokio::select! {
                served = self.serve() => {
                    seat.leave().await;
                    return served;
                }
                // What was read and not written yet is read again by whoever writes this archive next.
                lost = seat.lost() => lost?,
            }
            tracing::warn!("another trainer has taken over, standing by");
        }
        Ok(())
    }

    /// Works as the active instance until shutdown.
    async fn serve(&self) -> anyhow::Result<()> {
        let Self { args, rules, connection, health, shutdown, .. } = self;
        let require = || bus::topology::require(connection, Stream::Market);
        let Some(market) = wait_for(require, health, shutdown).await? else { return Ok(()) };
        let Some(archiver) = self.open_archive(&market).await? else { return Ok(()) };
        let parts = Parts { archive: health.part("archive"), forecasts: health.part("forecasts") };
        health.ready();

        let (reach, reached) = reach(archiver.last_seq().unwrap_or_default());
        let (out, uploader) = (args.out.clone(), self.uploader.clone());
        let shelves = Shelves { connection: connection.clone(), out, uploader };
        let forge = Forge::new(args.archive.archive.clone(), reach, args.config()?, shelves, Arc::clone(&self.turn));
        let end = EndWithService(Shutdown::new());
        let (trainings, mut fatal) = Trainings::new(Arc::new(forge), end.0.clone());
        let context = Context {
            connection: connection.clone(),
            shutdown: shutdown.clone(),
            health: parts.forecasts.clone(),
            on_commit: None,
            instance: args.instance,
        };
        let forecasting = async {
            step::run(context, Forecasting::new(rules.clone(), trainings)).await?;
            Ok(())
        };
        let archiving = Archiving::new(archiver, reached, parts.archive.clone(), shutdown.clone());
        let archiving = archiving.run(connection, Duration::from_millis(args.archive_every.ms().unsigned_abs()));
        tokio::select! {
            both = async { tokio::try_join!(archiving, forecasting) } => both.map(drop),
            Some(error) = fatal.recv() => Err(error),
        }
    }

    /// Opens the archive, and waits while the instance that was active before still holds it (frozen, or with a file half
    /// written), or its bucket cannot be reached. None when shutdown came first.
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
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

/// The parts of the active instance; one that stands by has none.
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

/// Trainings must not outlive the active instance.
struct EndWithService(Shutdown);

impl Drop for EndWithService {
    fn drop(&mut self) {
        self.0.request();
    }
}
