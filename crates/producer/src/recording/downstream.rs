//! The outcome of a replay downstream: waits until the stream-processor has read the published messages, then counts
//! the results on MARKET that refer to exactly these messages.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::error::Disposition;
use bus::outcome::{CommittedInput, committed, each_line};
use bus::protocol::LogId;
use bus::retry::Backoff;
use bus::stream::MARKET_STEP;
use bus::topology::stream_info;
use bus::{Connection, Error, RecordKind, Stream, subject};
use market::Instrument;
use market::validate::{Reason, RejectedLine};
use serde::{Deserialize, Serialize};
use service::Shutdown;

use super::downstream_rejects::DownstreamRejects;
use super::published::PublishedMessages;

/// Time between two reads of the positions.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const RETRY: Backoff = Backoff::constant(Duration::from_millis(500));
const STOPPED: &str = "stopped before the stream-processor had read all of it";

/// Results of the stream-processor for the ticks of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DownstreamOutcome {
    /// Accepted ticks.
    pub(crate) accepted: u64,
    /// Ticks that MARKET already had.
    pub(crate) duplicates: u64,
    /// Ticks beyond the allowed lateness.
    pub(crate) late: u64,
    /// Rejected ticks by reason.
    pub(crate) rejected: BTreeMap<Reason, u64>,
    /// Rejected gap records and flushes by reason.
    pub(crate) rejected_others: BTreeMap<Reason, u64>,
}

/// Outcome of a replay downstream, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Downstream {
    /// The wait is switched off, or this replay published nothing.
    #[default]
    Unasked,
    /// All messages were read and counted.
    Checked(DownstreamOutcome),
    /// The outcome is not known, for this reason.
    Unchecked(String),
}

/// Follows the messages of one replay.
#[derive(Debug)]
pub(crate) struct DownstreamWatch {
    wait: Duration,
    /// Ends of the streams before the replay, or why they are not known.
    before: Result<StreamEnds, String>,
}

/// Ends of the streams.
#[derive(Debug, Clone)]
struct StreamEnds {
    /// FEED's last sequence.
    feed: u64,
    /// Identity of FEED's log.
    log: LogId,
    partitions: u32,
    /// MARKET's last sequence.
    market: u64,
}

impl DownstreamWatch {
    /// Reads the ends of the streams before anything is published. `wait` is the later wait for the stream-processor;
    /// zero switches it off.
    pub(crate) async fn begin(connection: &Connection, wait: Duration, shutdown: &Shutdown) -> Self {
        if wait.is_zero() {
            return Self { wait, before: Err("--downstream-wait is 0".to_owned()) };
        }
        let before = tokio::select! {
            ends = tokio::time::timeout(wait, ends(connection)) => match ends {
                Ok(ends) => ends.map_err(|error| error.to_string()),
                Err(_) => Err("FEED and MARKET did not report their ends before the replay".to_owned()),
            },
            () = shutdown.requested() => Err(STOPPED.to_owned()),
        };
        Self { wait, before }
    }

    /// Returns FEED's last sequence before the replay; 0 if it is not known.
    pub(crate) fn feed_end(&self) -> u64 {
        self.before.as_ref().map_or(0, |ends| ends.feed)
    }

    /// Waits until the stream-processor has read the sent messages, then counts their results. Each of the two has the
    /// wait time. `instruments` are those of the replay, in order; `keep` receives the rejected records.
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

    /// Waits for the stream-processor. Returns the sequence of MARKET before which all results are.
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

    /// Describes the wait time and the flag that sets it.
    fn allowed(&self) -> String {
        format!("{} (--downstream-wait)", humantime::format_duration(self.wait))
    }
}

async fn ends(connection: &Connection) -> Result<StreamEnds, Error> {
    let feed = RETRY.retry(|| stream_info(connection, Stream::Feed.name())).await?;
    let market = RETRY.retry(|| stream_info(connection, Stream::Market.name())).await?;
    let partitions = feed.partitions().unwrap_or(1);
    Ok(StreamEnds { feed: feed.state.last_seq, log: feed.log()?, partitions, market: market.state.last_seq })
}

/// Progress of the stream-processor with the sent messages.
#[derive(Debug, Default)]
struct StepReading {
    /// Partitions that are not read to their end: (last sequence sent, sequence read).
    behind: BTreeMap<u32, (u64, u64)>,
    lost_to: u64,
    /// Sequence of MARKET before which all results are.
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

    /// Waits until each partition has committed its last message, through outages.
    async fn wait(&mut self, connection: &Connection, log: &LogId) -> Result<(), Error> {
        while let Some((&partition, &(end, _))) = self.behind.first_key_value() {
            match committed(connection, MARKET_STEP, partition, log).await {
                Ok(Some(CommittedInput { through, lost_to, seq })) if through >= end => {
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
                Err(error) => tracing::debug!(%error, partition, "cannot read the position"),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// The fields of a price or a late tick that refer to its FEED message.
#[derive(Deserialize)]
struct FeedRef {
    feed_seq: u64,
}

/// Counts the results between two sequences of MARKET that refer to sent messages.
async fn count(
    connection: &Connection,
    range: (u64, u64),
    sent: &PublishedMessages,
    keep: &mut DownstreamRejects<'_>,
) -> Result<DownstreamOutcome, String> {
    let mut outcome = DownstreamOutcome::default();
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
        duplicates.ok_or("MARKET has more results for this replay than it had ticks; run `aggregator audit`")?;
    Ok(outcome)
}
