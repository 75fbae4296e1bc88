//! The archive of a service: written after a while, when much is waiting, and when a training needs it.

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
use crate::train::can_wait;

/// How long to wait before what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Asks the archiver to write as far as a training needs, and waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    wanted: mpsc::UnboundedSender<u64>,
    written: watch::Receiver<u64>,
}

/// The archiver's end of [`Reach`].
#[derive(Debug)]
pub(crate) struct Reached {
    wanted: mpsc::UnboundedReceiver<u64>,
    written: watch::Sender<u64>,
}

/// Both ends, with the archive reaching as far as `written`.
pub(crate) fn reach(written: u64) -> (Reach, Reached) {
    let (wanted, receiver) = mpsc::unbounded_channel();
    let (sender, written) = watch::channel(written);
    (Reach { wanted, written }, Reached { wanted: receiver, written: sender })
}

impl Reach {
    /// Returns when everything that MARKET accepted up to this sequence is in files.
    pub(crate) async fn through(&self, seq: u64) -> anyhow::Result<()> {
        self.wanted.send(seq).context("the archiver has ended")?;
        let mut written = self.written.clone();
        written.wait_for(|&written| written >= seq).await.context("the archiver has ended")?;
        Ok(())
    }
}

/// What is counted and measured of an archive.
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
            waiting: all.register("archive_waiting_rows", "Ticks that were read and are in no file yet"),
            rows: all.register("archive_rows", "Ticks that were written into files"),
            seconds: all.register_with("archive_write_duration_seconds", "Writing and syncing a file", histogram),
        }
    }
}

/// An archive being written.
pub(crate) struct Archiving {
    archiver: Archiver,
    /// All accepted ticks up to this MARKET sequence were taken.
    looked_at: u64,
    reached: Reached,
    /// The MARKET sequence that a training waits for.
    wanted: u64,
    health: Health,
    metrics: ArchiveMetrics,
    shutdown: Shutdown,
}

impl Archiving {
    /// Goes on where the archive ends.
    pub(crate) fn new(archiver: Archiver, reached: Reached, health: Health, shutdown: Shutdown) -> Self {
        let looked_at = archiver.last_seq().unwrap_or_default();
        let metrics = ArchiveMetrics::new(health.metrics());
        Self { archiver, looked_at, reached, wanted: 0, health, metrics, shutdown }
    }

    /// Reads and writes until shutdown, a file at least after every `file_every` in which something came.
    ///
    /// # Errors
    /// What waiting cannot mend.
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
                Some(wanted) = self.reached.wanted.recv() => self.wanted = self.wanted.max(wanted),
                _ = file_due.tick(), if self.archiver.waiting() > 0 => pulse.during(self.write()).await?,
                _ = beat.tick() => {}
            }
            if self.is_wanted() || self.archiver.waiting() >= FILE_ROWS_MAX {
                pulse.during(self.write()).await?;
            }
        }
        match self.archiver.write(self.looked_at).await {
            Err(error) if can_wait(&error) => {
                tracing::warn!("what was read last is in no file, and is read again at the next start: {error:#}");
                Ok(())
            }
            written => written.inspect(|()| tracing::info!(looked_at = self.looked_at, "archive is written")),
        }
    }

    /// Whether a training waits for what was read and is in no file yet.
    fn is_wanted(&self) -> bool {
        *self.reached.written.borrow() < self.wanted && self.wanted <= self.looked_at
    }

    /// Writes what was read. While there is no room for it, or no way to the bucket, nothing more is read and nothing lost.
    async fn write(&mut self) -> anyhow::Result<()> {
        let mut reminder = Reminder::default();
        let (rows, start) = (self.archiver.waiting() as u64, Instant::now());
        while let Err(error) = self.archiver.write(self.looked_at).await {
            if !can_wait(&error) {
                return Err(error);
            }
            self.health.not_ready(format!("{error:#}"));
            reminder.warn(&format!("{error:#}"));
            tokio::select! {
                () = self.shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        reminder.settle("the archive is written");
        self.metrics.rows.inc_by(rows);
        self.metrics.seconds.observe(start.elapsed().as_secs_f64());
        self.reached.written.send_replace(self.looked_at);
        self.archiver.join().await
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
