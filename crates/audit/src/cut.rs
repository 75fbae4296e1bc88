//! One instant of a pipeline that may be running.
//!
//! A step stores its results, and behind them its position, in one batch. So the messages of a partition up to a position
//! message are exactly what its input up to that position comes to, and the audit looks at no others: STATS up to its
//! positions, then MARKET up to positions that were read later, and so hold all that STATS was made from; of FEED what
//! MARKET's positions say was read. What comes after is the next audit's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use bus::protocol::decode_position;
use bus::stream::Stream;
use bus::subject::{self, SubjectParts};
use bus::topology::stream_info;
use bus::{Connection, Error, query};
use futures::future::try_join_all;
use serde::Deserialize;

use crate::Bounds;

/// What the audit looks at.
#[derive(Debug)]
pub(crate) struct Cut {
    /// By partition.
    pub(crate) market: BTreeMap<u32, Place>,
    /// By partition.
    pub(crate) stats: BTreeMap<u32, Place>,
    /// Everything of which something is stored.
    pub(crate) instruments: Vec<Instrument>,
    /// Where FEED ends.
    pub(crate) feed_end: u64,
    /// Whether what is read may come from a replica that has not got everything yet.
    pub(crate) is_replicated: bool,
}

/// An instrument as subjects name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instrument {
    pub(crate) partition: u32,
    pub(crate) coin: String,
    pub(crate) quote: String,
}

/// Where a partition of a step stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Sequence of the position message, behind the results that belong to it. 0 when there is none.
    pub(crate) end: u64,
    /// The last input that these results contain.
    pub(crate) input: u64,
    /// The last input that was lost and accepted as such. 0 when none was.
    pub(crate) lost_to: u64,
}

#[derive(Deserialize)]
struct Position {
    position: u64,
    #[serde(default)]
    lost_to: u64,
    /// Of the settings it is event time that an audit can be told otherwise.
    config: Bounds,
}

impl Cut {
    /// Takes a cut through what is stored now, by steps that judge event time within these bounds.
    pub(crate) async fn take(connection: &Connection, bounds: Bounds) -> anyhow::Result<Self> {
        let mut instruments = instruments_of(connection, Stream::Stats).await?;
        let mut of_market = instruments_of(connection, Stream::Market).await?;
        let stats = places(connection, Stream::Stats, bounds).await?;
        check_positions(Stream::Stats, &instruments, &stats)?;
        let market = places(connection, Stream::Market, bounds).await?;
        check_positions(Stream::Market, &of_market, &market)?;
        for (partition, place) in &stats {
            let end = market.get(partition).copied().unwrap_or_default().end;
            anyhow::ensure!(
                place.input <= end,
                "STATS was made from MARKET up to sequence {}, but MARKET ends at {end} in partition {partition}: it is \
                 not the MARKET that STATS was made from",
                place.input
            );
        }
        instruments.append(&mut of_market);
        instruments.append(&mut instruments_of(connection, Stream::Feed).await?);
        let feed = stream_info(connection, Stream::Feed.name()).await?;
        let is_replicated = feed.replicas() > 1;
        let instruments = instruments.into_iter().collect();
        Ok(Self { market, stats, instruments, feed_end: feed.state.last_seq, is_replicated })
    }

    /// The last message of a partition of a stream that belongs to the cut.
    pub(crate) fn last(&self, stream: Stream, partition: u32) -> u64 {
        let places = if stream == Stream::Stats { &self.stats } else { &self.market };
        let Place { end, input, .. } = places.get(&partition).copied().unwrap_or_default();
        if stream == Stream::Feed { input } else { end }
    }

    /// The last sequence of FEED that MARKET contains, of all partitions.
    pub(crate) fn feed_last(&self) -> u64 {
        self.market.values().map(|place| place.input).max().unwrap_or(0)
    }
}

async fn instruments_of(connection: &Connection, stream: Stream) -> Result<BTreeSet<Instrument>, Error> {
    let subjects = query::subjects(connection, stream).await?;
    let stored = subjects.iter().filter_map(|subject| SubjectParts::parse(subject));
    let instrument = |SubjectParts { partition, coin, quote, .. }: SubjectParts<'_>| Instrument {
        partition,
        coin: coin.to_owned(),
        quote: quote.to_owned(),
    };
    Ok(stored.map(instrument).collect())
}

/// The positions of a step as the stream's leader knows them.
async fn places(connection: &Connection, stream: Stream, bounds: Bounds) -> anyhow::Result<BTreeMap<u32, Place>> {
    let info = stream_info(connection, stream.name()).await?;
    let partitions = info.partitions().with_context(|| format!("{stream} names no number of partitions"))?;
    let places = (0..partitions).map(async |partition| {
        let Some(stored) = query::last(connection, stream, &subject::position(stream, partition)).await? else {
            return Ok((partition, Place::default()));
        };
        let position: Position = decode_position(&stored)?;
        check_settings(stream, position.config, bounds)?;
        let Position { position, lost_to, .. } = position;
        anyhow::Ok((partition, Place { end: stored.seq, input: position, lost_to }))
    });
    Ok(try_join_all(places).await?.into_iter().collect())
}

/// What was stored came with a position, which was stored with it.
fn check_positions(
    stream: Stream,
    instruments: &BTreeSet<Instrument>,
    places: &BTreeMap<u32, Place>,
) -> Result<(), Error> {
    let end = |partition: &u32| places.get(partition).map_or(0, |place| place.end);
    match instruments.iter().find(|instrument| end(&instrument.partition) == 0) {
        Some(Instrument { partition, coin, quote }) => Err(Error::CheckpointLost {
            output: stream.name().to_owned(),
            partition: *partition,
            detail: format!("no position, but results of {coin}/{quote}"),
        }),
        None => Ok(()),
    }
}

/// Nothing can be said of results that were made with other settings.
fn check_settings(stream: Stream, made: Bounds, asked: Bounds) -> Result<(), Error> {
    if made == asked {
        return Ok(());
    }
    Err(Error::OtherSettings { output: stream.name().to_owned(), made: made.to_string(), asked: asked.to_string() })
}
