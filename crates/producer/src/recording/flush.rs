//! The end of a recording: one heartbeat an instrument that closes the windows of its last ticks.

use std::time::SystemTime;

use bus::publish::FeedMessage;
use bus::{Error, codec};
use futures::{StreamExt, TryStreamExt};
use market::heartbeat::HeartbeatLine;
use market::{EventTime, Instrument};
use store::recording::SOURCE;

use super::older::Standing;
use super::pack::Packer;
use super::replay::Acked;
use crate::clock::now_ms;
use crate::feed::{ASKED_MAX, Feed};
use crate::lanes::{Lanes, Stored};
use crate::message::Origin;
use crate::metrics::ProducerMetrics;

/// Ends each instrument whose recording FEED now ends with: closes the windows that hold its last ticks.
pub(crate) async fn flush(
    feed: &impl Feed,
    packers: &[Packer],
    standings: &[Option<Standing>],
    acked: &mut [Acked],
    metrics: &ProducerMetrics,
) -> Result<(), Error> {
    let ends: Vec<End> = (0..packers.len())
        .filter_map(|lane| end(lane, &packers[lane], standings[lane].as_ref(), acked[lane]))
        .collect();
    let is_wanted = async |end: &End| {
        if !end.may_be_flushed {
            return Ok(true);
        }
        let flushed = feed.last_flush(packers[end.lane].instrument()).await?;
        Ok::<_, Error>(flushed.is_none_or(|flush| flush.event != end.event || flush.seq < end.after_seq))
    };
    let wanted: Vec<bool> = futures::stream::iter(&ends).map(is_wanted).buffered(ASKED_MAX).try_collect().await?;
    let mut lanes = Lanes::new(feed, packers.len(), metrics);
    for (end, _) in ends.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        while !lanes.is_free(end.lane) {
            let stored: Stored<()> = lanes.next().await?;
            acked[stored.lane].flushes += 1;
        }
        lanes.launch(end.lane, vec![flush_message(packers[end.lane].instrument(), end)], ());
    }
    while !lanes.is_idle() {
        acked[lanes.next().await?.lane].flushes += 1;
    }
    Ok(())
}

/// Where an instrument ends in FEED.
struct End {
    lane: usize,
    event: EventTime,
    /// Sequence of its last ticks.
    after_seq: u64,
    /// Whether a replay before this one may have flushed it.
    may_be_flushed: bool,
}

/// The end of an instrument, unless its recording ends nothing: without a row that counts, cut, or with FEED going on
/// after it.
fn end(lane: usize, packer: &Packer, standing: Option<&Standing>, acked: Acked) -> Option<End> {
    let (_, recorded) = packer.tally.range.filter(|_| packer.track().cut().is_none())?;
    let last = standing.map(|standing| standing.last);
    if acked.ticks > 0 {
        // Rows that are older than what FEED has do not change what its last tick is.
        let event = last.map_or(recorded, |last| last.event.max(recorded));
        return Some(End { lane, event, after_seq: acked.last_seq, may_be_flushed: false });
    }
    let last = last.filter(|last| last.event == recorded)?;
    Some(End { lane, event: recorded, after_seq: last.seq, may_be_flushed: true })
}

fn flush_message(instrument: &Instrument, end: &End) -> FeedMessage {
    let line = HeartbeatLine {
        coin: instrument.coin().into(),
        quote: instrument.quote().into(),
        event_ms: end.event.ms(),
        ingest_ms: now_ms(SystemTime::now()),
        flush: true,
    };
    Origin { source: SOURCE, instrument }.flush(end.event, end.after_seq, codec::single(&line))
}
