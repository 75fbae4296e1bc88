//! The publishing half of a replay: packed rows go into FEED, each instrument's last ones with its flush.

use std::time::Duration;

use bus::Error;
use bus::publish::FeedMessage;
use service::Shutdown;
use tokio::sync::mpsc;

use super::flush;
use super::pack::PackedRows;
use super::progress::{Contents, ReplayProgress};
use super::resume::FeedTail;
use crate::batch_publisher::BatchPublisher;
use crate::feed::Feed;
use crate::metrics::ProducerMetrics;

/// Time that a stopping replay waits for messages in flight, at most.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Publishes packed rows as they come, until there are no more or shutdown is requested. Returns whether all were
/// stored.
///
/// With `tails`, an instrument's last message and its flush are published together, so that the steps receive the flush
/// while the windows that it closes are in memory. Without `tails` there is no flush.
///
/// # Errors
/// The publish failed for good.
pub(crate) async fn publish(
    feed: &impl Feed,
    mut packed: mpsc::Receiver<PackedRows>,
    tails: Option<&[Option<FeedTail>]>,
    progress: &mut ReplayProgress,
    metrics: &ProducerMetrics,
    shutdown: &Shutdown,
) -> Result<bool, Error> {
    let mut publisher = BatchPublisher::new(feed, progress.confirmed.len(), metrics);
    let mut held: Option<PackedRows> = None;
    let mut is_open = true;
    while is_open || held.is_some() || !publisher.is_idle() {
        tokio::select! {
            stored = publisher.next_stored() => progress.add(&stored?),
            next = packed.recv(), if held.is_none() && is_open => {
                is_open = next.is_some();
                held = next;
            }
            () = shutdown.requested() => {
                drain(&mut publisher, progress).await?;
                return Ok(false);
            }
        }
        if let Some(rows) = held.take_if(|_| publisher.has_room()) {
            let flush = tails.and_then(|tails| flush_behind(&rows, tails));
            let PackedRows { instrument_idx, mut messages, ticks, gaps, rows, .. } = rows;
            let flushes = u64::from(flush.is_some());
            messages.extend(flush);
            publisher.submit(instrument_idx, messages, Contents { ticks, gaps, flushes, rows });
        }
    }
    Ok(true)
}

/// The flush after an instrument's last rows.
fn flush_behind(
    PackedRows { instrument_idx, messages, end, .. }: &PackedRows,
    tails: &[Option<FeedTail>],
) -> Option<FeedMessage> {
    let (end, last) = ((*end)?, messages.last()?);
    Some(flush::behind(&last.instrument, tails[*instrument_idx].as_ref(), end, &last.id))
}

/// Waits for messages in flight, at most [`DRAIN_MAX`]. The next start asks FEED whether it has the others.
async fn drain<F: Feed>(
    publisher: &mut BatchPublisher<'_, F, Contents>,
    progress: &mut ReplayProgress,
) -> Result<(), Error> {
    let deadline = tokio::time::Instant::now() + DRAIN_MAX;
    while !publisher.is_idle() {
        let Ok(stored) = tokio::time::timeout_at(deadline, publisher.next_stored()).await else { break };
        progress.add(&stored?);
    }
    Ok(())
}
