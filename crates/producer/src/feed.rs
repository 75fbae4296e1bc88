//! FEED as a source sees it: what it ends with, and a place to publish.

use std::future::Future;
use std::time::Duration;

use bus::connect::{patiently, wait_for};
use bus::publish::{FeedMessage, Receipt};
use bus::query::StoredMessage;
use bus::{Connection, Error, NatsArgs, RecordKind, Stream, arrival, codec, query, subject, topology};
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::validate::is_future;
use market::{EventTime, Instrument, Span};
use service::{Health, Shutdown};

/// Instruments that FEED is asked about at the same time.
pub(crate) const ASKED_MAX: usize = 64;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The last tick that FEED has of an instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastTick {
    pub(crate) event: EventTime,
    pub(crate) grain: Option<Span>,
    /// The number of a trade.
    pub(crate) number: Option<u64>,
    /// Sequence of its message.
    pub(crate) seq: u64,
    /// Id of its message, if whoever published it gave one.
    pub(crate) id: Option<String>,
}

/// A flush in FEED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flush {
    pub(crate) event: EventTime,
    pub(crate) seq: u64,
}

/// FEED, or what stands for it in tests. Nothing here gives up on an outage: cancel to stop.
pub(crate) trait Feed: Sync {
    /// Publishes messages in order and returns when all are stored; see [`bus::publish::publish_all`].
    fn publish(&self, messages: &[FeedMessage]) -> impl Future<Output = Result<Vec<Receipt>, Error>> + Send;
    /// Whether it holds nothing at all.
    fn is_empty(&self) -> impl Future<Output = Result<bool, Error>> + Send;
    /// The last tick of an instrument, but for those that were refused because they came from the future: their time may
    /// still come.
    fn last_tick(&self, instrument: &Instrument) -> impl Future<Output = Result<Option<LastTick>, Error>> + Send;
    /// The gaps (from, to) of an instrument that stand last in FEED, and behind this sequence.
    fn gaps_after(
        &self,
        instrument: &Instrument,
        seq: u64,
    ) -> impl Future<Output = Result<Vec<(EventTime, EventTime)>, Error>> + Send;
    /// The event time of the first tick of an instrument that has a last one; ticks that were refused are left out as there.
    fn first_event(&self, instrument: &Instrument) -> impl Future<Output = Result<EventTime, Error>> + Send;
    /// The last heartbeat of an instrument, if it is a flush.
    fn last_flush(&self, instrument: &Instrument) -> impl Future<Output = Result<Option<Flush>, Error>> + Send;
    /// What an instrument's last heartbeat certifies, if anything.
    fn last_certified(&self, instrument: &Instrument) -> impl Future<Output = Result<Option<Certified>, Error>> + Send;
}

impl Feed for Connection {
    async fn publish(&self, messages: &[FeedMessage]) -> Result<Vec<Receipt>, Error> {
        bus::publish::publish_all(self, messages).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        let info = patiently(RETRY_DELAY, || topology::stream_info(self, Stream::Feed.name())).await?;
        Ok(info.state.bytes == 0)
    }

    async fn last_tick(&self, instrument: &Instrument) -> Result<Option<LastTick>, Error> {
        let subject = subject::of_kind(Stream::Feed, RecordKind::Tick, Some(instrument));
        let mut stored = patiently(RETRY_DELAY, || query::last(self, Stream::Feed, &subject)).await?;
        while let Some(message) = stored {
            if let Some(tick) = ticks_in_time(&message.payload, stored_ms(self, &message).await?).last() {
                return Ok(Some(LastTick {
                    event: EventTime(tick.event_ms),
                    grain: tick.grain_ms.map(Span),
                    number: tick.id,
                    seq: message.seq,
                    id: message.id().map(str::to_owned),
                }));
            }
            stored = patiently(RETRY_DELAY, || query::last_before(self, Stream::Feed, &subject, message.seq)).await?;
        }
        Ok(None)
    }

    async fn gaps_after(&self, instrument: &Instrument, seq: u64) -> Result<Vec<(EventTime, EventTime)>, Error> {
        let subject = subject::of_kind(Stream::Feed, RecordKind::Gap, Some(instrument));
        let stored = patiently(RETRY_DELAY, || query::last(self, Stream::Feed, &subject)).await?;
        Ok(stored.filter(|stored| stored.seq > seq).map(|stored| gaps(&stored.payload)).unwrap_or_default())
    }

    async fn first_event(&self, instrument: &Instrument) -> Result<EventTime, Error> {
        let subject = subject::of_kind(Stream::Feed, RecordKind::Tick, Some(instrument));
        let mut from = 1;
        loop {
            let first = patiently(RETRY_DELAY, || async {
                let first = query::first_from(self, Stream::Feed, &subject, from).await?;
                first.ok_or_else(|| Error::Unanswered { what: format!("the first message on {subject}") })
            });
            let first = first.await?;
            if let Some(tick) = ticks_in_time(&first.payload, stored_ms(self, &first).await?).next() {
                return Ok(EventTime(tick.event_ms));
            }
            from = first.seq + 1;
        }
    }

    async fn last_flush(&self, instrument: &Instrument) -> Result<Option<Flush>, Error> {
        let last = last_heartbeat(self, instrument).await?;
        let heartbeat = last.as_ref().and_then(|stored| Some((stored.seq, heartbeat(&stored.payload)?)));
        let flush = heartbeat.filter(|(_, heartbeat)| heartbeat.flush);
        Ok(flush.map(|(seq, flush)| Flush { event: flush.event(), seq }))
    }

    async fn last_certified(&self, instrument: &Instrument) -> Result<Option<Certified>, Error> {
        let last = last_heartbeat(self, instrument).await?;
        Ok(last.and_then(|stored| Certified::of(&stored.payload)))
    }
}

async fn last_heartbeat(connection: &Connection, instrument: &Instrument) -> Result<Option<StoredMessage>, Error> {
    let subject = subject::of_kind(Stream::Feed, RecordKind::Heartbeat, Some(instrument));
    patiently(RETRY_DELAY, || query::last(connection, Stream::Feed, &subject)).await
}

fn heartbeat(payload: &[u8]) -> Option<HeartbeatLine<'_>> {
    serde_json::from_slice(payload).ok()
}

/// The end of what a heartbeat certifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certified {
    /// Nothing before it is missing.
    pub(crate) end: EventTime,
    /// When that was said, by the producer's clock.
    pub(crate) issued: EventTime,
}

impl Certified {
    /// What a heartbeat's payload certifies, if anything.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        let heartbeat = heartbeat(payload)?;
        let (_, end) = heartbeat.certified()?;
        Some(Self { end, issued: EventTime(heartbeat.ingest_ms) })
    }
}

/// When FEED stored a message first, in milliseconds.
async fn stored_ms(connection: &Connection, message: &StoredMessage) -> Result<i64, Error> {
    patiently(RETRY_DELAY, || arrival::of(connection, Stream::Feed, message)).await
}

/// The ticks of a message that was stored at `stored_ms` but for those that were refused because they came from the future.
pub(crate) fn ticks_in_time(payload: &[u8], stored_ms: i64) -> impl Iterator<Item = TickLine<'_>> {
    let ticks = codec::lines(payload).filter_map(|(_, line)| serde_json::from_slice::<TickLine<'_>>(line).ok());
    ticks.filter(move |tick| !is_future(tick.event_ms, tick.ingest_ms, stored_ms))
}

/// A message's gaps (from, to).
pub(crate) fn gaps(payload: &[u8]) -> Vec<(EventTime, EventTime)> {
    let gaps = codec::lines(payload).filter_map(|(_, line)| serde_json::from_slice::<GapLine<'_>>(line).ok());
    gaps.map(|gap| (EventTime(gap.from_ms), EventTime(gap.to_ms))).collect()
}

/// Connects and waits until FEED is there; `None` when shutdown came first.
///
/// # Errors
/// What waiting cannot mend: wrong credentials, a server that is too old, a FEED of another form.
pub(crate) async fn connect(
    args: &NatsArgs,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<Option<Connection>, Error> {
    let Some(connection) = Connection::wait(args, Some("producer"), health, shutdown).await? else { return Ok(None) };
    let feed = wait_for(|| topology::require(&connection, Stream::Feed), health, shutdown).await?;
    Ok(feed.map(|_| connection))
}
