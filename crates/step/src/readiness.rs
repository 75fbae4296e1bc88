//! Readiness of a step: connected, with its share of partitions, each of them attached and none stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::connection::State;
use service::{Freshness, Health};

use crate::metrics::StepMetrics;
use bus::Connection;
use bus::Error;

/// Readiness of a process, shared by its workers. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(Arc<Mutex<ReadinessState>>);

#[derive(Debug)]
struct ReadinessState {
    health: Health,
    metrics: StepMetrics,
    is_connected: bool,
    /// Whether this instance has had its share once.
    is_settled: bool,
    /// Whether it was ready once.
    was_ready: bool,
    /// Partitions that this instance owns.
    owned: BTreeSet<u32>,
    /// Owned partitions that are not attached to their input yet.
    attaching: BTreeSet<u32>,
    /// Partitions that have stopped, with the reason.
    stopped: BTreeMap<u32, String>,
    /// Partitions that are blocked, with what they wait for.
    waiting: BTreeMap<u32, &'static str>,
    /// The newest event time of each partition, in milliseconds since the epoch.
    newest: BTreeMap<u32, i64>,
}

impl Readiness {
    pub(crate) fn new(health: Health, metrics: StepMetrics) -> Self {
        Self(Arc::new(Mutex::new(ReadinessState {
            health,
            metrics,
            is_connected: true,
            is_settled: false,
            was_ready: false,
            owned: BTreeSet::new(),
            attaching: BTreeSet::new(),
            stopped: BTreeMap::new(),
            waiting: BTreeMap::new(),
            newest: BTreeMap::new(),
        })))
    }

    /// Records a partition as owned.
    pub(crate) fn add(&self, partition: u32) {
        self.update(|state| {
            state.owned.insert(partition);
            state.attaching.insert(partition);
        });
    }

    /// Records that a partition is attached to its input at its position.
    pub(crate) fn set_attached(&self, partition: u32) {
        self.update(|state| {
            state.attaching.remove(&partition);
        });
    }

    /// Records that a partition is no longer owned.
    pub(crate) fn remove(&self, partition: u32) {
        self.update(|state| {
            state.owned.remove(&partition);
            state.attaching.remove(&partition);
            state.stopped.remove(&partition);
            state.waiting.remove(&partition);
            state.newest.remove(&partition);
        });
    }

    /// Records what a partition has been waiting for too long; `None` once it continues.
    pub(crate) fn set_waiting(&self, partition: u32, what: Option<&'static str>) {
        self.update(|state| {
            match what.filter(|_| state.owned.contains(&partition)) {
                Some(what) => state.waiting.insert(partition, what),
                None => state.waiting.remove(&partition),
            };
        });
    }

    /// Records the newest event time of a partition.
    pub(crate) fn set_newest(&self, partition: u32, ms: i64) {
        self.update(|state| {
            if state.owned.contains(&partition) {
                state.newest.insert(partition, ms);
            }
        });
    }

    /// Records that a partition has stopped for good. The process stays up for the others, but is not ready.
    pub(crate) fn set_stopped(&self, partition: u32, error: &Error) {
        self.update(|state| drop(state.stopped.insert(partition, error.to_string())));
    }

    /// Records that this instance has its share.
    pub(crate) fn set_settled(&self) {
        self.update(|state| state.is_settled = true);
    }

    /// Follows the state of the connection as long as the process lives.
    pub(crate) async fn follow(self, connection: Connection) {
        let mut epoch = connection.epoch();
        while epoch.changed().await.is_ok() {
            let is_connected = connection.client().connection_state() == State::Connected;
            self.update(|state| state.is_connected = is_connected);
        }
    }

    fn update(&self, update: impl FnOnce(&mut ReadinessState)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        update(&mut state);
        state.publish();
    }
}

impl ReadinessState {
    fn publish(&mut self) {
        self.metrics.partitions.set(self.owned.len() as i64);
        self.metrics.stopped.set(self.stopped.len() as i64);
        match self.obstacle() {
            Some(reason) => self.health.not_ready(reason),
            None => {
                if !self.was_ready {
                    tracing::info!(partitions = self.owned.len(), "ready");
                    self.was_ready = true;
                }
                self.health.ready();
            }
        }
        self.health.data(match self.newest.values().max() {
            Some(&ms) => Freshness::Newest(ms),
            None if self.was_ready => Freshness::NoneHere,
            None => Freshness::Awaited,
        });
    }

    fn obstacle(&self) -> Option<String> {
        if let Some((partition, reason)) = self.stopped.first_key_value() {
            return Some(format!("partition {partition} stopped: {reason}"));
        }
        if !self.is_connected {
            return Some("the NATS server is away".to_owned());
        }
        if !self.is_settled {
            return Some("waiting for partitions".to_owned());
        }
        if let Some((partition, what)) = self.waiting.first_key_value() {
            return Some(format!("partition {partition} waits for {what}, the log says why"));
        }
        let attaching = self.attaching.len();
        match attaching {
            0 => None,
            1 => Some("1 partition is attaching to its input".to_owned()),
            _ => Some(format!("{attaching} partitions are attaching to their input")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn unready() -> (Health, Readiness) {
        let health = Health::new();
        let metrics = StepMetrics::new(health.metrics());
        (health.clone(), Readiness::new(health, metrics))
    }

    #[test]
    fn data_is_as_fresh_as_the_newest_owned_partition() {
        let (health, readiness) = unready();
        let fresh = || health.check_fresh(SystemTime::UNIX_EPOCH + Duration::from_secs(90), Duration::from_secs(60));
        assert_eq!(fresh(), Err("no data yet".to_owned()));
        readiness.add(3);
        readiness.add(4);
        readiness.set_newest(3, 20_000);
        readiness.set_newest(4, 50_000);
        assert_eq!(fresh(), Ok("newest data is 40s old, 1m is the bound".to_owned()));
        readiness.remove(4);
        assert!(fresh().is_err_and(|words| words.starts_with("newest data is 1m 10s old")));
        readiness.set_settled();
        readiness.set_attached(3);
        readiness.remove(3);
        assert_eq!(fresh(), Ok("no instrument here".to_owned()));
    }

    #[test]
    fn ready_means_a_settled_share_with_attached_partitions() {
        let (health, readiness) = unready();
        readiness.add(3);
        assert_eq!(health.check(), Err("waiting for partitions".to_owned()));
        readiness.set_settled();
        assert_eq!(health.check(), Err("1 partition is attaching to its input".to_owned()));
        readiness.set_attached(3);
        assert_eq!(health.check(), Ok(()));
        readiness.add(4);
        assert!(health.check().is_err());
        readiness.remove(4);
        assert_eq!(health.check(), Ok(()));
    }

    #[test]
    fn a_blocked_partition_is_not_ready_until_it_continues() {
        let (health, readiness) = unready();
        readiness.add(3);
        readiness.set_settled();
        readiness.set_attached(3);
        readiness.set_waiting(3, Some("a commit"));
        assert_eq!(health.check(), Err("partition 3 waits for a commit, the log says why".to_owned()));
        readiness.set_waiting(3, None);
        assert_eq!(health.check(), Ok(()));
        readiness.set_waiting(4, Some("a commit"));
        assert_eq!(health.check(), Ok(()), "this instance does not own it");
    }

    #[test]
    fn a_stopped_partition_is_not_ready_until_it_is_released() {
        let (health, readiness) = unready();
        readiness.add(3);
        readiness.set_settled();
        readiness.set_attached(3);
        readiness.set_stopped(3, &Error::NoJetStream { url: "here".to_owned() });
        assert!(health.check().is_err_and(|reason| reason.starts_with("partition 3 stopped")));
        readiness.remove(3);
        assert_eq!(health.check(), Ok(()));
    }
}
