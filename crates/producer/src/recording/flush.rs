//! The end of a recording: one heartbeat an instrument that closes the windows of its last ticks.

use std::time::SystemTime;

use bus::publish::FeedMessage;
use bus::{Error, codec};
use futures::{StreamExt, TryStreamExt};
use market::heartbeat::HeartbeatLine;
use market::{EventTime, Instrument};
use store::recording::SOURCE;

use super::ledger::{Ledger, Note};
use super::pack::Packer;
use super::resume::Standing;
use crate::batch_publisher::Lanes;
use crate::clock::now_ms;
use crate::feed::{ASKED_MAX, Feed, LastTick};
use crate::message::Origin;
use crate::metrics::ProducerMetrics;

/// The flush behind the last ticks of a recording, which are the message of this id.
pub(crate) fn behind(
    instrument: &Instrument,
    standing: Option<&Standing>,
    recorded: EventTime,
    ticks: &str,
) -> FeedMessage {
    // Rows that are older than what FEED has do not change what its last tick is.
    let event = standing.map_or(recorded, |standing| standing.last.event.max(recorded));
    message(instrument, event, ticks)
}

/// Flushes the recordings that FEED has had to their last tick all along, unless it has their flushes too.
pub(crate) async fn flush_rest(
    feed: &impl Feed,
    packers: &[Packer],
    standings: &[Option<Standing>],
    ledger: &mut Ledger,
    metrics: &ProducerMetrics,
) -> Result<(), Error> {
    let ends = packers.iter().zip(standings).zip(&ledger.acked).enumerate();
    let ends: Vec<(usize, &LastTick)> = ends
        .filter(|(_, (_, acked))| acked.ticks == 0)
        .filter_map(|(lane, ((packer, standing), _))| {
            let last = &standing.as_ref()?.last;
            (packer.end() == Some(last.event)).then_some((lane, last))
        })
        .collect();
    let is_wanted = async |&(lane, last): &(usize, &LastTick)| {
        let flushed = feed.last_flush(packers[lane].instrument()).await?;
        Ok::<_, Error>(flushed.is_none_or(|flush| flush.event != last.event || flush.seq < last.seq))
    };
    let wanted: Vec<bool> = futures::stream::iter(&ends).map(is_wanted).buffered(ASKED_MAX).try_collect().await?;
    let mut lanes = Lanes::new(feed, packers.len(), metrics);
    for (&(lane, last), _) in ends.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        while !lanes.is_free(lane) {
            ledger.add(&lanes.next().await?);
        }
        let ticks = last.id.clone().unwrap_or_else(|| last.seq.to_string());
        lanes.launch(
            lane,
            vec![message(packers[lane].instrument(), last.event, &ticks)],
            Note { flushes: 1, ..Note::default() },
        );
    }
    while !lanes.is_idle() {
        ledger.add(&lanes.next().await?);
    }
    Ok(())
}

fn message(instrument: &Instrument, event: EventTime, after: &str) -> FeedMessage {
    let line = HeartbeatLine {
        coin: instrument.coin().into(),
        quote: instrument.quote().into(),
        event_ms: event.ms(),
        complete_ms: None,
        ingest_ms: now_ms(SystemTime::now()),
        flush: true,
    };
    Origin { source: SOURCE, instrument }.flush(event, after, codec::single(&line))
}
