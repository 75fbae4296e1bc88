//! Reads each stream once up to the cut and spills its messages by instrument.

use std::collections::HashMap;

use async_nats::HeaderMap;
use async_nats::header::NATS_BATCH_ID;
use bus::reader::{Delivery, Selection, read_to_end};
use bus::stream::Stream;
use bus::subject::SubjectParts;
use bus::topology::stream_info;
use bus::{Connection, Error, query, subject};

use crate::cut::{Cut, InstrumentKey};
use crate::instrument::{ConsumedMarket, InstrumentAudit, Retained};
use crate::message::{AuditedMessage, STREAMS, kinds};
use crate::spill::Spill;

/// Most buckets. Up to this many instruments have a bucket each; with more, several share one and are in memory
/// together.
const BUCKETS_MAX: usize = 1_024;

/// The messages of several instruments, grouped by instrument.
pub(crate) struct Messages<'a> {
    cut: &'a Cut,
    /// By bucket.
    instruments: Vec<&'a [InstrumentKey]>,
    spill: Spill,
    /// The retained part of the streams when reading ended.
    pub(crate) retained: Retained,
}

impl<'a> Messages<'a> {
    /// Reads all messages of these instruments that belong to the cut. Reads again when a stream lost its beginning
    /// meanwhile, since the messages read are then no longer those retained.
    pub(crate) async fn read(
        connection: &Connection,
        cut: &'a Cut,
        instruments: &'a [InstrumentKey],
    ) -> anyhow::Result<Self> {
        let mut starts = StreamStarts::now(connection).await?;
        loop {
            let reading = Reading::new(cut, instruments, &starts);
            let mut spill = Spill::new(instruments.len().div_ceil(reading.bucket_size))?;
            for stream in STREAMS {
                reading.put_aside(connection, stream, &mut spill).await?;
            }
            let instruments = instruments.chunks(reading.bucket_size).collect();
            let now = StreamStarts::now(connection).await?;
            if (&now.market, &now.stats) == (&starts.market, &starts.stats) {
                return Ok(Self { cut, instruments, spill, retained: now.retained() });
            }
            starts = now;
        }
    }

    /// Each instrument with its messages, one bucket at a time.
    pub(crate) fn audits(&self) -> impl Iterator<Item = anyhow::Result<Vec<(&'a InstrumentKey, InstrumentAudit<'a>)>>> {
        self.instruments.iter().enumerate().map(|(bucket, instruments)| {
            let consumed = |partition| {
                let place = self.cut.stats.get(partition).copied().unwrap_or_default();
                ConsumedMarket { to: place.input, lost_to: place.lost_to }
            };
            let audit =
                |one: &'a InstrumentKey| (one, InstrumentAudit::new(&one.coin, &one.quote, consumed(&one.partition)));
            let mut audits: Vec<_> = instruments.iter().map(audit).collect();
            self.spill.each_block(bucket, |mut block| {
                while !block.is_empty() {
                    let (place, message) = AuditedMessage::read(&mut block)?;
                    audits[place].1.add(&message);
                }
                Ok(())
            })?;
            Ok(audits)
        })
    }
}

/// Assigns messages to instruments and buckets.
struct Reading<'a> {
    cut: &'a Cut,
    instruments: &'a [InstrumentKey],
    /// By partition, coin and quote.
    places: HashMap<(u32, &'a str, &'a str), usize>,
    bucket_size: usize,
    starts: &'a StreamStarts,
}

impl<'a> Reading<'a> {
    fn new(cut: &'a Cut, instruments: &'a [InstrumentKey], starts: &'a StreamStarts) -> Self {
        let key = |one: &'a InstrumentKey| (one.partition, one.coin.as_str(), one.quote.as_str());
        let places = instruments.iter().map(key).zip(0..).collect();
        let bucket_size = instruments.len().div_ceil(BUCKETS_MAX).max(1);
        Self { cut, instruments, places, bucket_size, starts }
    }

    /// Reads a stream, filtered on the server when only one instrument is asked for.
    async fn put_aside(&self, connection: &Connection, stream: Stream, spill: &mut Spill) -> anyhow::Result<()> {
        let filters = match self.instruments {
            [] => return Ok(()),
            [InstrumentKey { partition, coin, quote }] => {
                kinds(stream).iter().map(|&kind| subject::stored(stream, *partition, kind, coin, quote)).collect()
            }
            _ => vec![subject::all(stream)],
        };
        let reading = read_to_end(connection, Selection { stream, filters, from: 1 }, |delivery| {
            let Some((place, message)) = self.message(stream, &delivery) else { return Ok(()) };
            spill.put(place / self.bucket_size, |block| message.write(place % self.bucket_size, block))
        });
        reading.await.map(drop)
    }

    /// Returns a message that belongs to the cut, with the index of its instrument.
    fn message<'m>(&self, stream: Stream, delivery: &'m Delivery) -> Option<(usize, AuditedMessage<'m>)> {
        let subject = SubjectParts::parse(&delivery.subject)?;
        let kind = kinds(stream).iter().find(|kind| kind.token() == subject.kind)?;
        let place = self.places.get(&(subject.partition, subject.coin, subject.quote))?;
        let has_whole_commit = match stream {
            Stream::Market => self.starts.market.has_all_of_batch(delivery),
            Stream::Stats => self.starts.stats.has_all_of_batch(delivery),
            _ => true,
        };
        let belongs = delivery.seq <= self.cut.last(stream, subject.partition);
        belongs.then(|| (*place, AuditedMessage::new(stream, *kind, delivery, has_whole_commit)))
    }
}

/// First messages of the streams.
#[derive(Debug)]
struct StreamStarts {
    feed_first: u64,
    market: StreamStart,
    stats: StreamStart,
}

/// The first result that a stream still holds: its sequence and the batch that committed it.
#[derive(Debug, PartialEq, Eq)]
struct StreamStart {
    seq: u64,
    batch: Option<String>,
    /// Sequence of the very first result of the stream.
    origin: u64,
}

impl StreamStarts {
    /// Reads them from the server.
    async fn now(connection: &Connection) -> Result<Self, Error> {
        let market = StreamStart::of(connection, Stream::Market).await?;
        let stats = StreamStart::of(connection, Stream::Stats).await?;
        Ok(Self { feed_first: stream_info(connection, Stream::Feed.name()).await?.state.first_seq, market, stats })
    }

    fn retained(&self) -> Retained {
        Retained {
            feed_first: self.feed_first,
            is_market_trimmed: self.market.is_trimmed(),
            is_stats_trimmed: self.stats.is_trimmed(),
        }
    }
}

impl StreamStart {
    async fn of(connection: &Connection, stream: Stream) -> Result<Self, Error> {
        let info = stream_info(connection, stream.name()).await?;
        let first = query::first(connection, stream, &subject::all(stream)).await?;
        let seq = first.as_ref().map_or(info.begins(), |first| first.seq);
        let batch = first.and_then(|first| batch_of(Some(&first.headers)));
        Ok(Self { seq, batch, origin: info.origin() })
    }

    fn is_trimmed(&self) -> bool {
        self.seq > self.origin
    }

    /// Whether every message of this message's batch is retained. Only the batch of the first message can be
    /// incomplete.
    fn has_all_of_batch(&self, message: &Delivery) -> bool {
        !self.is_trimmed() || self.batch != batch_of(message.headers.as_ref())
    }
}

/// The batch that stored a message.
fn batch_of(headers: Option<&HeaderMap>) -> Option<String> {
    headers?.get(NATS_BATCH_ID).map(|id| id.as_str().to_owned())
}
