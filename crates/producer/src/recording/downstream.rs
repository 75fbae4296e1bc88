//! What became of a replay downstream: waits until the stream-processor has read what was published, and counts what it made
//! of exactly these messages, by the results on MARKET that name them.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::connect::patiently;
use bus::error::Disposition;
use bus::outcome::{Committed, committed, each_line};
use bus::protocol::LogId;
use bus::topology::{MARKET_STEP, stream_info};
use bus::{Connection, Error, RecordKind, Stream, subject};
use market::Instrument;
use market::validate::{Reason, RejectedLine};
use serde::{Deserialize, Serialize};
use service::Shutdown;

use super::downstream_rejects::DownstreamRejects;
use super::published::PublishedMessages;

/// How often the positions are read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const RETRY_DELAY: Duration = Duration::from_millis(500);
const STOPPED: &str = "stopped before the stream-processor had read all of it";

/// What the stream-processor made of the ticks of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    /// Ticks that count.
    pub(crate) accepted: u64,
    /// Ticks that MARKET had already.
    pub(crate) duplicates: u64,
    /// Ticks beyond the allowed lateness.
    pub(crate) late: u64,
    /// Refused ticks by reason.
    pub(crate) rejected: BTreeMap<Reason, u64>,
    /// Refused gap records and flushes by reason.
    pub(crate) rejected_others: BTreeMap<Reason, u64>,
}

/// What is known of a replay downstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Downstream {
    /// Nobody asked, or this replay published nothing.
    #[default]
    Unasked,
    /// All of it was read and counted.
    Checked(Outcome),
    /// It is not known, for this reason.
    Unchecked(String),
}

/// Follows what one replay publishes.
#[derive(Debug)]
pub(crate) struct DownstreamWatch {
    wait: Duration,
    /// Where the streams ended before it, or why that is not known.
    before: Result<StreamEnds, String>,
}

/// Where the streams end.
#[derive(Debug, Clone)]
struct StreamEnds {
    /// FEED's last sequence.
    feed: u64,
    /// Which log FEED is.
    log: LogId,
    partitions: u32,
    /// MARKET's last sequence.
    market: u64,
}

impl DownstreamWatch {
    /// Looks where the streams end, before anything is published. `wait` is for the stream-processor, later: zero follows
    /// nothing.
    pub(crate) async fn begin(connection: &Connection, wait: Duration, shutdown: &Shutdown) -> Self {
        if wait.is_zero() {
            return Self { wait, before: Err("--downstream-wait is 0".to_owned()) };
        }
        let before = tokio::select! {
            ends = tokio::time::timeout(wait, ends(connection)) => match ends {
                Ok(ends) => ends.map_err(|error| error.to_string()),
                Err(_) => Err("FEED and MARKET did not say where they end before the replay".to_owned()),
            },
            () = shutdown.requested() => Err(STOPPED.to_owned()),
        };
        Self { wait, before }
    }

    /// FEED's last sequence before the replay, as far as it is known.
    pub(crate) fn feed_end(&self) -> u64 {
        self.before.as_ref().map_or(0, |ends| ends.feed)
    }

    /// Waits for the stream-processor to read what was sent, then counts what it made of it, each within the time that was
    /// given. `instruments` are those of the replay, in order; `keep` takes what was refused.
    pub(crate) async fn check(
        &self,
        connection: &Connection,
        sent: &PublishedMessages,
        instruments: &[&Instrument],
        keep: &mut DownstreamRejects<'_>,
        shutdown: &Shutdown,
    ) -> Downstream {
        if self.wait.is_zero() || sent.is_empty() {
            return Downstream::Unasked;
        }
        let checked = async {
            let ends = self.before.as_ref().map_err(String::clone)?;
            let market_end = self.reach(connection, ends, sent, instruments).await?;
            let counting = count(connection, (ends.market, market_end), sent, keep);
            match tokio::time::timeout(self.wait, counting).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("the results on MARKET could not be read within {}", self.allowed())),
            }
        };
        let checked = tokio::select! {
            checked = checked => checked,
            () = shutdown.requested() => Err(STOPPED.to_owned()),
        };
        checked.map_or_else(Downstream::Unchecked, Downstream::Checked)
    }

    /// Returns the sequence of MARKET before which all results are, once they are there.
    async fn reach(
        &self,
        connection: &Connection,
        ends: &StreamEnds,
        sent: &PublishedMessages,
        instruments: &[&Instrument],
    ) -> Result<u64, String> {
        if sent.is_incomplete {
            return Err("the replay published more messages than can be followed".to_owned());
        }
        let mut reading = StepReading::of(sent, instruments, ends.partitions);
        match tokio::time::timeout(self.wait, reading.wait(connection, &ends.log)).await {
            Ok(Ok(())) if reading.lost_to > sent.begin() => {
                Err("FEED lost some of it before the stream-processor read it".to_owned())
            }
            Ok(Ok(())) => Ok(reading.market_end),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let (end, through) = reading.behind.values().next().copied().unwrap_or_default();
                let at = if through == 0 { String::new() } else { format!(", only to {through}") };
                Err(format!("no stream-processor has read up to FEED sequence {end} within {}{at}", self.allowed()))
            }
        }
    }

    /// The time that is given, and how to give more.
    fn allowed(&self) -> String {
        format!("{} (--downstream-wait)", humantime::format_duration(self.wait))
    }
}

async fn ends(connection: &Connection) -> Result<StreamEnds, Error> {
    let feed = patiently(RETRY_DELAY, || stream_info(connection, Stream::Feed.name())).await?;
    let market = patiently(RETRY_DELAY, || stream_info(connection, Stream::Market.name())).await?;
    let partitions = feed.partitions().unwrap_or(1);
    Ok(StreamEnds { feed: feed.state.last_seq, log: feed.log()?, partitions, market: market.state.last_seq })
}

/// How far the stream-processor is with what was sent.
#[derive(Debug, Default)]
struct StepReading {
    /// Partitions that are not read to their end: what the end is, and how far they are.
    behind: BTreeMap<u32, (u64, u64)>,
    lost_to: u64,
    /// All results are before this sequence of MARKET.
    market_end: u64,
}

impl StepReading {
    fn of(sent: &PublishedMessages, instruments: &[&Instrument], partitions: u32) -> Self {
        let mut reading = Self::default();
        for (instrument_idx, seq) in sent.positions() {
            let instrument = instruments[instrument_idx];
            let partition = subject::partition(instrument.coin(), instrument.quote(), partitions);
            let (end, _) = reading.behind.entry(partition).or_default();
            *end = seq.max(*end);
        }
        reading
    }

    /// Returns when each partition has committed the last message. Outages are waited for.
    async fn wait(&mut self, connection: &Connection, log: &LogId) -> Result<(), Error> {
        while let Some((&partition, &(end, _))) = self.behind.first_key_value() {
            match committed(connection, MARKET_STEP, partition, log).await {
                Ok(Some(Committed { through, lost_to, seq })) if through >= end => {
                    self.behind.remove(&partition);
                    self.lost_to = self.lost_to.max(lost_to);
                    self.market_end = self.market_end.max(seq);
                    continue;
                }
                Ok(position) => {
                    let through = position.map_or(0, |position| position.through);
                    self.behind.insert(partition, (end, through));
                }
                Err(error) if error.disposition() == Disposition::Stop => return Err(error),
                Err(error) => tracing::debug!(%error, partition, "the position is not known"),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// The part of a price and of a late tick that names its message.
#[derive(Deserialize)]
struct FeedRef {
    feed_seq: u64,
}

/// Counts the results between two sequences of MARKET that name what was sent.
async fn count(
    connection: &Connection,
    range: (u64, u64),
    sent: &PublishedMessages,
    keep: &mut DownstreamRejects<'_>,
) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    for (kind, counter) in [(RecordKind::Price, &mut outcome.accepted), (RecordKind::Late, &mut outcome.late)] {
        each_line(connection, Stream::Market, kind, range, |line| {
            let brought = serde_json::from_slice::<FeedRef>(line).ok();
            *counter += u64::from(brought.is_some_and(|brought| sent.ticks_of(brought.feed_seq).is_some()));
        })
        .await
        .map_err(|error| error.to_string())?;
    }
    each_line(connection, Stream::Market, RecordKind::Rejected, range, |line| {
        let Ok(refused) = serde_json::from_slice::<RejectedLine>(line) else { return };
        let Some(ticks) = sent.ticks_of(refused.feed_seq) else { return };
        let (of, count) = match (ticks, refused.reason.is_of_message()) {
            (0, _) => (&mut outcome.rejected_others, 1),
            (ticks, true) => (&mut outcome.rejected, u64::from(ticks)),
            (_, false) => (&mut outcome.rejected, 1),
        };
        *of.entry(refused.reason).or_default() += count;
        keep.keep(&refused, sent);
    })
    .await
    .map_err(|error| error.to_string())?;
    let counted = outcome.accepted + outcome.late + outcome.rejected.values().sum::<u64>();
    let duplicates = sent.ticks().checked_sub(counted);
    outcome.duplicates =
        duplicates.ok_or("MARKET has more results of it than it had ticks; `aggregator audit` says which")?;
    Ok(outcome)
}
