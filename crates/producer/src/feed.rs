//! FEED as a source uses it: queries of its newest records, and publishing.

use std::future::Future;
use std::time::Duration;

use bus::publish::{FeedMessage, Receipt};
use bus::query::StoredMessage;
use bus::retry::{Backoff, wait_for};
use bus::{Connection, Error, NatsArgs, RecordKind, Stream, codec, query, stored_time, subject, topology};
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::validate::is_future;
use market::{EventTime, Instrument, Span};
use service::{Health, Shutdown};

/// Instruments that are queried at the same time, at most.
pub(crate) const ASKED_MAX: usize = 64;
const RETRY: Backoff = Backoff::constant(Duration::from_millis(500));

/// Last tick of an instrument in FEED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastTick {
    pub(crate) event: EventTime,
    pub(crate) grain: Option<Span>,
    /// Id of a trade.
    pub(crate) number: Option<u64>,
    /// Sequence of the tick's message.
    pub(crate) seq: u64,
    /// Id of the tick's message, if its publisher gave one.
    pub(crate) id: Option<String>,
}

/// A flush in FEED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flush {
    pub(crate) event: EventTime,
    pub(crate) seq: u64,
}

/// FEED, or a substitute in tests. Every method retries through outages without a limit; to stop it, drop its future.
pub(crate) trait Feed: Sync {
    /// Publishes messages in order and returns when all are stored; see [`bus::publish::publish_all`].
    fn publish(&self, messages: &[FeedMessage]) -> impl Future<Output = Result<Vec<Receipt>, Error>> + Send;
    /// Whether FEED is empty.
    fn is_empty(&self) -> impl Future<Output = Result<bool, Error>> + Send;
    /// Returns the last tick of an instrument, without ticks that were rejected because their time was in the future:
    /// that time may still come.
    fn last_tick(&self, instrument: &Instrument) -> impl Future<Output = Result<Option<LastTick>, Error>> + Send;
    /// Returns the gaps (from, to) in an instrument's last gap message, if its sequence is above `seq`.
    fn gaps_after(
        &self,
        instrument: &Instrument,
        seq: u64,
    ) -> impl Future<Output = Result<Vec<(EventTime, EventTime)>, Error>> + Send;
    /// Returns the event time of an instrument's first tick, without rejected ticks as in [`Self::last_tick`]. The
    /// instrument must have a last tick.
    fn first_event(&self, instrument: &Instrument) -> impl Future<Output = Result<EventTime, Error>> + Send;
    /// Returns the last heartbeat of an instrument, if it is a flush.
    fn last_flush(&self, instrument: &Instrument) -> impl Future<Output = Result<Option<Flush>, Error>> + Send;
    /// Returns the certified end in an instrument's last heartbeat, if it certifies anything.
    fn last_certified(&self, instrument: &Instrument) -> impl Future<Output = Result<Option<Certified>, Error>> + Send;
}

impl Feed for Connection {
    async fn publish(&self, messages: &[FeedMessage]) -> Result<Vec<Receipt>, Error> {
        bus::publish::publish_all(self, messages).await
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        let info = RETRY.retry(|| topology::stream_info(self, Stream::Feed.name())).await?;
        Ok(info.state.bytes == 0)
    }

    async fn last_tick(&self, instrument: &Instrument) -> Result<Option<LastTick>, Error> {
        let subject = subject::of_kind(Stream::Feed, RecordKind::Tick, Some(instrument));
        let mut stored = RETRY.retry(|| query::last(self, Stream::Feed, &subject)).await?;
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
            stored = RETRY.retry(|| query::last_before(self, Stream::Feed, &subject, message.seq)).await?;
        }
        Ok(None)
    }

    async fn gaps_after(&self, instrument: &Instrument, seq: u64) -> Result<Vec<(EventTime, EventTime)>, Error> {
        let subject = subject::of_kind(Stream::Feed, RecordKind::Gap, Some(instrument));
        let stored = RETRY.retry(|| query::last(self, Stream::Feed, &subject)).await?;
        Ok(stored.filter(|stored| stored.seq > seq).map(|stored| gaps(&stored.payload)).unwrap_or_default())
    }

    async fn first_event(&self, instrument: &Instrument) -> Result<EventTime, Error> {
        let subject = subject::of_kind(Stream::Feed, RecordKind::Tick, Some(instrument));
        let mut from = 1;
        loop {
            let first = RETRY.retry(|| async {
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
    RETRY.retry(|| query::last(connection, Stream::Feed, &subject)).await
}

fn heartbeat(payload: &[u8]) -> Option<HeartbeatLine<'_>> {
    serde_json::from_slice(payload).ok()
}

/// End of the time that a heartbeat certifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certified {
    /// No price before this time is missing.
    pub(crate) end: EventTime,
    /// Time at which the heartbeat was issued, by the producer's clock.
    pub(crate) issued: EventTime,
}

impl Certified {
    /// Returns the certified end in a heartbeat's payload, if it certifies anything.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        let heartbeat = heartbeat(payload)?;
        let (_, end) = heartbeat.certified()?;
        Some(Self { end, issued: EventTime(heartbeat.ingest_ms) })
    }
}

/// Returns the time at which FEED first stored a message, in milliseconds.
async fn stored_ms(connection: &Connection, message: &StoredMessage) -> Result<i64, Error> {
    RETRY.retry(|| stored_time::of(connection, Stream::Feed, message)).await
}

/// Returns the ticks of a message that was stored at `stored_ms`, without those that were rejected because their time
/// was in the future.
pub(crate) fn ticks_in_time(payload: &[u8], stored_ms: i64) -> impl Iterator<Item = TickLine<'_>> {
    let ticks = codec::lines(payload).filter_map(|(_, line)| serde_json::from_slice::<TickLine<'_>>(line).ok());
    ticks.filter(move |tick| !is_future(tick.event_ms, tick.ingest_ms, stored_ms))
}

/// Returns the gaps (from, to) of a message.
pub(crate) fn gaps(payload: &[u8]) -> Vec<(EventTime, EventTime)> {
    let gaps = codec::lines(payload).filter_map(|(_, line)| serde_json::from_slice::<GapLine<'_>>(line).ok());
    gaps.map(|gap| (EventTime(gap.from_ms), EventTime(gap.to_ms))).collect()
}

/// Connects and waits until FEED exists; `None` when shutdown came first.
///
/// # Errors
/// Waiting does not help: wrong credentials, a server that is too old, or a FEED with other settings.
pub(crate) async fn connect(
    args: &NatsArgs,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<Option<Connection>, Error> {
    let Some(connection) = Connection::wait(args, Some("producer"), health, shutdown).await? else { return Ok(None) };
    let feed = wait_for(|| topology::require(&connection, Stream::Feed), health, shutdown).await?;
    Ok(feed.map(|_| connection))
}
