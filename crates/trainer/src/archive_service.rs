//! Writes the archive of the service: at intervals, when enough ticks wait, and when a training needs them.

use std::time::Duration;

use anyhow::Context;
use bus::Connection;
use bus::reader::{Delivery, Reader, ReaderEvent};
use bus::reminder::Reminder;
use bus::topology::StreamInfo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use service::{BEAT, Health, Metrics, Shutdown};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::archive_writer::{Archiver, FILE_ROWS_MAX};
use crate::error::can_wait;

/// Pause before another attempt to write.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Lets a training ask the archive service to write, and wait until it has. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveHandle {
    wanted: mpsc::UnboundedSender<u64>,
    written: watch::Receiver<u64>,
}

/// The archive service's end of an [`ArchiveHandle`].
#[derive(Debug)]
pub(crate) struct WriteRequests {
    wanted: mpsc::UnboundedReceiver<u64>,
    written: watch::Sender<u64>,
}

/// Returns both ends, for an archive that reaches MARKET sequence `written`.
pub(crate) fn archive_handle(written: u64) -> (ArchiveHandle, WriteRequests) {
    let (wanted, receiver) = mpsc::unbounded_channel();
    let (sender, written) = watch::channel(written);
    (ArchiveHandle { wanted, written }, WriteRequests { wanted: receiver, written: sender })
}

impl ArchiveHandle {
    /// Returns when all ticks that MARKET accepted up to this sequence are in files.
    pub(crate) async fn write_through(&self, seq: u64) -> anyhow::Result<()> {
        self.wanted.send(seq).context("the archive service has ended")?;
        let mut written = self.written.clone();
        written.wait_for(|&written| written >= seq).await.context("the archive service has ended")?;
        Ok(())
    }
}

/// Metrics of the archive.
struct ArchiveMetrics {
    lag: Gauge,
    waiting: Gauge,
    rows: Counter,
    seconds: Histogram,
}

impl ArchiveMetrics {
    fn new(all: &Metrics) -> Self {
        // From 10 ms to 40 s.
        let histogram = || Histogram::new(exponential_buckets(0.01, 2.0, 13));
        Self {
            lag: all.register("archive_lag_messages", "Messages of MARKET that the archive has not read yet"),
            waiting: all.register("archive_waiting_rows", "Ticks that were read and are not in a file yet"),
            rows: all.register("archive_rows", "Ticks written into files"),
            seconds: all.register_with("archive_write_duration_seconds", "Writing and syncing a file", histogram),
        }
    }
}

/// The part of the service that reads MARKET and writes the archive.
pub(crate) struct ArchiveService {
    archiver: Archiver,
    /// The MARKET sequence up to which ticks were read.
    read_through: u64,
    requests: WriteRequests,
    /// The MARKET sequence up to which a training needs the archive.
    wanted: u64,
    health: Health,
    metrics: ArchiveMetrics,
    shutdown: Shutdown,
}

impl ArchiveService {
    /// Continues where the archive ends.
    pub(crate) fn new(archiver: Archiver, requests: WriteRequests, health: Health, shutdown: Shutdown) -> Self {
        let read_through = archiver.last_seq().unwrap_or_default();
        let metrics = ArchiveMetrics::new(health.metrics());
        Self { archiver, read_through, requests, wanted: 0, health, metrics, shutdown }
    }

    /// Reads and writes until shutdown: a file after every `file_every` in which ticks came, or sooner.
    ///
    /// # Errors
    /// An error that waiting does not resolve.
    pub(crate) async fn run(mut self, connection: &Connection, file_every: Duration) -> anyhow::Result<()> {
        let shutdown = self.shutdown.clone();
        let mut reader = Reader::start(connection, self.archiver.selection());
        let mut file_due = file_timer(file_every);
        let pulse = self.health.pulse("the archive");
        let mut beat = tokio::time::interval(BEAT);
        loop {
            pulse.beat();
            self.metrics.waiting.set(self.archiver.waiting() as i64);
            tokio::select! {
                () = shutdown.requested() => break,
                event = reader.next() => match event? {
                    ReaderEvent::Attached { info, pending } => self.attached(&info, pending)?,
                    ReaderEvent::Message(delivery) => self.take(&delivery)?,
                },
                Some(wanted) = self.requests.wanted.recv() => self.wanted = self.wanted.max(wanted),
                _ = file_due.tick(), if self.archiver.waiting() > 0 => pulse.during(self.write()).await?,
                _ = beat.tick() => {}
            }
            if self.has_write_request() || self.archiver.waiting() >= FILE_ROWS_MAX {
                pulse.during(self.write()).await?;
            }
        }
        match self.archiver.write(self.read_through).await {
            Err(error) if can_wait(&error) => {
                tracing::warn!(
                    "the ticks read last are not in a file; they are read again at the next start: {error:#}"
                );
                Ok(())
            }
            written => written.inspect(|()| tracing::info!(read_through = self.read_through, "archive is written")),
        }
    }

    /// Whether a training waits for ticks that were read and are not in a file yet.
    fn has_write_request(&self) -> bool {
        *self.requests.written.borrow() < self.wanted && self.wanted <= self.read_through
    }

    /// Writes the ticks that were read. Waits while the disk is full or the bucket cannot be reached; no more messages
    /// are read meanwhile, so no tick is lost.
    async fn write(&mut self) -> anyhow::Result<()> {
        let mut reminder = Reminder::default();
        let (rows, start) = (self.archiver.waiting() as u64, Instant::now());
        while let Err(error) = self.archiver.write(self.read_through).await {
            if !can_wait(&error) {
                return Err(error);
            }
            self.health.not_ready(format!("{error:#}"));
            reminder.warn(&format!("{error:#}"));
            tokio::select! {
                () = self.shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(RETRY_DELAY) => {}
            }
        }
        reminder.settle("the archive is written");
        self.metrics.rows.inc_by(rows);
        self.metrics.seconds.observe(start.elapsed().as_secs_f64());
        self.requests.written.send_replace(self.read_through);
        self.archiver.join().await
    }

    fn attached(&mut self, market: &StreamInfo, pending: u64) -> anyhow::Result<()> {
        self.archiver.check(market)?;
        if pending == 0 {
            self.read_through = self.read_through.max(market.state.last_seq);
        }
        self.note_backlog(pending);
        Ok(())
    }

    fn take(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        self.archiver.absorb(delivery)?;
        self.read_through = delivery.seq;
        self.note_backlog(delivery.pending);
        Ok(())
    }

    fn note_backlog(&mut self, pending: u64) {
        self.metrics.lag.set(i64::try_from(pending).unwrap_or(i64::MAX));
        if pending > 0 {
            self.health.not_ready(format!("{pending} messages behind"));
        } else {
            self.health.ready();
        }
    }
}

fn file_timer(every: Duration) -> Interval {
    let mut timer = interval_at(Instant::now() + every, every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
