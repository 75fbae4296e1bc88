//! How far a step is behind its input, said in the log when that lasts: more comes than this machine can take, or a long replay
//! is under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use bus::topology::Stream;

/// Messages of all partitions together that are no backlog yet.
const MESSAGES_MIN: u64 = 1_000;
/// How long a backlog may last before it is worth a line.
const LASTING: Duration = Duration::from_secs(10);
/// While it lasts, one line is logged this often.
const AGAIN: Duration = Duration::from_secs(60);

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

    /// Counts a partition for as long as what is returned lives. Its end is no catching up.
    pub(crate) fn owned(&self, partition: u32) -> Owned {
        Owned { backlog: self.clone(), partition }
    }

    /// Takes note of how many messages of a partition are not committed yet.
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

/// A partition that is counted.
#[derive(Debug)]
pub(crate) struct Owned {
    backlog: Backlog,
    partition: u32,
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut partitions = self.backlog.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.messages.remove(&self.partition);
    }
}

#[derive(Debug, Default)]
struct Partitions {
    messages: BTreeMap<u32, u64>,
    /// Since when there is a backlog.
    since: Option<Instant>,
    /// When it was said last.
    said: Option<Instant>,
}

/// What the log should say.
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
            return self.said.take().map(|_| Notice::CaughtUp);
        }
        let since = now - *self.since.get_or_insert(now);
        let is_due = since >= LASTING && self.said.is_none_or(|said| now - said >= AGAIN);
        is_due.then(|| {
            self.said = Some(now);
            Notice::Behind { messages: total, partitions: self.messages.len(), since }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_said_when_it_lasts_and_when_it_is_over() {
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
        // A new backlog takes its time again.
        assert_eq!(note(1, 5_000, 73), None);
        assert_eq!(note(1, 5_000, 82), None);
        assert_eq!(note(2, 0, 83), behind(5_000, 1, 10));
    }
}
