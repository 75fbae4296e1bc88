//! The flush at the end of a recording: one heartbeat per instrument that closes the windows of its last ticks.

use std::time::SystemTime;

use bus::publish::FeedMessage;
use bus::{Error, codec};
use futures::{StreamExt, TryStreamExt};
use market::heartbeat::HeartbeatLine;
use market::{EventTime, Instrument};
use store::recording::SOURCE;

use super::pack::Packer;
use super::progress::{Contents, ReplayProgress};
use super::resume::FeedTail;
use crate::batch_publisher::BatchPublisher;
use crate::clock::now_ms;
use crate::feed::{ASKED_MAX, Feed, LastTick};
use crate::message::Origin;
use crate::metrics::ProducerMetrics;

/// Returns the flush after the last ticks of a recording. `ticks` is the id of their message.
pub(crate) fn behind(
    instrument: &Instrument,
    tail: Option<&FeedTail>,
    recorded: EventTime,
    ticks: &str,
) -> FeedMessage {
    // Rows that are older than FEED's last tick do not change that tick.
    let event = tail.map_or(recorded, |tail| tail.last.event.max(recorded));
    message(instrument, event, ticks)
}

/// Publishes the flush of each recording of which FEED already had all ticks, unless FEED has the flush too.
pub(crate) async fn flush_rest(
    feed: &impl Feed,
    packers: &[Packer],
    tails: &[Option<FeedTail>],
    progress: &mut ReplayProgress,
    metrics: &ProducerMetrics,
) -> Result<(), Error> {
    let ends = packers.iter().zip(tails).zip(&progress.confirmed).enumerate();
    let ends: Vec<(usize, &LastTick)> = ends
        .filter(|(_, (_, confirmed))| confirmed.ticks == 0)
        .filter_map(|(instrument_idx, ((packer, tail), _))| {
            let last = &tail.as_ref()?.last;
            (packer.end() == Some(last.event)).then_some((instrument_idx, last))
        })
        .collect();
    let is_wanted = async |&(instrument_idx, last): &(usize, &LastTick)| {
        let flushed = feed.last_flush(packers[instrument_idx].instrument()).await?;
        Ok::<_, Error>(flushed.is_none_or(|flush| flush.event != last.event || flush.seq < last.seq))
    };
    let wanted: Vec<bool> = futures::stream::iter(&ends).map(is_wanted).buffered(ASKED_MAX).try_collect().await?;
    let mut publisher = BatchPublisher::new(feed, packers.len(), metrics);
    for (&(instrument_idx, last), _) in ends.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        while !publisher.is_free(instrument_idx) {
            progress.add(&publisher.next_stored().await?);
        }
        let ticks = last.id.clone().unwrap_or_else(|| last.seq.to_string());
        publisher.submit(
            instrument_idx,
            vec![message(packers[instrument_idx].instrument(), last.event, &ticks)],
            Contents { flushes: 1, ..Contents::default() },
        );
    }
    while !publisher.is_idle() {
        progress.add(&publisher.next_stored().await?);
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
