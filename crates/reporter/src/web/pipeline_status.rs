//! Status of the pipeline: progress of the steps, and counts of the stream-processor.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bus::progress::{self, is_in_use, standings};
use bus::stream::{STEPS, Step};
use bus::{Connection, Error};
use market::EventTime;
use serde::Serialize;
use tokio::time::Instant;

use crate::query::rows::{PipelineRow, SourceState, StepRow};
use crate::summary::MarketCounts;

/// Last known status of the pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct PipelineStatus {
    /// Whether the server is connected.
    pub(super) is_connected: bool,
    /// Status of the steps, upstream first; empty before the first read.
    pub(super) steps: Vec<StepStatus>,
    /// Counts of the stream-processor.
    pub(super) counts: MarketCounts,
}

/// Age of an input from which it must be committed. A busy step commits every few seconds, so newer input does not
/// count as behind.
const SETTLED: Duration = Duration::from_secs(6);

/// Ends of the inputs at the last status reads, oldest first, by service and partition.
#[derive(Debug, Default)]
pub(super) struct InputEnds(VecDeque<(Instant, Ends)>);

type Ends = BTreeMap<(&'static str, u32), u64>;

impl InputEnds {
    /// Adds the ends of a new read. Returns the ends that must be committed by now: those of the newest read that is
    /// old enough, or of the first one.
    fn settled(&mut self, now: Instant, ends: Ends) -> &Ends {
        self.0.push_back((now, ends));
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SETTLED) {
            self.0.pop_front();
        }
        &self.0[0].1
    }
}

/// Progress of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepStatus {
    /// Name of the service.
    pub(super) service: &'static str,
    /// Messages between the position and the settled end of the input, in the partition that is furthest behind. It is
    /// an upper bound, because some of them may belong to other partitions.
    pub(super) behind: u64,
    /// Whether the step has ever committed.
    pub(super) has_begun: bool,
}

/// Age of the newest price up to which a source is live: a few polls of a slow one.
const LIVE_MS_MAX: i64 = 900_000;

impl PipelineStatus {
    /// Returns the state as of `now_ms`; `newest` are event time and known time of the newest price.
    pub(super) fn row(&self, newest: Option<(EventTime, EventTime)>, now_ms: i64) -> PipelineRow {
        let steps = self.steps.iter().map(|step| {
            let &StepStatus { service, behind, has_begun } = step;
            StepRow { service, behind, has_begun, instances: 0 }
        });
        PipelineRow {
            connected: self.is_connected,
            source: match newest {
                None => SourceState::None,
                Some((_, known)) if now_ms - known.ms() <= LIVE_MS_MAX => SourceState::Live,
                Some(_) => SourceState::Finished,
            },
            rate_per_s: 0.0,
            steps: steps.collect(),
            credits: None,
            newest_event_ms: newest.map(|(event, _)| event.ms()),
            as_of_ms: now_ms,
        }
    }

    /// Reads the positions and the ends of their inputs.
    ///
    /// # Errors
    /// The positions or the streams cannot be read.
    pub(super) async fn read(connection: &Connection, seen: &mut InputEnds) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(STEPS.len());
        for step in STEPS {
            all.push((step, standings(connection, step).await?));
        }
        let key = |step: &Step, partition: &progress::StepProgress| (step.service, partition.partition);
        let ends = all.iter().flat_map(|(step, of)| of.iter().map(move |one| (key(step, one), one.input_last)));
        let settled = seen.settled(Instant::now(), ends.collect());
        let in_use = all.iter().filter(|(step, partitions)| is_in_use(*step, partitions));
        let steps = in_use.map(|(step, partitions)| {
            let end = |one| settled.get(&key(step, one)).copied().unwrap_or_default();
            let behind = partitions.iter().map(|one| end(one).saturating_sub(one.committed())).max();
            StepStatus {
                service: step.service,
                behind: behind.unwrap_or_default(),
                has_begun: partitions.iter().any(|one| one.position.is_some()),
            }
        });
        let steps = steps.collect();
        Ok(Self { is_connected: true, steps, counts: MarketCounts::read(connection).await? })
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
        // The first read counts until another one is old enough.
        assert_eq!([ends(0, 10), ends(2, 20), ends(4, 30)], [10, 10, 10]);
        assert_eq!([ends(6, 40), ends(8, 50), ends(9, 60), ends(30, 70)], [10, 20, 20, 60]);
    }
}
