//! `trainer run`: archives continuously, and trains whenever event time says so.
//!
//! One task reads MARKET and writes files; a training runs beside it, one at a time, on the archive up to the message
//! that made it due. While there is a backlog nothing is trained: of several that fall due meanwhile only the last counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::connect::{Reminder, wait_for};
use bus::error::Disposition;
use bus::lease::Seat;
use bus::reader::{Delivery, Event, Reader};
use bus::topology::{ARCHIVER, Stream, StreamInfo};
use bus::{Connection, NatsArgs};
use market::dataset::Recipe;
use market::{EventTime, Instrument};
use service::{Code, Health, Shutdown, WithCode};
use store::archive::{Archive, Holding, Through};
use store::layout;
use store::model_card::ModelCard;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use crate::archive::{Archiver, Brought, FILE_ROWS_MAX};
use crate::args::{LearnArgs, RunArgs};
use crate::artifacts::{Artifacts, prepare_folder};
use crate::schedule::{Due, Schedule};
use crate::train::{is_locked, is_outage, learn_from};
use crate::upload::Uploader;

/// How long to wait before a stream or the object store is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until shutdown; then what was read and not yet written becomes a last archive file.
///
/// # Errors
/// What waiting cannot mend: bad flags, an archive of another stream, an unwritable folder, missing permission.
pub async fn run(args: RunArgs, nats: &NatsArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let only = args.instrument.instrument().exit_code(Code::BadConfig)?;
    args.learn.config(Instrument::new("any", "any")?).exit_code(Code::BadConfig)?;
    args.out.as_deref().map(prepare_folder).transpose()?;
    let (archive, bucket) = (args.archive.open()?, args.upload.bucket()?);
    let health = Health::new();
    health.serve(&args.health, shutdown.clone()).await?;
    let Some(connection) = Connection::wait(nats, Some("trainer"), &shutdown).await? else { return Ok(()) };
    let (uploader, uploading) = bucket.map(|bucket| Uploader::start(bucket, shutdown.clone())).unzip();
    let active = take_turns(&args, only.as_ref(), &connection, &archive, uploader, &health, &shutdown).await;
    if let Some(uploading) = uploading.filter(|_| active.is_ok()) {
        uploading.finish().await;
    }
    active
}

/// Stands by until this instance is the active one, and works as that until shutdown.
async fn take_turns(
    args: &RunArgs,
    only: Option<&Instrument>,
    connection: &Connection,
    archive: &Archive,
    uploader: Option<Uploader>,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let ttl = args.lease.lease_ttl;
    while let Some(mut seat) = Seat::take(connection, ARCHIVER, ttl, health, shutdown).await? {
        tokio::select! {
            served = serve(args, only, connection, archive, uploader.clone(), health, shutdown) => {
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
    only: Option<&Instrument>,
    connection: &Connection,
    archive: &Archive,
    uploader: Option<Uploader>,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let require = || bus::topology::require(connection, Stream::Market);
    let Some(market) = wait_for(require, health, shutdown).await? else { return Ok(()) };
    let Some(archiver) = open_archive(archive, connection, &market, health, shutdown).await? else { return Ok(()) };
    let (connection, shutdown) = (connection.clone(), shutdown.clone());
    let (learn, out) = (args.learn.clone(), args.out.clone());
    let training = Training { connection, archive: archive.clone(), learn, out, uploader, shutdown };
    let schedule = recall(&training, args, archiver.last_seq()).await?;
    let service = Service {
        only: only.cloned(),
        health: health.clone(),
        looked_at: archiver.last_seq().unwrap_or_default(),
        archiver,
        schedule,
        training: Arc::new(training),
        under_way: None,
        is_behind: true,
    };
    service.run(args.archive_every.ms().unsigned_abs()).await
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

/// What event time had come to when the service was last here, and what was trained by then.
async fn recall(training: &Training, args: &RunArgs, last_seq: Option<u64>) -> anyhow::Result<Schedule> {
    let mut schedule = Schedule::new(args.every);
    let archive = training.archive.clone();
    let holdings: BTreeMap<Instrument, Holding> = tokio::task::spawn_blocking(move || archive.holdings()).await??;
    let only = args.instrument.instrument()?;
    for (instrument, holding) in holdings {
        if only.as_ref().is_some_and(|only| *only != instrument) {
            continue;
        }
        let through = last_seq.unwrap_or_default();
        schedule.observe(&instrument, holding.first, through);
        schedule.observe(&instrument, holding.last, through);
        match newest_card(&training.connection, &instrument, args.learn.recipe).await {
            Ok(Some(card)) => schedule.trained(&instrument, EventTime(card.time.last_ms)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%instrument, %error, "newest model unknown, training anew"),
        }
    }
    Ok(schedule)
}

/// The card of an instrument's newest model in the object store.
async fn newest_card(
    connection: &Connection,
    instrument: &Instrument,
    recipe: Recipe,
) -> anyhow::Result<Option<ModelCard>> {
    let Some(model) = bus::objects::get(connection, &layout::latest_key(instrument, recipe)).await? else {
        return Ok(None);
    };
    let key = layout::model_key(instrument, recipe, &String::from_utf8(model)?, layout::MODEL_CARD);
    let card = bus::objects::get(connection, &key).await?;
    Ok(card.map(|card| serde_json::from_slice(&card)).transpose()?)
}

/// The service at work.
struct Service {
    /// Trains no other instrument.
    only: Option<Instrument>,
    health: Health,
    archiver: Archiver,
    schedule: Schedule,
    training: Arc<Training>,
    under_way: Option<(Due, AbortOnDropHandle<anyhow::Result<()>>)>,
    /// All accepted ticks up to this MARKET sequence were taken.
    looked_at: u64,
    /// Messages are waiting.
    is_behind: bool,
}

impl Service {
    async fn run(mut self, file_every_ms: u64) -> anyhow::Result<()> {
        let shutdown = self.training.shutdown.clone();
        let mut reader = Reader::start(&self.training.connection, self.archiver.selection());
        let mut file_due = file_timer(Duration::from_millis(file_every_ms));
        loop {
            tokio::select! {
                () = shutdown.requested() => break,
                event = reader.next() => match event? {
                    Event::Attached { info, pending } => self.attached(&info, pending)?,
                    Event::Message(delivery) => self.take(&delivery).await?,
                },
                _ = file_due.tick(), if self.archiver.waiting() > 0 => self.archiver.write(self.looked_at).await?,
                due = finished(&mut self.under_way) => self.schedule.trained(&due.instrument, due.boundary),
            }
            self.train_if_due().await?;
        }
        if self.archiver.waiting() > 0 {
            self.archiver.write(self.looked_at).await?;
        }
        tracing::info!(looked_at = self.looked_at, "archive is written");
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

    async fn take(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        if let Some(Brought { instrument, events }) = self.archiver.absorb(delivery)?
            && self.only.as_ref().is_none_or(|only| *only == instrument)
        {
            self.schedule.observe(&instrument, *events.start(), delivery.seq);
            self.schedule.observe(&instrument, *events.end(), delivery.seq);
        }
        self.looked_at = delivery.seq;
        self.note_backlog(delivery.pending);
        if self.archiver.waiting() >= FILE_ROWS_MAX {
            self.archiver.write(self.looked_at).await?;
        }
        Ok(())
    }

    fn note_backlog(&mut self, pending: u64) {
        self.is_behind = pending > 0;
        if self.is_behind {
            self.health.not_ready(format!("{pending} messages behind"));
        } else {
            self.health.ready();
        }
    }

    /// Starts the next training, when one is due, none is under way and there is no backlog.
    async fn train_if_due(&mut self) -> anyhow::Result<()> {
        if self.is_behind || self.under_way.is_some() {
            return Ok(());
        }
        let Some(due) = self.schedule.due() else { return Ok(()) };
        self.archiver.write(self.looked_at).await?;
        tracing::info!(instrument = %due.instrument, boundary = %due.boundary, through = due.through, "training");
        let (training, of) = (Arc::clone(&self.training), due.clone());
        let task = tokio::spawn(async move { training.train(&of).await });
        self.under_way = Some((due, AbortOnDropHandle::new(task)));
        Ok(())
    }
}

fn file_timer(every: Duration) -> Interval {
    let mut timer = interval_at(tokio::time::Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Waits for the training under way; for ever when there is none. Safe to cancel.
async fn finished(under_way: &mut Option<(Due, AbortOnDropHandle<anyhow::Result<()>>)>) -> Due {
    let Some((due, task)) = under_way else { return std::future::pending().await };
    let result = task.await;
    let due = due.clone();
    *under_way = None;
    // The archive goes on whatever becomes of a model; the next boundary is the next attempt.
    match result.map_err(anyhow::Error::from).and_then(|result| result) {
        Ok(()) => {}
        Err(error) if crate::exit_code(&error) == Some(Code::NotEnoughData) => {
            tracing::info!(instrument = %due.instrument, "{error:#}");
        }
        Err(error) => tracing::error!(instrument = %due.instrument, "training failed: {error:#}"),
    }
    due
}

/// What a training needs.
struct Training {
    connection: Connection,
    archive: Archive,
    learn: LearnArgs,
    out: Option<PathBuf>,
    uploader: Option<Uploader>,
    shutdown: Shutdown,
}

impl Training {
    async fn train(&self, due: &Due) -> anyhow::Result<()> {
        let (archive, learn, out, of) = (self.archive.clone(), self.learn.clone(), self.out.clone(), due.clone());
        let trained = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let learned = learn_from(&archive, &of.instrument, Through::seq(of.through), &learn)?;
            let artifacts = Artifacts::new(&learned)?;
            out.map(|out| artifacts.write(&out)).transpose()?;
            Ok((learned.card, artifacts))
        });
        let (card, artifacts) = trained.await??;
        tracing::info!(
            instrument = %due.instrument,
            model = card.model,
            skill = card.holdout.scores.skill,
            duration_ms = card.duration_ms,
            "{}", card.verdict
        );
        self.publish(&due.instrument, &artifacts, &card).await?;
        if let Some(uploader) = &self.uploader {
            uploader.offer(&due.instrument, &card, artifacts);
        }
        Ok(())
    }

    /// Stores the files, as often as it takes: storing them again is harmless.
    async fn publish(&self, instrument: &Instrument, artifacts: &Artifacts, card: &ModelCard) -> anyhow::Result<()> {
        let mut reminder = Reminder::default();
        loop {
            match artifacts.publish(&self.connection, instrument, card).await {
                Ok(()) => return Ok(()),
                Err(error) if error.disposition() == Disposition::Stop => return Err(error.into()),
                Err(error) => reminder.warn(&error),
            }
            tokio::select! {
                () = self.shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}
