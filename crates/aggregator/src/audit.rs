//! Everything computed again from FEED, and compared with what MARKET and STATS hold.
//!
//! The second computation shares no code with the steps: it has its own rules of what is valid, in time and new (`feed`,
//! `judge`), computes each window at once from all of its ticks (`windows`) with its own exact sums (`sum`), and knows
//! from the whole record when a window was issued. It reads each stream once (`reading`), puts the messages aside by instrument
//! (`spill`), and checks one instrument after the other (`ledger`).

mod compare;
mod cut;
mod feed;
mod horizon;
mod judge;
mod ledger;
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
use market::windowing::Settings;
use serde::Deserialize;
use service::{Code, Coded};
use step::EventTimeArgs;

use crate::output;
use cut::{Cut, Instrument};
use reading::Messages;

pub use ledger::{Contained, Ledger, Left};
pub use message::Message;
pub use report::{Counts, Difference, KindCounts, Outcome, Report};

/// What `aggregator audit --help` says.
pub(crate) const LONG_ABOUT: &str = "\
Computes every candle of MARKET and STATS and every row of the profile again from FEED, in another way and with none of \
the steps' code, judges again which ticks count, are late or are refused, and compares row by row.

While the pipeline runs it audits one instant: of each partition what is stored up to its newest position, and of FEED \
what that position says was read. Windows that were still open then are not expected.

What the streams no longer tell is counted as not checkable. When FEED has lost its beginning to its limits: every row \
stamped no later than the first tick that is left + 1 minute + allowed lateness + disorder bound, and the hour-of-day \
profile; likewise for STATS when a part of MARKET was lost and accepted. When the oldest results of MARKET or STATS were \
trimmed away: those that are gone.

What is read is put aside in a temporary file, compressed, so that memory holds one instrument at a time: in /tmp, or in \
the folder that TMPDIR names. It is gone when the audit ends, however it ends.

Exit code 1 when a row is different, missing or extra. --disorder and --lateness must be those that the steps run with.";

/// Flags of `audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditArgs {
    /// How the steps judge event time.
    #[command(flatten)]
    pub event_time: EventTimeArgs,
    /// How to print what was found
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// For people
    Table,
    /// One object, for machines
    Json,
}

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

/// Audits everything, prints what was found, and fails when something is not as it must be.
pub(crate) async fn audit(connection: &Connection, args: &AuditArgs) -> anyhow::Result<()> {
    let Settings { disorder, lateness } = args.event_time.into();
    let bounds = Bounds { disorder_ms: disorder.ms(), lateness_ms: lateness.ms() };
    let report = audited(connection, bounds).await?;
    match args.format {
        ReportFormat::Table => output::report(&report)?,
        ReportFormat::Json => output::json_lines(std::slice::from_ref(&report))?,
    }
    if report.is_clean() {
        return Ok(());
    }
    let Report { different, missing, extra, .. } = report;
    let error = anyhow::anyhow!("not as FEED says: {different} different, {missing} missing, {extra} extra");
    Err(Coded::new(Code::Failed, error).into())
}

async fn audited(connection: &Connection, bounds: Bounds) -> anyhow::Result<Report> {
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
