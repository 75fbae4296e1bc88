//! `trainer run`: archives continuously, trains as event time passes, forecasts and scores.
//!
//! Two things run side by side: one task reads MARKET and writes archive files, and the step [`crate::live`] forecasts.
//! The step asks for trainings, a training asks the archiver to write as far as it needs.

use std::sync::Arc;
use std::time::Duration;

use bus::connect::wait_for;
use bus::lease::Seat;
use bus::reader::{Delivery, Event, Reader};
use bus::task::{self, Context};
use bus::topology::{ARCHIVER, Stream, StreamInfo};
use bus::{Connection, NatsArgs};
use service::{Code, Health, Shutdown, WithCode};
use store::archive::Archive;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::archive::{Archiver, FILE_ROWS_MAX};
use crate::args::RunArgs;
use crate::artifacts::prepare_folder;
use crate::live::Forecasting;
use crate::live::rules::Rules;
use crate::live::trainings::Trainings;
use crate::live::workshop::{Forge, Reached, Shelves, reach};
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
    let health = Health::new();
    health.serve(&args.health, shutdown.clone()).await?;
    let Some(connection) = Connection::wait(nats, Some("trainer"), &shutdown).await? else { return Ok(()) };
    let (uploader, uploading) = bucket.map(|bucket| Uploader::start(bucket, shutdown.clone())).unzip();
    let active = take_turns(&args, &rules, &connection, &archive, uploader, &health, &shutdown).await;
    if let Some(uploading) = uploading.filter(|_| active.is_ok()) {
        uploading.finish().await;
    }
    active
}

/// Stands by until this instance is the active one, and works as that until shutdown.
async fn take_turns(
    args: &RunArgs,
    rules: &Rules,
    connection: &Connection,
    archive: &Archive,
    uploader: Option<Uploader>,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let ttl = args.instance.lease.lease_ttl;
    while let Some(mut seat) = Seat::take(connection, ARCHIVER, ttl, health, shutdown).await? {
        tokio::select! {
            served = serve(args, rules, connection, archive, uploader.clone(), health, shutdown) => {
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
async fn serve(
    args: &RunArgs,
    rules: &Rules,
    connection: &Connection,
    archive: &Archive,
    uploader: Option<Uploader>,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let require = || bus::topology::require(connection, Stream::Market);
    let Some(market) = wait_for(require, health, shutdown).await? else { return Ok(()) };
    let Some(archiver) = open_archive(archive, connection, &market, health, shutdown).await? else { return Ok(()) };
    let parts = Parts { archive: health.part("archive"), forecasts: health.part("forecasts") };
    health.ready();

    let (reach, reached) = reach(archiver.last_seq().unwrap_or_default());
    let shelves = Shelves { connection: connection.clone(), out: args.out.clone(), uploader };
    let forge = Forge::new(archive.clone(), reach, args.config()?, shelves);
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
        task::run(context, Forecasting::new(rules.clone(), trainings)).await?;
        Ok(())
    };
    let archiving = Archiving {
        health: parts.archive.clone(),
        looked_at: archiver.last_seq().unwrap_or_default(),
        archiver,
        reached,
        wanted: 0,
        shutdown: shutdown.clone(),
    };
    let archiving = archiving.run(connection, Duration::from_millis(args.archive_every.ms().unsigned_abs()));
    tokio::select! {
        both = async { tokio::try_join!(archiving, forecasting) } => both.map(drop),
        Some(error) = fatal.recv() => Err(error),
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

/// Opens the archive, and waits while the instance that was active before still holds it (frozen, or with a file half
/// written), or its bucket cannot be reached. None when shutdown came first.
async fn open_archive(
    archive: &Archive,
    connection: &Connection,
    market: &StreamInfo,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Archiver>> {
    let mut has_warned = false;
    loop {
        let error = match Archiver::open(connection, archive, market).await {
            Err(error) if is_locked(&error) || is_outage(&error) => error,
            opened => return opened.map(Some),
        };
        health.not_ready(format!("{error:#}"));
        if !std::mem::replace(&mut has_warned, true) {
            tracing::warn!("waiting: {error:#}");
        }
        tokio::select! {
            () = shutdown.requested() => return Ok(None),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// The archive being written.
struct Archiving {
    health: Health,
    archiver: Archiver,
    /// All accepted ticks up to this MARKET sequence were taken.
    looked_at: u64,
    reached: Reached,
    /// The MARKET sequence that a training waits for.
    wanted: u64,
    shutdown: Shutdown,
}

impl Archiving {
    async fn run(mut self, connection: &Connection, file_every: Duration) -> anyhow::Result<()> {
        let shutdown = self.shutdown.clone();
        let mut reader = Reader::start(connection, self.archiver.selection());
        let mut file_due = file_timer(file_every);
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                event = reader.next() => match event? {
                    Event::Attached { info, pending } => self.attached(&info, pending)?,
                    Event::Message(delivery) => self.take(&delivery)?,
                },
                Some(wanted) = self.reached.wanted.recv() => self.wanted = self.wanted.max(wanted),
                _ = file_due.tick(), if self.archiver.waiting() > 0 => self.write().await?,
            }
            if self.is_wanted() || self.archiver.waiting() >= FILE_ROWS_MAX {
                self.write().await?;
            }
        }
        if self.archiver.waiting() > 0 {
            self.write().await?;
        }
        tracing::info!(looked_at = self.looked_at, "archive is written");
        Ok(())
    }

    /// Whether a training waits for what was read and is in no file yet.
    fn is_wanted(&self) -> bool {
        *self.reached.written.borrow() < self.wanted && self.wanted <= self.looked_at
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        self.archiver.write(self.looked_at).await?;
        self.reached.written.send_replace(self.looked_at);
        Ok(())
    }

    fn attached(&mut self, market: &StreamInfo, pending: u64) -> anyhow::Result<()> {
        self.archiver.check(market)?;
        if pending == 0 {
            self.looked_at = self.looked_at.max(market.state.last_seq);
        }
        self.note_backlog(pending);
        Ok(())
    }

    fn take(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        self.archiver.absorb(delivery)?;
        self.looked_at = delivery.seq;
        self.note_backlog(delivery.pending);
        Ok(())
    }

    fn note_backlog(&mut self, pending: u64) {
        if pending > 0 {
            self.health.not_ready(format!("{pending} messages behind"));
        } else {
            self.health.ready();
        }
    }
}

fn file_timer(every: Duration) -> Interval {
    let mut timer = interval_at(tokio::time::Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
