//! `aggregator audit`: prints the report of the crate `audit`, and fails when it is not clean.

use audit::{AuditReport, EventTimeBounds};
use bus::Connection;
use market::windowing::EventTimePolicy;
use service::{Code, Coded};
use step::EventTimeArgs;

use crate::output;

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

/// Audits everything, prints what was found, and fails when something is not as it must be.
pub(crate) async fn run(connection: &Connection, args: &AuditArgs) -> anyhow::Result<()> {
    let EventTimePolicy { disorder, lateness } = args.event_time.into();
    let report = audit::audit(connection, EventTimeBounds { disorder_ms: disorder.ms(), lateness_ms: lateness.ms() }).await?;
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
