//! Whether a step is useful: connected, its share taken, every partition of it at its place, none stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::connection::State;
use service::{Freshness, Health};

use crate::metrics::StepMetrics;
use bus::Connection;
use bus::Error;

/// What the workers of a process know together. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(Arc<Mutex<Standing>>);

#[derive(Debug)]
struct Standing {
    health: Health,
    metrics: StepMetrics,
    is_connected: bool,
    /// Whether this instance has had its share once.
    is_settled: bool,
    /// Whether it has been ready once.
    was_ready: bool,
    /// Partitions that are owned.
    owned: BTreeSet<u32>,
    /// Those of them that have not found their place yet.
    seeking: BTreeSet<u32>,
    /// Partitions that have stopped, and why.
    stopped: BTreeMap<u32, String>,
    /// Partitions that cannot go on by themselves at the moment, and what they wait for.
    waiting: BTreeMap<u32, &'static str>,
    /// The newest event time of each partition that has any, in milliseconds since the epoch.
    newest: BTreeMap<u32, i64>,
}

impl Readiness {
    pub(crate) fn new(health: Health, metrics: StepMetrics) -> Self {
        Self(Arc::new(Mutex::new(Standing {
            health,
            metrics,
            is_connected: true,
            is_settled: false,
            was_ready: false,
            owned: BTreeSet::new(),
            seeking: BTreeSet::new(),
            stopped: BTreeMap::new(),
            waiting: BTreeMap::new(),
            newest: BTreeMap::new(),
        })))
    }

    /// A partition is owned from now on.
    pub(crate) fn taken(&self, partition: u32) {
        self.change(|standing| {
            standing.owned.insert(partition);
            standing.seeking.insert(partition);
        });
    }

    /// A partition has found its place.
    pub(crate) fn attached(&self, partition: u32) {
        self.change(|standing| {
            standing.seeking.remove(&partition);
        });
    }

    /// A partition is no longer owned.
    pub(crate) fn gone(&self, partition: u32) {
        self.change(|standing| {
            standing.owned.remove(&partition);
            standing.seeking.remove(&partition);
            standing.stopped.remove(&partition);
            standing.waiting.remove(&partition);
            standing.newest.remove(&partition);
        });
    }

    /// What a partition has been waiting for, longer than it should; `None` once it goes on.
    pub(crate) fn waiting(&self, partition: u32, what: Option<&'static str>) {
        self.change(|standing| {
            match what.filter(|_| standing.owned.contains(&partition)) {
                Some(what) => standing.waiting.insert(partition, what),
                None => standing.waiting.remove(&partition),
            };
        });
    }

    /// The newest event time of a partition.
    pub(crate) fn newest(&self, partition: u32, ms: i64) {
        self.change(|standing| {
            if standing.owned.contains(&partition) {
                standing.newest.insert(partition, ms);
            }
        });
    }

    /// A partition has stopped for good; the process stays up for the others, but it is not ready any more.
    pub(crate) fn stopped(&self, partition: u32, error: &Error) {
        self.change(|standing| drop(standing.stopped.insert(partition, error.to_string())));
    }

    /// This instance has the share that it can have.
    pub(crate) fn settled(&self) {
        self.change(|standing| standing.is_settled = true);
    }

    /// Follows the connection for as long as the process lives.
    pub(crate) async fn follow(self, connection: Connection) {
        let mut epoch = connection.epoch();
        while epoch.changed().await.is_ok() {
            let is_connected = connection.client().connection_state() == State::Connected;
            self.change(|standing| standing.is_connected = is_connected);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut standing);
        standing.tell();
    }
}

impl Standing {
    fn tell(&mut self) {
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
        let seeking = self.seeking.len();
        match seeking {
            0 => None,
            1 => Some("1 partition is finding its place".to_owned()),
            _ => Some(format!("{seeking} partitions are finding their place")),
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
    fn data_is_as_new_as_the_newest_of_the_partitions_that_are_owned() {
        let (health, readiness) = unready();
        let fresh = || health.check_fresh(SystemTime::UNIX_EPOCH + Duration::from_secs(90), Duration::from_secs(60));
        assert_eq!(fresh(), Err("no data yet".to_owned()));
        readiness.taken(3);
        readiness.taken(4);
        readiness.newest(3, 20_000);
        readiness.newest(4, 50_000);
        assert_eq!(fresh(), Ok("newest data is 40s old, 1m is the bound".to_owned()));
        readiness.gone(4);
        assert!(fresh().is_err_and(|words| words.starts_with("newest data is 1m 10s old")));
        readiness.settled();
        readiness.attached(3);
        readiness.gone(3);
        assert_eq!(fresh(), Ok("no instrument here".to_owned()));
    }

    #[test]
    fn ready_is_a_settled_share_at_its_place() {
        let (health, readiness) = unready();
        readiness.taken(3);
        assert_eq!(health.check(), Err("waiting for partitions".to_owned()));
        readiness.settled();
        assert_eq!(health.check(), Err("1 partition is finding its place".to_owned()));
        readiness.attached(3);
        assert_eq!(health.check(), Ok(()));
        readiness.taken(4);
        assert!(health.check().is_err());
        readiness.gone(4);
        assert_eq!(health.check(), Ok(()));
    }

    #[test]
    fn a_partition_that_waits_for_long_is_not_ready_until_it_goes_on() {
        let (health, readiness) = unready();
        readiness.taken(3);
        readiness.settled();
        readiness.attached(3);
        readiness.waiting(3, Some("a commit"));
        assert_eq!(health.check(), Err("partition 3 waits for a commit, the log says why".to_owned()));
        readiness.waiting(3, None);
        assert_eq!(health.check(), Ok(()));
        readiness.waiting(4, Some("a commit"));
        assert_eq!(health.check(), Ok(()), "it is not ours");
    }

    #[test]
    fn a_stopped_partition_is_not_ready_until_another_instance_has_it() {
        let (health, readiness) = unready();
        readiness.taken(3);
        readiness.settled();
        readiness.attached(3);
        readiness.stopped(3, &Error::NoJetStream { url: "here".to_owned() });
        assert!(health.check().is_err_and(|reason| reason.starts_with("partition 3 stopped")));
        readiness.gone(3);
        assert_eq!(health.check(), Ok(()));
    }
}
