//! What the streams hold of one instrument, up to a cut.

use async_nats::HeaderMap;
use async_nats::header::NATS_BATCH_ID;
use bus::ahead::Mark;
use bus::reader::{Delivery, Selection, read_to_end};
use bus::topology::{STATS_WINDOWS, Stream, stream_info};
use bus::{Connection, Error, Kind, history, subject};

use super::Names;
use super::cut::Cut;
use super::ledger::{Contained, Ledger, Left};

const FEED_KINDS: [Kind; 3] = [Kind::Tick, Kind::Heartbeat, Kind::Gap];
const MARKET_KINDS: [Kind; 6] = [Kind::Price, Kind::Late, Kind::Rejected, Kind::Heartbeat, Kind::Gap, Kind::Candle];

/// Reads all of an instrument that belongs to the cut. Once more when a stream lost its beginning meanwhile: only then is
/// what was read all that there is.
pub(super) async fn read<'a>(
    connection: &Connection,
    cut: &Cut,
    partition: u32,
    names: Names<'a>,
    beginnings: &mut Beginnings,
) -> anyhow::Result<(Ledger<'a>, Left)> {
    let market = cut.market.get(&partition).copied().unwrap_or_default();
    let stats = cut.stats.get(&partition).copied().unwrap_or_default();
    let reading = Reading { connection, partition, names };
    let stats_kinds: Vec<Kind> = STATS_WINDOWS.map(Kind::Stats).into_iter().chain([Kind::HourOfDay]).collect();
    loop {
        let Beginnings { market: market_begins, stats: stats_begins, .. } = &*beginnings;
        let mut ledger = Ledger::new(names.coin, names.quote, Contained { to: stats.input, lost_to: stats.lost_to });
        let add = |kind, message: &Delivery| ledger.add_feed(kind, message);
        reading.each(Stream::Feed, &FEED_KINDS, market.input, add).await?;
        let add = |kind, message: &Delivery| ledger.add_market(kind, message, market_begins.has_all_of_batch(message));
        reading.each(Stream::Market, &MARKET_KINDS, market.end, add).await?;
        let add = |kind, message: &Delivery| ledger.add_stats(kind, message, stats_begins.has_all_of_batch(message));
        reading.each(Stream::Stats, &stats_kinds, stats.end, add).await?;
        let before = std::mem::replace(beginnings, Beginnings::now(connection).await?);
        if (&before.market, &before.stats) == (&beginnings.market, &beginnings.stats) {
            let left = Left {
                feed_first: beginnings.feed_first,
                is_market_trimmed: before.market.is_trimmed(),
                is_stats_trimmed: before.stats.is_trimmed(),
            };
            return Ok((ledger, left));
        }
    }
}

/// The messages of one instrument.
struct Reading<'a> {
    connection: &'a Connection,
    partition: u32,
    names: Names<'a>,
}

impl Reading<'_> {
    /// Visits the messages of these kinds up to a sequence, in stream order.
    async fn each(
        &self,
        stream: Stream,
        kinds: &[Kind],
        last: u64,
        mut visit: impl FnMut(Kind, &Delivery),
    ) -> Result<(), Error> {
        let Self { connection, partition, names } = self;
        let subject = |kind| subject::stored(stream, *partition, kind, names.coin, names.quote);
        let subjects: Vec<String> = kinds.iter().map(|&kind| subject(kind)).collect();
        let selection = Selection { stream, filters: subjects.clone(), from: 1 };
        let reading = read_to_end(connection, selection, |delivery| {
            let kind = subjects.iter().position(|subject| *subject == *delivery.subject);
            if let Some(kind) = kind.filter(|_| delivery.seq <= last) {
                visit(kinds[kind], &delivery);
            }
            Ok::<_, Error>(())
        });
        reading.await.map(drop)
    }
}

/// Where the streams begin.
#[derive(Debug)]
pub(super) struct Beginnings {
    feed_first: u64,
    market: Beginning,
    stats: Beginning,
}

/// The first result that a stream still has: its sequence, and the batch that it was committed in.
#[derive(Debug, PartialEq, Eq)]
struct Beginning {
    seq: u64,
    batch: Option<String>,
    /// The very first commit began with a result at this sequence.
    origin: u64,
}

impl Beginnings {
    /// As they are now.
    pub(super) async fn now(connection: &Connection) -> Result<Self, Error> {
        let market = Beginning::of(connection, Stream::Market).await?;
        let stats = Beginning::of(connection, Stream::Stats).await?;
        Ok(Self { feed_first: stream_info(connection, Stream::Feed.name()).await?.state.first_seq, market, stats })
    }
}

impl Beginning {
    async fn of(connection: &Connection, stream: Stream) -> Result<Self, Error> {
        let info = stream_info(connection, stream.name()).await?;
        let first = history::first(connection, stream, &subject::all(stream)).await?;
        let seq = first.as_ref().map_or(info.begins(), |first| first.seq);
        let batch = first.and_then(|first| batch_of(Some(&first.headers)));
        Ok(Self { seq, batch, origin: info.origin() })
    }

    fn is_trimmed(&self) -> bool {
        self.seq > self.origin
    }

    /// Whether all that was committed with a message is left. Of the batch of the first message some may not be.
    fn has_all_of_batch(&self, message: &Delivery) -> bool {
        !self.is_trimmed() || self.batch != batch_of(message.headers.as_ref())
    }
}

/// What was stored with a message, by a name of its own: its batch, or the input that it was stored ahead for.
fn batch_of(headers: Option<&HeaderMap>) -> Option<String> {
    let batch = headers?.get(NATS_BATCH_ID).map(|id| id.as_str().to_owned());
    batch.or_else(|| Mark::of(headers).map(|mark| mark.input.to_string()))
}
