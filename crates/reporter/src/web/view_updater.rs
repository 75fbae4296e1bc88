//! Updates the page's rows and events: reads the stored messages of the streams, then follows new ones.

mod loading;
mod open_candles;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use bus::error::Disposition;
use bus::protocol::LogId;
use bus::reader::{Delivery, Reader, ReaderEvent, Selection};
use bus::retry::{Backoff, wait_for};
use bus::{Connection, Error, RecordKind, Stream, subject, topology};
use service::{Freshness, Shutdown};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::events::live::Load;
use super::events::{Held, HeldMessage};
use super::page_state::PageState;
use crate::query::pipeline::PipelineWatch;
use crate::view::kind_of;
use crate::view::records::{Depth, StoredRecords};

/// Sequences of a stream that are read at the start, from its end. MARKET is long, and a replayed message holds up to
/// 128 KiB. The newest message of a subject that has none among them is fetched by itself.
const TAIL: u64 = 512;
/// Time between two looks at the positions of the steps.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Delays before the stored messages are read again, when the server was lost meanwhile.
const RELOAD: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// Time between two looks for a stream that does not exist yet.
const MISSING_INTERVAL: Duration = Duration::from_secs(5);

/// Follows the streams until shutdown, through outages.
///
/// # Errors
/// Waiting does not help: wrong credentials, missing permissions, or streams with other settings.
pub(super) async fn follow(shared: &PageState, connection: &Connection, shutdown: &Shutdown) -> Result<(), Error> {
    shared.connected(connection);
    shared.publish_pipeline();
    let required = async |stream| wait_for(|| topology::require(connection, stream), &shared.health, shutdown).await;
    for stream in [Stream::Market, Stream::Stats] {
        let Some(_) = required(stream).await? else { return Ok(()) };
    }
    let follower = Follower { shared, connection, held: Mutex::new(Held::new()), news: Notify::new() };
    tokio::select! {
        never = follower.follow() => never,
        never = watch_steps(shared, connection) => never,
        () = open_candles::follow(shared, connection) => Ok(()),
        () = shutdown.requested() => Ok(()),
    }
}

/// Reads the streams into the shared state.
struct Follower<'a> {
    shared: &'a PageState,
    connection: &'a Connection,
    held: Mutex<Held>,
    /// Tells that a message is held.
    news: Notify,
}

/// A stream that is read, and the identity of its log as it was read last.
struct Tail {
    reader: Reader,
    log: LogId,
    /// The last sequence that was read.
    seq: u64,
}

impl Follower<'_> {
    /// Reads the streams forever, again from their beginning whenever one of them is another log.
    async fn follow(&self) -> Result<(), Error> {
        loop {
            self.follow_streams().await?;
            tracing::warn!("a stream is another log than before: reading all of them again");
        }
    }

    /// Reads the streams until one of them is another log than before.
    async fn follow_streams(&self) -> Result<(), Error> {
        let shared = self.shared;
        shared.health.not_ready("reading what is stored");
        *self.held() = Held::new();
        shared.live().restart();
        let [market, stats, forecast] = RELOAD.retry(|| self.load()).await?;
        shared.live().loaded();
        shared.clients.wake_all();
        shared.health.ready();
        tokio::select! {
            ended = self.read(Stream::Market, market) => ended,
            ended = self.read(Stream::Stats, stats) => ended,
            ended = self.read(Stream::Forecast, forecast) => ended,
            () = self.release() => Ok(()),
        }
    }

    /// Opens a stream near its end; `None` if it does not exist.
    async fn open(&self, stream: Stream) -> Result<Option<Tail>, Error> {
        let info = match topology::require(self.connection, stream).await {
            Err(Error::StreamMissing { .. }) => return Ok(None),
            info => info?,
        };
        let from = info.state.last_seq.saturating_sub(TAIL).max(1);
        let filters = shown_kinds(stream).map(|kind| subject::of_kind(stream, kind, None)).collect();
        let reader = Reader::start(self.connection, Selection { stream, filters, from });
        Ok(Some(Tail { reader, log: info.log()?, seq: from.saturating_sub(1) }))
    }

    /// Waits for a stream that does not exist yet.
    async fn open_later(&self, stream: Stream) -> Result<Tail, Error> {
        loop {
            sleep(MISSING_INTERVAL).await;
            match self.open(stream).await {
                Ok(Some(tail)) => return Ok(tail),
                Err(error) if error.disposition() == Disposition::Stop => return Err(error),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot look for {stream}"),
            }
        }
    }

    /// Reads a stream until it is another log than before. A stream that does not exist is waited for.
    async fn read(&self, stream: Stream, tail: Option<Tail>) -> Result<(), Error> {
        let mut tail = match tail {
            Some(tail) => tail,
            None => self.open_later(stream).await?,
        };
        loop {
            let pending = match tail.reader.next().await? {
                ReaderEvent::Attached { info, pending } => {
                    if !tail.continues(info.log()?) {
                        return Ok(());
                    }
                    pending
                }
                ReaderEvent::Message(delivery) => {
                    tail.seq = delivery.seq;
                    self.hold(stream, &delivery);
                    delivery.pending
                }
            };
            // After an outage.
            if pending == 0 && stream == Stream::Stats {
                self.shared.health.ready();
            }
        }
    }

    /// Holds a message until it is released.
    fn hold(&self, stream: Stream, delivery: &Delivery) {
        match parse(delivery) {
            Some(stored) => {
                self.held().push(HeldMessage { stream, seq: delivery.seq, stored });
                self.news.notify_one();
            }
            None => self.shared.live().pass(stream, delivery.seq),
        }
    }

    /// Adds a message while the rows are filled.
    fn store(&self, stream: Stream, delivery: &Delivery) {
        let mut live = self.shared.live();
        match parse(delivery) {
            Some(stored) => live.store(HeldMessage { stream, seq: delivery.seq, stored }, Load::Live),
            None => live.pass(stream, delivery.seq),
        }
    }

    /// Releases held messages when they are due, forever.
    async fn release(&self) {
        loop {
            let now = Instant::now();
            let due = self.held().due(now);
            match due {
                None => self.news.notified().await,
                Some(due) if due > now => {
                    // A full store is due earlier.
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.news.notified() => {}
                    }
                }
                Some(_) => self.release_now(now),
            }
        }
    }

    fn release_now(&self, now: Instant) {
        let (load, messages) = self.held().release(now);
        let instruments: BTreeSet<_> = messages.iter().map(|message| message.stored.instrument.clone()).collect();
        let mut live = self.shared.live();
        messages.into_iter().for_each(|message| live.store(message, load));
        drop(live);
        self.shared.clients.wake(instruments);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Whether the stream is still the one that was read up to here.
    fn continues(&mut self, log: LogId) -> bool {
        let continues = log.continues_from(&self.log, self.seq);
        self.log = log;
        continues
    }
}

/// Returns the shown records of a message. An unreadable one is reported and ignored.
fn parse(delivery: &Delivery) -> Option<StoredRecords> {
    let stored = StoredRecords::parse(&delivery.subject, delivery.seq, &delivery.payload, Depth::Newest);
    stored.unwrap_or_else(|error| {
        tracing::warn!(%error, "ignored an unreadable stored record");
        None
    })
}

/// Returns the kinds of a stream that are shown.
fn shown_kinds(stream: Stream) -> impl Iterator<Item = RecordKind> {
    let longer = bus::stream::STATS_WINDOWS.into_iter().map(kind_of);
    let kinds: Vec<RecordKind> = match stream {
        Stream::Feed => Vec::new(),
        Stream::Market => vec![RecordKind::Price, RecordKind::Candle],
        Stream::Stats => longer.chain([RecordKind::HourOfDay]).collect(),
        Stream::Forecast => vec![RecordKind::Next, RecordKind::Score, RecordKind::Model],
    };
    kinds.into_iter()
}

/// Looks at the steps periodically and whenever the connection is lost or back, forever.
async fn watch_steps(shared: &PageState, connection: &Connection) -> Result<(), Error> {
    let pulse = shared.health.pulse("looking at the steps");
    let mut watch = PipelineWatch::new(connection);
    let mut epoch = connection.epoch();
    loop {
        epoch.borrow_and_update();
        pulse.during(refresh(shared, connection, &mut watch)).await;
        tokio::select! {
            () = sleep(STATUS_INTERVAL) => {}
            // The sender lives as long as the connection.
            _ = epoch.changed() => {}
        }
    }
}

async fn refresh(shared: &PageState, connection: &Connection, watch: &mut PipelineWatch) {
    if connection.client().connection_state() == State::Connected {
        match watch.look().await {
            Ok(status) => *shared.status() = status,
            Err(error) => tracing::debug!(%error, "cannot read the status of the steps"),
        }
    } else {
        shared.status().is_connected = false;
        shared.health.not_ready("the NATS server is away");
    }
    shared.publish_pipeline();
    let newest = shared.view().newest_times();
    shared.health.data(newest.map_or(Freshness::Awaited, |(event, _)| Freshness::Newest(event.ms())));
}
