//! State of the pipeline: progress of the steps, their instances, counts, credits, and what the prices come from.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bus::budgets::{self, KnownBudget};
use bus::lease::Census;
use bus::progress::{StepProgress, is_in_use, standings};
use bus::stream::{STEPS, Step};
use bus::{Connection, Error, RecordKind, Stream, codec, query, subject};
use market::EventTime;
use market::heartbeat::HeartbeatLine;
use market::tick::PriceLine;
use tokio::time::Instant;

use super::rows::{CreditsRow, PipelineRow, SourceState, StepRow};
use crate::summary::MarketCounts;

/// Last known status of the pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct PipelineStatus {
    /// Whether the server is connected.
    pub(crate) is_connected: bool,
    /// Status of the steps, upstream first; empty before the first look.
    pub(crate) steps: Vec<StepRow>,
    /// Counts of the stream-processor.
    pub(crate) counts: MarketCounts,
    /// Accepted ticks a second.
    rate_per_s: f64,
    /// The last commit of prices.
    committed: Option<LastCommit>,
    /// The budget that was changed last, with its account.
    budget: Option<(String, KnownBudget)>,
}

impl PipelineStatus {
    /// Returns the state as of `now_ms`; `newest` are event time and known time of the newest price.
    pub(crate) fn row(&self, newest: Option<(EventTime, EventTime)>, now_ms: i64) -> PipelineRow {
        PipelineRow {
            connected: self.is_connected,
            source: source_state(self.committed, newest.map(|(_, known)| known.ms()), now_ms),
            rate_per_s: self.rate_per_s,
            steps: self.steps.clone(),
            credits: self.budget.as_ref().map(|(account, budget)| credits(account, budget, now_ms)),
            newest_event_ms: newest.map(|(event, _)| event.ms()),
            as_of_ms: now_ms,
        }
    }
}

/// The last message of MARKET with prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastCommit {
    /// Time of storing by the server's clock.
    stored_ms: i64,
    /// Time from which its newest price is known.
    known_ms: i64,
    /// Whether its newest price was fetched afterwards.
    is_filled: bool,
    /// Whether the flush at the end of a recording follows it.
    is_flushed: bool,
}

/// Age of a price, when it is committed, from which it is of a recording: live prices come within minutes.
const RECORDED_MS_MIN: i64 = 3_600_000;
/// Age of the newest price up to which a source is live: a few polls of a slow one.
const LIVE_MS_MAX: i64 = 900_000;
/// Time after the last commit of recorded prices up to which the recording is being replayed: a bar of a minute, in real
/// time, and some delay.
const REPLAYING_MS_MAX: i64 = 90_000;

/// Returns what the prices come from, given the last commit, and the time from which the newest price is known.
fn source_state(committed: Option<LastCommit>, known_ms: Option<i64>, now_ms: i64) -> SourceState {
    let Some(committed) = committed else { return SourceState::None };
    let LastCommit { stored_ms, is_filled, is_flushed, .. } = committed;
    // A live source also stores old prices when it fills a hole.
    let is_recorded = !is_filled && stored_ms - committed.known_ms > RECORDED_MS_MIN;
    if is_recorded {
        let is_over = is_flushed || now_ms - stored_ms > REPLAYING_MS_MAX;
        return if is_over { SourceState::Finished } else { SourceState::Replaying };
    }
    let newest_ms = known_ms.map_or(committed.known_ms, |known_ms| known_ms.max(committed.known_ms));
    if now_ms - newest_ms <= LIVE_MS_MAX { SourceState::Live } else { SourceState::Silent }
}

/// Returns the credits of an account, whose name begins with its plan.
fn credits(account: &str, budget: &KnownBudget, now_ms: i64) -> CreditsRow {
    let is_this_month = EventTime(now_ms).to_utc().format("%Y-%m").to_string() == budget.month;
    let spent = if is_this_month { budget.spent } else { 0 };
    CreditsRow {
        plan: account.split('-').next().unwrap_or(account).to_owned(),
        left: budget.credits.map(|credits| credits.saturating_sub(spent)),
        budget: budget.credits,
        interval_ms: budget.interval_ms,
    }
}

/// Looks at the pipeline again and again.
#[derive(Debug)]
pub(crate) struct PipelineWatch {
    connection: Connection,
    ends: InputEnds,
    rate: Rate,
    censuses: Vec<Census>,
    /// Whether the server has refused leases or budgets. It would not answer the next request either.
    is_refused: bool,
}

impl PipelineWatch {
    /// Starts without a look.
    pub(crate) fn new(connection: &Connection) -> Self {
        let census = |step: Step| Census::new(connection, step.lease_group());
        Self {
            connection: connection.clone(),
            ends: InputEnds::default(),
            rate: Rate::default(),
            censuses: STEPS.map(census).into(),
            is_refused: false,
        }
    }

    /// Looks at positions, ends of inputs, instances and the last commit.
    ///
    /// # Errors
    /// The positions or the streams cannot be read.
    pub(crate) async fn look(&mut self) -> Result<PipelineStatus, Error> {
        let mut all = Vec::with_capacity(STEPS.len());
        for (idx, step) in STEPS.into_iter().enumerate() {
            let instances = self.instances(idx).await;
            all.push((step, standings(&self.connection, step).await?, instances));
        }
        let counts = MarketCounts::read(&self.connection).await?;
        let now = Instant::now();
        Ok(PipelineStatus {
            is_connected: true,
            steps: self.steps(now, all),
            rate_per_s: self.rate.observe(now, counts.accepted),
            counts,
            committed: last_commit(&self.connection).await?,
            budget: self.budget().await,
        })
    }

    /// Returns the progress of the steps that are in use.
    fn steps(&mut self, now: Instant, all: Vec<(Step, Vec<StepProgress>, Option<u32>)>) -> Vec<StepRow> {
        let key = |step: &Step, partition: &StepProgress| (step.service, partition.partition);
        let ends = all.iter().flat_map(|(step, of, _)| of.iter().map(move |one| (key(step, one), one.input_last)));
        let settled = self.ends.settled(now, ends.collect());
        let in_use = all.iter().filter(|(step, partitions, _)| is_in_use(*step, partitions));
        let row = |(step, partitions, instances): &(Step, Vec<StepProgress>, Option<u32>)| {
            let end = |one| settled.get(&key(step, one)).copied().unwrap_or_default();
            let behind = partitions.iter().map(|one| end(one).saturating_sub(one.committed())).max();
            StepRow {
                service: step.service,
                behind: behind.unwrap_or_default(),
                has_begun: partitions.iter().any(|one| one.position.is_some()),
                instances: *instances,
            }
        };
        in_use.map(row).collect()
    }

    /// Returns the number of living instances of a step; `None` if it cannot be read.
    async fn instances(&mut self, step_idx: usize) -> Option<u32> {
        if self.is_refused {
            return None;
        }
        let looked = self.censuses[step_idx].look().await;
        self.or_unknown(looked).and_then(|count| u32::try_from(count).ok())
    }

    async fn budget(&mut self) -> Option<(String, KnownBudget)> {
        if self.is_refused {
            return None;
        }
        let newest = budgets::newest(&self.connection).await;
        self.or_unknown(newest).flatten()
    }

    /// Returns a value that is shown only if it can be read.
    fn or_unknown<T>(&mut self, read: Result<T, Error>) -> Option<T> {
        match &read {
            Err(error @ Error::Permission { .. }) => {
                tracing::warn!(%error, "instances and credits are not shown; take deploy/nats of this version");
                self.is_refused = true;
            }
            Err(error) => tracing::debug!(%error, "cannot read instances or credits"),
            Ok(_) => {}
        }
        read.ok()
    }
}

/// Reads the last commit of prices; `None` before the first one.
async fn last_commit(connection: &Connection) -> Result<Option<LastCommit>, Error> {
    let last =
        async |kind| query::last(connection, Stream::Market, &subject::of_kind(Stream::Market, kind, None)).await;
    let Some(prices) = last(RecordKind::Price).await? else { return Ok(None) };
    let heartbeat = last(RecordKind::Heartbeat).await?.filter(|heartbeat| heartbeat.seq > prices.seq);
    let is_flushed = heartbeat.is_some_and(|heartbeat| {
        let mut lines = codec::lines(&heartbeat.payload);
        lines.any(|(_, line)| serde_json::from_slice::<HeartbeatLine<'_>>(line).is_ok_and(|line| line.flush))
    });
    let lines = codec::lines(&prices.payload);
    let newest = lines.filter_map(|(_, line)| Some(serde_json::from_slice::<PriceLine<'_>>(line).ok()?.tick()));
    let newest = newest.max_by_key(|tick| tick.end());
    Ok(newest.map(|tick| LastCommit {
        stored_ms: prices.server_ms,
        known_ms: tick.end().ms(),
        is_filled: tick.filled,
        is_flushed,
    }))
}

/// Age of an input from which it must be committed. A busy step commits every few seconds, so newer input does not
/// count as behind.
const SETTLED: Duration = Duration::from_secs(6);

/// Ends of the inputs at the last looks, oldest first, by service and partition.
#[derive(Debug, Default)]
struct InputEnds(VecDeque<(Instant, Ends)>);

type Ends = BTreeMap<(&'static str, u32), u64>;

impl InputEnds {
    /// Adds the ends of a new look. Returns the ends that must be committed by now: those of the newest look that is
    /// old enough, or of the first one.
    fn settled(&mut self, now: Instant, ends: Ends) -> &Ends {
        self.0.push_back((now, ends));
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SETTLED) {
            self.0.pop_front();
        }
        &self.0[0].1
    }
}

/// Time over which a rate is measured.
const RATE_SPAN: Duration = Duration::from_secs(10);

/// The rate of a count that rises.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Adds the count of a new look. Returns the rate a second over the last seconds; 0 at the first look, and after the
    /// count has begun anew.
    fn observe(&mut self, now: Instant, count: u64) -> f64 {
        self.0.push_back((now, count));
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_SPAN) {
            self.0.pop_front();
        }
        let (since, before) = self.0[0];
        let secs = now.duration_since(since).as_secs_f64();
        if secs > 0.0 { count.saturating_sub(before) as f64 / secs } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_of_the_last_seconds_does_not_count_as_behind() {
        let (mut seen, first) = (InputEnds::default(), Instant::now());
        let mut ends = |secs, end| {
            let settled = seen.settled(first + Duration::from_secs(secs), Ends::from([(("aggregator", 3), end)]));
            settled[&("aggregator", 3)]
        };
        // The first look counts until another one is old enough.
        assert_eq!([ends(0, 10), ends(2, 20), ends(4, 30)], [10, 10, 10]);
        assert_eq!([ends(6, 40), ends(8, 50), ends(9, 60), ends(30, 70)], [10, 20, 20, 60]);
    }

    #[test]
    fn a_rate_is_of_the_last_seconds() {
        let (mut rate, first) = (Rate::default(), Instant::now());
        let mut observe = |secs, count| rate.observe(first + Duration::from_secs(secs), count);
        assert_eq!([observe(0, 1_000), observe(2, 1_010), observe(10, 1_050)], [0.0, 5.0, 5.0]);
        assert_eq!([observe(20, 1_050), observe(22, 1_050)], [0.0, 0.0]);
        assert_eq!(observe(24, 40), 0.0, "rebuilt");
    }

    const NOW_MS: i64 = 1_796_083_200_000;
    const MINUTE_MS: i64 = 60_000;

    /// A commit so long ago of a price that was so old then.
    fn commit(ago_ms: i64, age_ms: i64) -> LastCommit {
        let stored_ms = NOW_MS - ago_ms;
        LastCommit { stored_ms, known_ms: stored_ms - age_ms, is_filled: false, is_flushed: false }
    }

    #[test]
    fn the_source_is_told_by_the_last_commit() {
        let year_ms = 365 * 1_440 * MINUTE_MS;
        let (replayed, live) = (commit(1_000, year_ms), commit(1_000, 2 * MINUTE_MS));
        let filled = LastCommit { is_filled: true, ..replayed };
        let cases = [
            ("no price", None, None, SourceState::None),
            ("a recording is replayed", Some(replayed), None, SourceState::Replaying),
            ("a bar a minute, in real time", Some(commit(62_000, year_ms)), None, SourceState::Replaying),
            ("its end was flushed", Some(LastCommit { is_flushed: true, ..replayed }), None, SourceState::Finished),
            ("nothing follows", Some(commit(91_000, year_ms)), None, SourceState::Finished),
            ("yesterday's replay", Some(commit(1_440 * MINUTE_MS, year_ms)), None, SourceState::Finished),
            ("live", Some(live), None, SourceState::Live),
            ("live with a slow poll", Some(commit(10 * MINUTE_MS, 4 * MINUTE_MS)), None, SourceState::Live),
            ("live prices that stopped", Some(commit(20 * MINUTE_MS, MINUTE_MS)), None, SourceState::Silent),
            ("they stopped a week ago", Some(commit(7 * 1_440 * MINUTE_MS, MINUTE_MS)), None, SourceState::Silent),
            ("a hole is filled", Some(filled), Some(NOW_MS - MINUTE_MS), SourceState::Live),
            ("a hole is filled after a stop", Some(filled), Some(NOW_MS - 60 * MINUTE_MS), SourceState::Silent),
            ("a bar that has not ended", Some(commit(1_000, -MINUTE_MS)), None, SourceState::Live),
        ];
        for (name, committed, known_ms, expected) in cases {
            assert_eq!(source_state(committed, known_ms, NOW_MS), expected, "{name}");
        }
    }

    #[test]
    fn credits_begin_anew_with_the_month() {
        let budget = |month: &str, credits| KnownBudget {
            month: month.to_owned(),
            spent: 824,
            credits,
            interval_ms: Some(297_600),
        };
        let row = credits("demo-9f3c00aa11bb", &budget("2026-12", Some(10_000)), NOW_MS);
        assert_eq!((row.plan.as_str(), row.left, row.budget), ("demo", Some(9_176), Some(10_000)));
        assert_eq!(credits("demo-9f3c", &budget("2026-11", Some(10_000)), NOW_MS).left, Some(10_000));
        assert_eq!(credits("keyless", &budget("2026-12", None), NOW_MS).left, None);
    }
}
