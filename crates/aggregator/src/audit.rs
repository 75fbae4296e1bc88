//! Everything computed again from FEED, and compared with what MARKET and STATS hold.
//!
//! The second computation shares no code with the steps: it has its own rules of what is valid, in time and new
//! ([`feed`], [`judge`]), computes each window at once from all of its ticks ([`windows`]) with its own exact sums
//! ([`sum`]), and knows from the whole record when a window was issued. It reads one instrument after the other.

mod compare;
mod cut;
mod feed;
mod horizon;
mod judge;
mod ledger;
mod report;
mod rows;
mod stored;
mod sum;
mod windows;

use std::fmt;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_BATCH_ID;
use bus::reader::{Delivery, Selection, read_to_end};
use bus::subject;
use bus::task::EventTimeArgs;
use bus::topology::{STATS_WINDOWS, Stream, stream_info};
use bus::{Connection, Error, Kind, history};
use market::windowing::Settings;
use service::{Code, Coded};

use crate::output;
use cut::Cut;

pub use ledger::{Contained, Ledger, Left};
pub use report::{Counts, Difference, KindCounts, Outcome, Report};

/// What `aggregator audit --help` says.
pub(crate) const LONG_ABOUT: &str = "\
Computes every candle of MARKET and STATS and every row of the profile again from FEED, in another way and with none of \
the steps' code, judges again which ticks count, are late or are refused, and compares row by row.

While the pipeline runs it audits one instant: of each partition what is stored up to its newest position, and of FEED \
what that position says was read. Windows that were still open then are not expected.

What the streams no longer tell is counted as not checkable. When FEED has lost its beginning to its limits: every row \
stamped no later than the first tick that is left + 1 minute + allowed lateness + disorder bound, and the hour-of-day \
profile. When the oldest results of MARKET or STATS were trimmed away: those that are gone.

What was lost and accepted with --accept-loss: likewise.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

const FEED_KINDS: [Kind; 3] = [Kind::Tick, Kind::Heartbeat, Kind::Gap];
const MARKET_KINDS: [Kind; 6] = [Kind::Price, Kind::Late, Kind::Rejected, Kind::Heartbeat, Kind::Gap, Kind::Candle];

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
    let mut report = Report { feed_last: cut.feed_last(), feed_end: cut.feed_end, ..Report::default() };
    let mut beginnings = Beginnings::now(connection).await?;
    for (partition, coin, quote) in &cut.instruments {
        let mut reads = 1;
        let (left, found) = loop {
            let (ledger, left) = read(connection, &cut, *partition, Names { coin, quote }, &mut beginnings).await?;
            let found = ledger.check(left, bounds);
            if found.is_clean() || !cut.is_replicated || reads == READS_MAX {
                break (left, found);
            }
            reads += 1;
            tokio::time::sleep(AGAIN).await;
        };
        report.feed_first = left.feed_first;
        report.add(found);
    }
    Ok(report)
}

/// Reads all of an instrument that belongs to the cut. Once more when a stream lost its beginning meanwhile: only then is
/// what was read all that there is.
async fn read<'a>(
    connection: &Connection,
    cut: &Cut,
    partition: u32,
    names: Names<'a>,
    beginnings: &mut Beginnings,
) -> anyhow::Result<(Ledger<'a>, Left)> {
    let market = cut.market.get(&partition).copied().unwrap_or_default();
    let stats = cut.stats.get(&partition).copied().unwrap_or_default();
    let reading = Reading { connection, partition, names };
    loop {
        let mut ledger = Ledger::new(names.coin, names.quote, Contained { to: stats.input, lost_to: stats.lost_to });
        reading.each(Stream::Feed, &FEED_KINDS, market.input, |kind, message| ledger.add_feed(kind, message)).await?;
        let whole = |beginning: &Beginning, message: &Delivery| !beginning.is_batch_of(message);
        let market_kinds =
            |kind, message: &Delivery| ledger.add_market(kind, message, whole(&beginnings.market, message));
        reading.each(Stream::Market, &MARKET_KINDS, market.end, market_kinds).await?;
        let stats_kinds: Vec<Kind> = STATS_WINDOWS.map(Kind::Stats).into_iter().chain([Kind::HourOfDay]).collect();
        let add = |kind, message: &Delivery| ledger.add_stats(kind, message, whole(&beginnings.stats, message));
        reading.each(Stream::Stats, &stats_kinds, stats.end, add).await?;
        let before = std::mem::replace(beginnings, Beginnings::now(connection).await?);
        if (&before.market, &before.stats) == (&beginnings.market, &beginnings.stats) {
            let left = Left {
                feed_first: beginnings.feed_first,
                is_market_trimmed: before.market.is_trimmed(),
                is_stats_trimmed: before.stats.is_trimmed(),
            };
            return Ok((ledger, left));
        }
    }
}

/// The messages of one instrument.
struct Reading<'a> {
    connection: &'a Connection,
    partition: u32,
    names: Names<'a>,
}

impl Reading<'_> {
    /// Visits the messages of these kinds up to a sequence, in stream order.
    async fn each(
        &self,
        stream: Stream,
        kinds: &[Kind],
        last: u64,
        mut visit: impl FnMut(Kind, &Delivery),
    ) -> Result<(), Error> {
        let Self { connection, partition, names } = self;
        let subject = |kind| subject::stored(stream, *partition, kind, names.coin, names.quote);
        let subjects: Vec<String> = kinds.iter().map(|&kind| subject(kind)).collect();
        let selection = Selection { stream, filters: subjects.clone(), from: 1 };
        let reading = read_to_end(connection, selection, |delivery| {
            let kind = subjects.iter().position(|subject| *subject == *delivery.subject);
            if let Some(kind) = kind.filter(|_| delivery.seq <= last) {
                visit(kinds[kind], &delivery);
            }
            Ok::<_, Error>(())
        });
        reading.await.map(drop)
    }
}

/// Where the streams begin.
#[derive(Debug)]
struct Beginnings {
    feed_first: u64,
    market: Beginning,
    stats: Beginning,
}

/// The first result that a stream still has: its sequence, and the batch that it was committed in.
#[derive(Debug, PartialEq, Eq)]
struct Beginning {
    seq: u64,
    batch: Option<String>,
    /// The very first commit began with a result at this sequence.
    origin: u64,
}

impl Beginnings {
    async fn now(connection: &Connection) -> Result<Self, Error> {
        let market = Beginning::of(connection, Stream::Market).await?;
        let stats = Beginning::of(connection, Stream::Stats).await?;
        Ok(Self { feed_first: stream_info(connection, Stream::Feed.name()).await?.state.first_seq, market, stats })
    }
}

impl Beginning {
    async fn of(connection: &Connection, stream: Stream) -> Result<Self, Error> {
        let info = stream_info(connection, stream.name()).await?;
        let first = history::first(connection, stream, &subject::all(stream)).await?;
        let seq = first.as_ref().map_or(info.begins(), |first| first.seq);
        let batch = first.and_then(|first| batch_of(Some(&first.headers)));
        Ok(Self { seq, batch, origin: info.origin() })
    }

    fn is_trimmed(&self) -> bool {
        self.seq > self.origin
    }

    /// Whether a message was committed together with the first one that is left, and maybe with others that are not.
    fn is_batch_of(&self, message: &Delivery) -> bool {
        self.is_trimmed() && self.batch == batch_of(message.headers.as_ref())
    }
}

fn batch_of(headers: Option<&HeaderMap>) -> Option<String> {
    Some(headers?.get(NATS_BATCH_ID)?.as_str().to_owned())
}

impl Names<'_> {
    fn are(&self, coin: &str, quote: &str) -> bool {
        self.coin == coin && self.quote == quote
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.coin, self.quote)
    }
}
