//! Backlog of a step, logged when it lasts: more input arrives than this machine can process, or a long replay runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use bus::stream::Stream;

/// Messages of all partitions together below which there is no backlog.
const MESSAGES_MIN: u64 = 1_000;
/// How long a backlog must last before it is logged.
const DURATION_MIN: Duration = Duration::from_secs(10);
/// Interval between log lines while it lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The backlog of a process. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    input: Stream,
    partitions: Arc<Mutex<Partitions>>,
}

impl Backlog {
    pub(crate) fn of(input: Stream) -> Self {
        Self { input, partitions: Arc::default() }
    }

    /// Counts a partition until the returned guard is dropped. Dropping it does not count as catching up.
    pub(crate) fn count(&self, partition: u32) -> PartitionGuard {
        PartitionGuard { backlog: self.clone(), partition }
    }

    /// Records the number of uncommitted messages of a partition.
    pub(crate) fn note(&self, partition: u32, messages: u64) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let input = self.input;
        match partitions.note(partition, messages, Instant::now()) {
            Some(Notice::Behind { messages, partitions, since }) => {
                let seconds = since.as_secs();
                tracing::warn!(
                    "behind for {seconds} s: {messages} messages of {input} in {partitions} partitions are not processed yet"
                );
            }
            Some(Notice::CaughtUp) => tracing::info!("caught up with {input}"),
            None => {}
        }
    }
}

/// Guard of a counted partition.
#[derive(Debug)]
pub(crate) struct PartitionGuard {
    backlog: Backlog,
    partition: u32,
}

impl Drop for PartitionGuard {
    fn drop(&mut self) {
        let mut partitions = self.backlog.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.messages.remove(&self.partition);
    }
}

#[derive(Debug, Default)]
struct Partitions {
    messages: BTreeMap<u32, u64>,
    /// Start of the backlog.
    since: Option<Instant>,
    /// Time of the last log line.
    logged_at: Option<Instant>,
}

/// A log line.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Behind { messages: u64, partitions: usize, since: Duration },
    CaughtUp,
}

impl Partitions {
    fn note(&mut self, partition: u32, messages: u64, now: Instant) -> Option<Notice> {
        if messages == 0 {
            self.messages.remove(&partition)
        } else {
            self.messages.insert(partition, messages)
        };
        let total: u64 = self.messages.values().sum();
        if total < MESSAGES_MIN {
            self.since = None;
            return self.logged_at.take().map(|_| Notice::CaughtUp);
        }
        let since = now - *self.since.get_or_insert(now);
        let is_due = since >= DURATION_MIN && self.logged_at.is_none_or(|logged_at| now - logged_at >= LOG_INTERVAL);
        is_due.then(|| {
            self.logged_at = Some(now);
            Notice::Behind { messages: total, partitions: self.messages.len(), since }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_backlog_is_logged_and_so_is_its_end() {
        let mut backlog = Partitions::default();
        let start = Instant::now();
        let mut note =
            |partition, messages, second| backlog.note(partition, messages, start + Duration::from_secs(second));
        let behind = |messages, partitions, second| {
            Some(Notice::Behind { messages, partitions, since: Duration::from_secs(second) })
        };
        assert_eq!(note(1, 999, 0), None);
        assert_eq!(note(2, 1, 1), None);
        assert_eq!(note(2, 2, 10), None);
        assert_eq!(note(1, 5_000, 11), behind(5_002, 2, 10));
        assert_eq!(note(1, 6_000, 70), None);
        assert_eq!(note(1, 7_000, 71), behind(7_002, 2, 70));
        assert_eq!(note(1, 0, 72), Some(Notice::CaughtUp));
        // A new backlog must last again.
        assert_eq!(note(1, 5_000, 73), None);
        assert_eq!(note(1, 5_000, 82), None);
        assert_eq!(note(2, 0, 83), behind(5_000, 1, 10));
    }
}
