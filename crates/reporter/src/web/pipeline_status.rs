//! How far the steps are and what they have counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bus::progress::{self, is_in_use, standings};
use bus::topology::{STEPS, Step};
use bus::{Connection, Error};
use serde::Serialize;
use tokio::time::Instant;

use crate::summary::MarketCounts;

/// What was last known of the pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct PipelineStatus {
    /// Whether the server answers.
    pub(super) is_connected: bool,
    /// The steps, upstream first; empty before they were first read.
    pub(super) steps: Vec<StepStatus>,
    /// What the stream-processor has counted.
    pub(super) counts: MarketCounts,
}

/// A busy step commits every few seconds: what came within them is not behind.
const SETTLED: Duration = Duration::from_secs(6);

/// Where the inputs ended when the steps were looked at before, the newest look last: by service and partition.
#[derive(Debug, Default)]
pub(super) struct InputEnds(VecDeque<(Instant, Ends)>);

type Ends = BTreeMap<(&'static str, u32), u64>;

impl InputEnds {
    /// Notes a look; returns the ends that must be committed by now, those of the newest look that is old enough, or of the
    /// first one.
    fn settled(&mut self, now: Instant, ends: Ends) -> &Ends {
        self.0.push_back((now, ends));
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SETTLED) {
            self.0.pop_front();
        }
        &self.0[0].1
    }
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepStatus {
    /// The service that runs it.
    pub(super) service: &'static str,
    /// Messages between the position and what was the last input a moment ago, of the partition that is furthest behind; at
    /// most: some of them may be other partitions'.
    pub(super) behind: u64,
    /// Whether it has ever committed anything.
    pub(super) has_begun: bool,
}

impl PipelineStatus {
    /// Reads positions and the ends of their inputs.
    ///
    /// # Errors
    /// Whatever reading can meet.
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
    fn what_came_a_moment_ago_is_not_behind() {
        let (mut seen, first) = (InputEnds::default(), Instant::now());
        let mut ends = |secs, end| {
            let settled = seen.settled(first + Duration::from_secs(secs), Ends::from([(("aggregator", 3), end)]));
            settled[&("aggregator", 3)]
        };
        // Until a look is old enough, what was there at the first one counts.
        assert_eq!([ends(0, 10), ends(2, 20), ends(4, 30)], [10, 10, 10]);
        assert_eq!([ends(6, 40), ends(8, 50), ends(9, 60), ends(30, 70)], [10, 20, 20, 60]);
    }
}
