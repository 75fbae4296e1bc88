//! Independent recomputation: derives every row of MARKET and STATS from FEED again and compares.
//!
//! The recomputation shares no code with the steps, and this crate never depends on `step`. It has its own rules for
//! valid, late and duplicate records (`feed`, `judge`), computes each window at once from all of its ticks (`windows`)
//! with its own exact sums (`sum`), and derives from the whole log when a window was issued. It takes a consistent cut
//! (`cut`), reads each stream once (`reading`), spills the messages to disk by instrument (`spill`), and checks one
//! instrument after the other (`instrument`).
//!
//! It writes to no stream. Start reading at [`audit`](fn@audit).

#![warn(missing_docs)]

mod bounds;
mod checkable_range;
mod compare;
mod cut;
mod feed;
mod instrument;
mod judge;
mod message;
mod names;
mod reading;
mod report;
mod rows;
mod spill;
mod stored;
mod sum;
mod union;
mod windows;

use std::time::Duration;

use bus::Connection;
use cut::{Cut, InstrumentKey};
use reading::Messages;

pub use bounds::EventTimeBounds;
pub use instrument::{ConsumedMarket, InstrumentAudit, Retained};
pub use message::AuditedMessage;
pub use report::{AuditReport, ComparisonCounts, KindComparison, Mismatch, RowDifference};

/// Most reads of an instrument that shows differences on a cluster. A replica may lag behind its leader, and the rows
/// that it lacks look like missing rows.
const READS_MAX: u32 = 5;
/// Time for a replica to catch up between two reads.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Recomputes everything from FEED at one consistent cut, and compares it with MARKET and STATS.
///
/// # Errors
/// The server does not answer, no cut can be taken, or the temporary file cannot be written.
pub async fn audit(connection: &Connection, bounds: EventTimeBounds) -> anyhow::Result<AuditReport> {
    let cut = Cut::take(connection, bounds).await?;
    let messages = Messages::read(connection, &cut, &cut.instruments).await?;
    let feed_first = messages.retained.feed_first;
    let mut report =
        AuditReport { feed_first, feed_last: cut.feed_last(), feed_end: cut.feed_end, ..AuditReport::default() };
    for audits in messages.audits() {
        for (instrument, audit) in audits? {
            let mut found = audit.check(messages.retained, bounds);
            let mut reads = 1;
            while !found.is_clean() && cut.is_replicated && reads < READS_MAX {
                tokio::time::sleep(RETRY_DELAY).await;
                found = checked_alone(connection, &cut, instrument, bounds).await?;
                reads += 1;
            }
            report.add(found);
        }
    }
    Ok(report)
}

/// Reads and checks one instrument alone.
async fn checked_alone(
    connection: &Connection,
    cut: &Cut,
    instrument: &InstrumentKey,
    bounds: EventTimeBounds,
) -> anyhow::Result<AuditReport> {
    let messages = Messages::read(connection, cut, std::slice::from_ref(instrument)).await?;
    let mut report = AuditReport::default();
    for audits in messages.audits() {
        audits?.into_iter().for_each(|(_, audit)| report.add(audit.check(messages.retained, bounds)));
    }
    Ok(report)
}
