//! A consistent cut through the streams of a pipeline that may be running.
//!
//! A step stores its results and, after them, its position in one batch. The messages of a partition up to a position
//! message are therefore exactly the results of its input up to that position. The cut holds STATS up to its positions;
//! then MARKET up to positions that are read later and so include everything that STATS was made from; and FEED up to
//! the inputs that MARKET's positions name. Later messages belong to the next audit.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use bus::protocol::decode_position;
use bus::stream::Stream;
use bus::subject::{self, SubjectParts};
use bus::topology::stream_info;
use bus::{Connection, Error, query};
use futures::future::try_join_all;
use serde::Deserialize;

use crate::bounds::EventTimeBounds;

/// The part of each stream that an audit reads.
#[derive(Debug)]
pub(crate) struct Cut {
    /// By partition.
    pub(crate) market: BTreeMap<u32, CutPoint>,
    /// By partition.
    pub(crate) stats: BTreeMap<u32, CutPoint>,
    /// Every instrument with a stored message.
    pub(crate) instruments: Vec<InstrumentKey>,
    /// Last sequence of FEED.
    pub(crate) feed_end: u64,
    /// Whether reads may be answered by a replica that lags behind.
    pub(crate) is_replicated: bool,
}

/// An instrument of a partition, as subjects name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InstrumentKey {
    pub(crate) partition: u32,
    pub(crate) coin: String,
    pub(crate) quote: String,
}

/// How far a partition of a step has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CutPoint {
    /// Sequence of the position message, which follows the results that belong to it. 0 when there is none.
    pub(crate) end: u64,
    /// Last sequence of the input that these results contain.
    pub(crate) input: u64,
    /// Last sequence of an input that was lost, with the loss accepted. 0 when none was lost.
    pub(crate) lost_to: u64,
}

#[derive(Deserialize)]
struct Position {
    position: u64,
    #[serde(default)]
    lost_to: u64,
    /// Only the settings of event time: an audit can be run with other values of these.
    config: EventTimeBounds,
}

impl Cut {
    /// Takes a cut through the stored messages of steps that run with these event-time bounds.
    pub(crate) async fn take(connection: &Connection, bounds: EventTimeBounds) -> anyhow::Result<Self> {
        let mut instruments = instruments_of(connection, Stream::Stats).await?;
        let mut of_market = instruments_of(connection, Stream::Market).await?;
        let stats = cut_points(connection, Stream::Stats, bounds).await?;
        check_positions(Stream::Stats, &instruments, &stats)?;
        let market = cut_points(connection, Stream::Market, bounds).await?;
        check_positions(Stream::Market, &of_market, &market)?;
        for (partition, point) in &stats {
            let end = market.get(partition).copied().unwrap_or_default().end;
            anyhow::ensure!(
                point.input <= end,
                "STATS was made from MARKET up to sequence {}, but MARKET ends at {end} in partition {partition}: it is \
                 not the MARKET that STATS was made from",
                point.input
            );
        }
        instruments.append(&mut of_market);
        instruments.append(&mut instruments_of(connection, Stream::Feed).await?);
        let feed = stream_info(connection, Stream::Feed.name()).await?;
        let is_replicated = feed.replicas() > 1;
        let instruments = instruments.into_iter().collect();
        Ok(Self { market, stats, instruments, feed_end: feed.state.last_seq, is_replicated })
    }

    /// The last message of a partition of a stream inside the cut.
    pub(crate) fn last(&self, stream: Stream, partition: u32) -> u64 {
        let cut_points = if stream == Stream::Stats { &self.stats } else { &self.market };
        let CutPoint { end, input, .. } = cut_points.get(&partition).copied().unwrap_or_default();
        if stream == Stream::Feed { input } else { end }
    }

    /// The last sequence of FEED that MARKET contains, over all partitions.
    pub(crate) fn feed_last(&self) -> u64 {
        self.market.values().map(|point| point.input).max().unwrap_or(0)
    }
}

async fn instruments_of(connection: &Connection, stream: Stream) -> Result<BTreeSet<InstrumentKey>, Error> {
    let subjects = query::subjects(connection, stream).await?;
    let stored = subjects.iter().filter_map(|subject| SubjectParts::parse(subject));
    let instrument = |SubjectParts { partition, coin, quote, .. }: SubjectParts<'_>| InstrumentKey {
        partition,
        coin: coin.to_owned(),
        quote: quote.to_owned(),
    };
    Ok(stored.map(instrument).collect())
}

/// Reads the positions of a step from the stream's leader.
async fn cut_points(
    connection: &Connection,
    stream: Stream,
    bounds: EventTimeBounds,
) -> anyhow::Result<BTreeMap<u32, CutPoint>> {
    let info = stream_info(connection, stream.name()).await?;
    let partitions = info.partitions().with_context(|| format!("{stream} names no number of partitions"))?;
    let cut_points = (0..partitions).map(async |partition| {
        let Some(stored) = query::last(connection, stream, &subject::position(stream, partition)).await? else {
            return Ok((partition, CutPoint::default()));
        };
        let position: Position = decode_position(&stored)?;
        check_settings(stream, position.config, bounds)?;
        let Position { position, lost_to, .. } = position;
        anyhow::Ok((partition, CutPoint { end: stored.seq, input: position, lost_to }))
    });
    Ok(try_join_all(cut_points).await?.into_iter().collect())
}
fn check_positions(
    stream: Stream,
    instruments: &BTreeSet<InstrumentKey>,
    cut_points: &BTreeMap<u32, CutPoint>,
) -> Result<(), Error> {
    let end = |partition: &u32| cut_points.get(partition).map_or(0, |point| point.end);
    match instruments.iter().find(|instrument| end(&instrument.partition) == 0) {
        Some(InstrumentKey { partition, coin, quote }) => Err(Error::CheckpointLost {
            output: stream.name().to_owned(),
            partition: *partition,
            detail: format!("no position, but results of {coin}/{quote}"),
        }),
        None => Ok(()),
    }
}

/// Refuses results of steps that ran with other settings: the audit could not tell them from faults.
fn check_settings(stream: Stream, made: EventTimeBounds, asked: EventTimeBounds) -> Result<(), Error> {
    if made == asked {
        return Ok(());
    }
    Err(Error::OtherSettings { output: stream.name().to_owned(), made: made.to_string(), asked: asked.to_string() })
}
