//! `aggregator audit`: prints the report of crate `audit`, and fails when rows differ.

use audit::{AuditReport, EventTimeBounds};
use bus::Connection;
use market::windowing::EventTimePolicy;
use service::{Code, Coded};
use step::EventTimeArgs;

use crate::output;

/// Text of `aggregator audit --help`.
pub(crate) const LONG_ABOUT: &str = "\
Recomputes every candle of MARKET and STATS and every row of the profile from FEED, in another way and with none of the \
steps' code; judges again which ticks are accepted, late or refused; and compares row by row.

While the pipeline runs, it audits a consistent cut: each partition up to its newest position, and FEED up to the input \
of that position. Windows that were still open then are not expected.

Rows that the streams no longer determine are counted as not checkable. When FEED has lost its beginning to its limits, \
these are all rows with an event time up to the first retained tick + 1 minute + allowed lateness + disorder bound, and \
the hour-of-day profile; likewise for STATS when a part of MARKET was lost and the loss accepted. When the oldest \
results of MARKET or STATS were trimmed, these are the removed rows.

Messages are kept in a compressed temporary file, so that memory holds one instrument at a time. It is in /tmp or in the \
folder of TMPDIR, and disappears when the audit ends, however it ends.

Exit code 1 when a row is different, missing or extra. --disorder and --lateness must equal those of the steps.";

/// Flags of `audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditArgs {
    /// Event-time settings of the steps.
    #[command(flatten)]
    pub event_time: EventTimeArgs,
    /// Output format of the report
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
}

/// Output format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// For people
    Table,
    /// One object, for machines
    Json,
}

/// Audits everything, prints the report, and fails when a row is different, missing or extra.
pub(crate) async fn run(connection: &Connection, args: &AuditArgs) -> anyhow::Result<()> {
    let EventTimePolicy { disorder, lateness } = args.event_time.into();
    let report =
        audit::audit(connection, EventTimeBounds { disorder_ms: disorder.ms(), lateness_ms: lateness.ms() }).await?;
    match args.format {
        ReportFormat::Table => output::line(&report.to_string())?,
        ReportFormat::Json => output::json_lines(std::slice::from_ref(&report))?,
    }
    if report.is_clean() {
        return Ok(());
    }
    let AuditReport { different, missing, extra, .. } = report;
    let error = anyhow::anyhow!("not as FEED says: {different} different, {missing} missing, {extra} extra");
    Err(Coded::new(Code::Failed, error).into())
}
