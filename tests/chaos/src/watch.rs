//! Reads positions and backlogs of the steps from the streams.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bus::protocol::{Position, positions};
use bus::stream::{MARKET_STEP, STATS_STEP, Step};
use bus::topology::stream_info;
use bus::{Connection, Stream, query, subject};
use futures::future::join_all;
use serde_json::Value;

use super::options::PARTITIONS;
use super::plan::Target;

/// Longest wait for one answer: nats-server may be down.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The step that a service runs; `None` for the producer.
pub(super) fn step_of(target: Target) -> Option<Step> {
    match target {
        Target::Producer => None,
        Target::Processor(_) => Some(MARKET_STEP),
        Target::Aggregator(_) => Some(STATS_STEP),
    }
}

type Positions = BTreeMap<u32, Position<Value>>;

/// Positions of both steps, and the end of FEED.
#[derive(Debug, Default)]
pub(super) struct StreamSnapshot {
    market: Positions,
    stats: Positions,
    pub(super) feed_last: u64,
}

impl StreamSnapshot {
    /// Reads them; `None` when there is no answer.
    pub(super) async fn take(admin: &Connection) -> Option<Self> {
        let snapshot = async {
            let (market, stats, feed) = tokio::join!(
                positions::<Value>(admin, Stream::Market),
                positions::<Value>(admin, Stream::Stats),
                stream_info(admin, Stream::Feed.name()),
            );
            Some(Self {
                market: market.ok()?.into_iter().collect(),
                stats: stats.ok()?.into_iter().collect(),
                feed_last: feed.ok()?.state.last_seq,
            })
        };
        answered(snapshot).await
    }

    /// Whether the newest position of a partition was committed by the process with this batch prefix.
    pub(super) fn has_batch_of(&self, step: Step, prefix: &str) -> bool {
        self.positions(step).values().any(|position| position.batch.starts_with(prefix))
    }

    fn positions(&self, step: Step) -> &Positions {
        if step.output == Stream::Market { &self.market } else { &self.stats }
    }
}

/// The number of partitions of a step with uncommitted input. Inputs are read before positions, so input that arrives
/// meanwhile does not count.
pub(super) async fn pending(admin: &Connection, step: Step) -> Option<usize> {
    let ends = (0..PARTITIONS).map(async |partition| Some((partition, last_input(admin, step, partition).await?)));
    let ends = answered(async { join_all(ends).await.into_iter().collect::<Option<Vec<_>>>() }).await?;
    let snapshot = StreamSnapshot::take(admin).await?;
    let position = |partition| snapshot.positions(step).get(partition).map_or(0, |position| position.position);
    Some(ends.iter().filter(|(partition, last)| *last > position(partition)).count())
}

async fn last_input(admin: &Connection, step: Step, partition: u32) -> Option<u64> {
    let subjects = step.kinds.iter().map(|&kind| subject::of_partition(step.input, partition, kind));
    let last = join_all(subjects.map(async |subject| query::last(admin, step.input, &subject).await)).await;
    last.into_iter().try_fold(0, |newest, last| Some(newest.max(last.ok()?.map_or(0, |message| message.seq))))
}

async fn answered<T>(answer: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(ANSWER_MAX, answer).await.ok().flatten()
}
