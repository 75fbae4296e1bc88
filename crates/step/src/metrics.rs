//! Metrics of a step. `docs/metrics.md` lists every metric with its meaning and unit.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use service::Metrics;

use crate::operator::CounterValue;
use crate::part::Part;

/// From half a millisecond to 16 seconds.
const SECONDS: (f64, f64, u16) = (0.000_5, 2.0, 16);
/// From one message to a full batch.
const MESSAGES: (f64, f64, u16) = (1.0, 2.0, 11);
/// From 256 bytes to beyond a full batch.
const BYTES: (f64, f64, u16) = (256.0, 4.0, 9);

type ByPartition<M> = Family<[(&'static str, String); 1], M>;
type Seconds = Gauge<f64, AtomicU64>;

/// The metrics of a step. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct StepMetrics {
    all: Metrics,
    pub(crate) partitions: Gauge,
    pub(crate) stopped: Gauge,
    lease_changes: Family<[(&'static str, &'static str); 1], Counter>,
    lag: ByPartition<Gauge>,
    position: ByPartition<Gauge>,
    watermark_newest: ByPartition<Seconds>,
    watermark_oldest: ByPartition<Seconds>,
    commits: Counter,
    fenced: Counter,
    seconds: Histogram,
    messages: Histogram,
    bytes: Histogram,
}

impl StepMetrics {
    pub(crate) fn new(all: &Metrics) -> Self {
        let histogram = |name, help: &str, (start, factor, length)| {
            all.register_with(name, help, || Histogram::new(exponential_buckets(start, factor, length)))
        };
        Self {
            partitions: all.register("leases", "Partitions that this instance owns"),
            stopped: all.register("partitions_stopped", "Partitions that have stopped until an operator acts"),
            lease_changes: all.register("lease_changes", "Partitions claimed, handed over, or lost"),
            lag: all.register("lag_messages", "Messages of the input that are not committed yet"),
            position: all.register("position", "Stream sequence of the last committed input"),
            watermark_newest: all
                .register("watermark_newest_timestamp_seconds", "Watermark of the instrument that is furthest"),
            watermark_oldest: all
                .register("watermark_oldest_timestamp_seconds", "Watermark of the instrument that is least far"),
            commits: all.register("commits", "Commits of a partition that were stored"),
            fenced: all.register("commits_fenced", "Commits refused because the partition has another owner"),
            seconds: histogram(
                "commit_duration_seconds",
                "From sending a batch until it is known to be stored",
                SECONDS,
            ),
            messages: histogram("commit_messages", "Messages of a batch, positions included", MESSAGES),
            bytes: histogram("commit_bytes", "Payload bytes of a batch, without positions", BYTES),
            all: all.clone(),
        }
    }

    /// Records a stored batch.
    pub(crate) fn stored(&self, parts: &[Arc<Part>], took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        self.messages.observe(parts.iter().map(|part| part.messages.len() + 1).sum::<usize>() as f64);
        self.bytes.observe(parts.iter().map(|part| part.bytes()).sum::<usize>() as f64);
    }

    /// Records a commit that was fenced.
    pub(crate) fn fenced(&self) {
        self.fenced.inc();
    }

    fn count(&self, counter: &CounterValue, more: u64) {
        if counter.labels.is_empty() {
            self.all.register::<Counter>(counter.metric, counter.help).inc_by(more);
        } else {
            let family: Family<Vec<(&'static str, &'static str)>, Counter> =
                self.all.register(counter.metric, counter.help);
            family.get_or_create(&counter.labels).inc_by(more);
        }
    }

    /// Records a change of a lease.
    pub(crate) fn lease(&self, change: &'static str) {
        self.lease_changes.get_or_create(&[("change", change)]).inc();
    }

    /// The gauges of a partition, until they are dropped.
    pub(crate) fn partition(&self, partition: u32, counted: Vec<CounterValue>) -> PartitionMetrics {
        PartitionMetrics { step: self.clone(), labels: [("partition", partition.to_string())], counted }
    }
}

/// The metrics of a partition while this process owns it.
#[derive(Debug)]
pub(crate) struct PartitionMetrics {
    step: StepMetrics,
    labels: [(&'static str, String); 1],
    /// Counts up to the last commit: only the increase since then is added to the counters of this process.
    counted: Vec<CounterValue>,
}

impl PartitionMetrics {
    /// Sets the number of input messages that wait.
    pub(crate) fn lag(&self, messages: u64) {
        self.step.lag.get_or_create(&self.labels).set(gauged(messages));
    }

    /// Sets the range of the instruments' watermarks, in milliseconds since the epoch.
    pub(crate) fn watermarks(&self, oldest_ms: i64, newest_ms: i64) {
        self.step.watermark_oldest.get_or_create(&self.labels).set(oldest_ms as f64 / 1e3);
        self.step.watermark_newest.get_or_create(&self.labels).set(newest_ms as f64 / 1e3);
    }

    /// Records a stored commit up to `position`, with the counts since the partition began.
    pub(crate) fn stored(&mut self, position: u64, counters: Vec<CounterValue>) {
        self.step.commits.inc();
        self.step.position.get_or_create(&self.labels).set(gauged(position));
        for counter in &counters {
            let before = self.counted.iter().find(|before| before.is_same(counter)).map_or(0, |before| before.count);
            self.step.count(counter, counter.count.saturating_sub(before));
        }
        self.counted = counters;
    }
}

impl Drop for PartitionMetrics {
    fn drop(&mut self) {
        self.step.lag.remove(&self.labels);
        self.step.position.remove(&self.labels);
        self.step.watermark_oldest.remove(&self.labels);
        self.step.watermark_newest.remove(&self.labels);
    }
}

fn gauged(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(outcome: &'static str, count: u64) -> CounterValue {
        CounterValue { metric: "ticks", help: "Ticks", labels: vec![("outcome", outcome)], count }
    }

    #[test]
    fn counters_are_per_process_and_gauges_end_with_the_partition() {
        let all = Metrics::default();
        let step = StepMetrics::new(&all);
        let mut partition = step.partition(3, vec![ticks("accepted", 100)]);
        partition.lag(7);
        partition.stored(41, vec![ticks("accepted", 104), ticks("late", 1)]);
        partition.stored(42, vec![ticks("accepted", 105), ticks("late", 1)]);
        let text = all.to_text();
        for line in [
            "candlewire_ticks_total{outcome=\"accepted\"} 5",
            "candlewire_ticks_total{outcome=\"late\"} 1",
            "candlewire_lag_messages{partition=\"3\"} 7",
            "candlewire_position{partition=\"3\"} 42",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        drop(partition);
        let text = all.to_text();
        assert!(!text.contains("partition=\"3\"") && text.contains("accepted\"} 5"), "{text}");
    }
}
