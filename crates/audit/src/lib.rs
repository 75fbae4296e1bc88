//! Everything computed again from FEED, and compared with what MARKET and STATS hold.
//!
//! The second computation shares no code with the steps, and this crate never depends on `step`: it has its own rules of what is valid, in time and new (`feed`,
//! `judge`), computes each window at once from all of its ticks (`windows`) with its own exact sums (`sum`), and knows
//! from the whole record when a window was issued. It reads each stream once (`reading`), puts the messages aside by instrument
//! (`spill`), and checks one instrument after the other (`ledger`). Start reading at [`audit`](fn@audit).

#![warn(missing_docs)]

mod checkable_range;
mod compare;
mod cut;
mod feed;
mod instrument;
mod judge;
mod message;
mod reading;
mod report;
mod rows;
mod spill;
mod stored;
mod sum;
mod union;
mod windows;

use std::fmt;
use std::time::Duration;

use bus::Connection;
use cut::{Cut, Instrument};
use reading::Messages;
use serde::Deserialize;

pub use instrument::{Contained, Ledger, Left};
pub use message::Message;
pub use report::{Counts, Difference, KindCounts, Outcome, Report};

/// How event time is judged, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Bounds {
    /// How far behind the newest event a tick may arrive without being late.
    pub disorder_ms: i64,
    /// How long after its end a window can still be revised.
    pub lateness_ms: i64,
}

/// The instrument whose rows are read.
#[derive(Debug, Clone, Copy)]
struct Names<'a> {
    coin: &'a str,
    quote: &'a str,
}

/// How often an instrument that does not look right is read on a cluster. A replica may lag behind its leader, and what
/// it lacks looks as if it were missing.
const READS_MAX: u32 = 5;
/// How long a replica gets to catch up.
const AGAIN: Duration = Duration::from_secs(1);

/// Computes everything again from FEED at one consistent cut, and compares it with MARKET and STATS.
///
/// # Errors
/// A server that does not answer, a cut that cannot be taken, or a temporary file that cannot be written.
pub async fn audit(connection: &Connection, bounds: Bounds) -> anyhow::Result<Report> {
    let cut = Cut::take(connection, bounds).await?;
    let messages = Messages::read(connection, &cut, &cut.instruments).await?;
    let feed_first = messages.left.feed_first;
    let mut report = Report { feed_first, feed_last: cut.feed_last(), feed_end: cut.feed_end, ..Report::default() };
    for ledgers in messages.ledgers() {
        for (instrument, ledger) in ledgers? {
            let mut found = ledger.check(messages.left, bounds);
            let mut reads = 1;
            while !found.is_clean() && cut.is_replicated && reads < READS_MAX {
                tokio::time::sleep(AGAIN).await;
                found = checked_alone(connection, &cut, instrument, bounds).await?;
                reads += 1;
            }
            report.add(found);
        }
    }
    Ok(report)
}

/// Reads and checks one instrument by itself.
async fn checked_alone(
    connection: &Connection,
    cut: &Cut,
    instrument: &Instrument,
    bounds: Bounds,
) -> anyhow::Result<Report> {
    let messages = Messages::read(connection, cut, std::slice::from_ref(instrument)).await?;
    let mut report = Report::default();
    for ledgers in messages.ledgers() {
        ledgers?.into_iter().for_each(|(_, ledger)| report.add(ledger.check(messages.left, bounds)));
    }
    Ok(report)
}

impl Names<'_> {
    fn are(&self, coin: &str, quote: &str) -> bool {
        self.coin == coin && self.quote == quote
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disorder={} lateness={}", self.disorder_ms, self.lateness_ms)
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.coin, self.quote)
    }
}
