//! One instant of a pipeline that may be running.
//!
//! A step stores its results, and behind them its position, in one batch. So the messages of a partition up to a position
//! message are exactly what its input up to that position comes to, and the audit looks at no others: STATS up to its
//! positions, then MARKET up to positions that were read later, and so hold all that STATS was made from; of FEED what
//! MARKET's positions say was read. What comes after is the next audit's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use bus::subject::{self, Stored};
use bus::topology::{Stream, stream_info};
use bus::{Connection, history};
use futures::future::try_join_all;
use serde::Deserialize;

/// What the audit looks at.
#[derive(Debug)]
pub(super) struct Cut {
    /// By partition.
    pub(super) market: BTreeMap<u32, Place>,
    /// By partition.
    pub(super) stats: BTreeMap<u32, Place>,
    /// Everything of which something is stored: partition, coin, quote.
    pub(super) instruments: BTreeSet<(u32, String, String)>,
}

/// Where a partition of a step stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Sequence of the position message, behind the results that belong to it. 0 when there is none.
    pub(super) end: u64,
    /// The last input that these results contain.
    pub(super) input: u64,
}

#[derive(Deserialize)]
struct Position {
    position: u64,
}

impl Cut {
    /// Takes a cut through what is stored now.
    pub(super) async fn take(connection: &Connection) -> anyhow::Result<Self> {
        let mut instruments = BTreeSet::new();
        for stream in [Stream::Stats, Stream::Market] {
            instruments.extend(instruments_of(connection, stream).await?);
        }
        let stats = places(connection, Stream::Stats).await?;
        let market = places(connection, Stream::Market).await?;
        for (partition, place) in &stats {
            let end = market.get(partition).copied().unwrap_or_default().end;
            anyhow::ensure!(
                place.input <= end,
                "STATS was made from MARKET up to sequence {}, but MARKET ends at {end} in partition {partition}: it is \
                 not the MARKET that STATS was made from",
                place.input
            );
        }
        instruments.extend(instruments_of(connection, Stream::Feed).await?);
        Ok(Self { market, stats, instruments })
    }

    /// The last sequence of FEED that MARKET contains, of all partitions.
    pub(super) fn feed_last(&self) -> u64 {
        self.market.values().map(|place| place.input).max().unwrap_or(0)
    }
}

async fn instruments_of(connection: &Connection, stream: Stream) -> anyhow::Result<Vec<(u32, String, String)>> {
    let subjects = history::subjects(connection, stream).await?;
    let stored = subjects.iter().filter_map(|subject| Stored::parse(subject));
    Ok(stored.map(|stored| (stored.partition, stored.coin.to_owned(), stored.quote.to_owned())).collect())
}

/// The positions of a step as the stream's leader knows them.
async fn places(connection: &Connection, stream: Stream) -> anyhow::Result<BTreeMap<u32, Place>> {
    let info = stream_info(connection, stream.name()).await?;
    let partitions = info.partitions().with_context(|| format!("{stream} names no number of partitions"))?;
    let places = (0..partitions).map(async |partition| {
        let Some(stored) = history::last(connection, stream, &subject::position(stream, partition)).await? else {
            return Ok((partition, Place::default()));
        };
        let position: Position = serde_json::from_slice(&stored.payload)
            .with_context(|| format!("cannot read the position of {stream} in partition {partition}"))?;
        anyhow::Ok((partition, Place { end: stored.seq, input: position.position }))
    });
    Ok(try_join_all(places).await?.into_iter().collect())
}
