//! What the streams hold up to a cut: each stream read once, and its messages put aside by instrument.

use std::collections::HashMap;

use async_nats::HeaderMap;
use async_nats::header::NATS_BATCH_ID;
use bus::reader::{Delivery, Selection, read_to_end};
use bus::stream::Stream;
use bus::subject::SubjectParts;
use bus::topology::stream_info;
use bus::{Connection, Error, query, subject};

use crate::cut::{Cut, Instrument};
use crate::instrument::{Contained, Ledger, Left};
use crate::message::{Message, STREAMS, kinds};
use crate::spill::Spill;

/// Up to so many instruments have a bucket each. More of them share: their ledgers are in memory together.
const BUCKETS_MAX: usize = 1_024;

/// The messages of several instruments, by instrument.
pub(crate) struct Messages<'a> {
    cut: &'a Cut,
    /// By bucket.
    instruments: Vec<&'a [Instrument]>,
    spill: Spill,
    /// What was left of the streams when all was read.
    pub(crate) left: Left,
}

impl<'a> Messages<'a> {
    /// Reads all of these instruments that belongs to the cut. Once more when a stream lost its beginning meanwhile: only
    /// then is what was read all that there is.
    pub(crate) async fn read(
        connection: &Connection,
        cut: &'a Cut,
        instruments: &'a [Instrument],
    ) -> anyhow::Result<Self> {
        let mut beginnings = Beginnings::now(connection).await?;
        loop {
            let reading = Reading::new(cut, instruments, &beginnings);
            let mut spill = Spill::new(instruments.len().div_ceil(reading.bucket_size))?;
            for stream in STREAMS {
                reading.put_aside(connection, stream, &mut spill).await?;
            }
            let instruments = instruments.chunks(reading.bucket_size).collect();
            let now = Beginnings::now(connection).await?;
            if (&now.market, &now.stats) == (&beginnings.market, &beginnings.stats) {
                return Ok(Self { cut, instruments, spill, left: now.left() });
            }
            beginnings = now;
        }
    }

    /// Every instrument with what the streams hold of it, those of a bucket at a time.
    pub(crate) fn ledgers(&self) -> impl Iterator<Item = anyhow::Result<Vec<(&'a Instrument, Ledger<'a>)>>> {
        self.instruments.iter().enumerate().map(|(bucket, instruments)| {
            let contained = |partition| {
                let place = self.cut.stats.get(partition).copied().unwrap_or_default();
                Contained { to: place.input, lost_to: place.lost_to }
            };
            let ledger = |one: &'a Instrument| (one, Ledger::new(&one.coin, &one.quote, contained(&one.partition)));
            let mut ledgers: Vec<_> = instruments.iter().map(ledger).collect();
            self.spill.each_block(bucket, |mut block| {
                while !block.is_empty() {
                    let (place, message) = Message::read(&mut block)?;
                    ledgers[place].1.add(&message);
                }
                Ok(())
            })?;
            Ok(ledgers)
        })
    }
}

/// How the messages of several instruments are told apart.
struct Reading<'a> {
    cut: &'a Cut,
    instruments: &'a [Instrument],
    /// By partition, coin and quote.
    places: HashMap<(u32, &'a str, &'a str), usize>,
    bucket_size: usize,
    beginnings: &'a Beginnings,
}

impl<'a> Reading<'a> {
    fn new(cut: &'a Cut, instruments: &'a [Instrument], beginnings: &'a Beginnings) -> Self {
        let key = |one: &'a Instrument| (one.partition, one.coin.as_str(), one.quote.as_str());
        let places = instruments.iter().map(key).zip(0..).collect();
        let bucket_size = instruments.len().div_ceil(BUCKETS_MAX).max(1);
        Self { cut, instruments, places, bucket_size, beginnings }
    }

    /// Reads a stream, or of it the only instrument that is asked for.
    async fn put_aside(&self, connection: &Connection, stream: Stream, spill: &mut Spill) -> anyhow::Result<()> {
        let filters = match self.instruments {
            [] => return Ok(()),
            [Instrument { partition, coin, quote }] => {
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

    /// A message that belongs to the cut, with the place of its instrument.
    fn message<'m>(&self, stream: Stream, delivery: &'m Delivery) -> Option<(usize, Message<'m>)> {
        let subject = SubjectParts::parse(&delivery.subject)?;
        let kind = kinds(stream).iter().find(|kind| kind.token() == subject.kind)?;
        let place = self.places.get(&(subject.partition, subject.coin, subject.quote))?;
        let is_whole = match stream {
            Stream::Market => self.beginnings.market.has_all_of_batch(delivery),
            Stream::Stats => self.beginnings.stats.has_all_of_batch(delivery),
            _ => true,
        };
        let belongs = delivery.seq <= self.cut.last(stream, subject.partition);
        belongs.then(|| (*place, Message::new(stream, *kind, delivery, is_whole)))
    }
}

/// Where the streams begin.
#[derive(Debug)]
struct Beginnings {
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
    async fn now(connection: &Connection) -> Result<Self, Error> {
        let market = Beginning::of(connection, Stream::Market).await?;
        let stats = Beginning::of(connection, Stream::Stats).await?;
        Ok(Self { feed_first: stream_info(connection, Stream::Feed.name()).await?.state.first_seq, market, stats })
    }

    fn left(&self) -> Left {
        Left {
            feed_first: self.feed_first,
            is_market_trimmed: self.market.is_trimmed(),
            is_stats_trimmed: self.stats.is_trimmed(),
        }
    }
}

impl Beginning {
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

    /// Whether all that was committed with a message is left. Of the batch of the first message some may not be.
    fn has_all_of_batch(&self, message: &Delivery) -> bool {
        !self.is_trimmed() || self.batch != batch_of(message.headers.as_ref())
    }
}

/// The batch that stored a message.
fn batch_of(headers: Option<&HeaderMap>) -> Option<String> {
    headers?.get(NATS_BATCH_ID).map(|id| id.as_str().to_owned())
}
