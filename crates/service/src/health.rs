//! Health of a service: whether it is alive, ready, has fresh data, and its metrics.
//!
//! All tasks of a service share one [`Health`] and report their own part to it. `http` serves it to people and probes,
//! `systemd` reports it to systemd.

mod ask;
mod data;
mod http;
mod pulse;
pub(crate) mod serve;
mod systemd;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::metrics::Metrics;

pub use ask::AskArgs;
pub use data::Freshness;
use pulse::Pulses;
pub use pulse::{BEAT, Pulse};

/// Health of a service, or of one of its parts. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
    /// The part that reports; empty for the service itself.
    part: &'static str,
}

#[derive(Debug)]
struct Shared {
    parts: Mutex<BTreeMap<&'static str, Part>>,
    /// Notified of every change of a part.
    changes: watch::Sender<()>,
    pulses: Pulses,
    metrics: Metrics,
}

/// Latest report of a part.
#[derive(Debug, Default)]
struct Part {
    /// The reason for not being ready; `None` when ready.
    obstacle: Option<String>,
    /// Freshness of its data; `None` when the part has no data of its own.
    data: Option<Freshness>,
}

impl Default for Health {
    fn default() -> Self {
        let shared = Shared {
            parts: Mutex::default(),
            changes: watch::Sender::new(()),
            pulses: Pulses::default(),
            metrics: Metrics::default(),
        };
        Self { shared: Arc::new(shared), part: "" }.because("starting")
    }
}

impl Health {
    /// Creates the health of a service that is not ready, for the reason "starting".
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part of the service, not ready yet. The service is ready when all its parts are.
    pub fn part(&self, part: &'static str) -> Self {
        Self { shared: Arc::clone(&self.shared), part }.because("starting")
    }

    /// Reports this part as ready.
    pub fn ready(&self) {
        self.report(None);
    }

    /// Reports this part as not ready, with the reason.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.report(Some(reason.into()));
    }

    /// Reports the freshness of this part's data.
    pub fn data(&self, data: Freshness) {
        self.parts().entry(self.part).or_default().data = Some(data);
    }

    /// Removes this part; its reports no longer count.
    pub fn retire(&self) {
        self.parts().remove(self.part);
        self.shared.changes.send_replace(());
    }

    /// Starts watching a loop that must keep moving until the pulse is dropped.
    pub fn pulse(&self, of: impl Into<String>) -> Pulse {
        self.shared.pulses.start(of.into())
    }

    /// The metrics of the service.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Checks that all parts are ready.
    ///
    /// # Errors
    /// The reason of a part that is not ready, with its name.
    pub fn check(&self) -> Result<(), String> {
        let parts = self.parts();
        let reason = parts.iter().find_map(|(part, report)| report.obstacle.as_ref().map(|reason| (part, reason)));
        match reason {
            None => Ok(()),
            Some((&"", reason)) => Err(reason.clone()),
            Some((part, reason)) => Err(format!("{part}: {reason}")),
        }
    }

    /// Checks that every watched loop has moved lately.
    ///
    /// # Errors
    /// The stuck loop, and for how long it has not moved.
    pub fn check_alive(&self) -> Result<(), String> {
        self.shared.pulses.check()
    }

    /// Checks that the newest data of every part is at most `within` old at `now`, and describes its age.
    ///
    /// # Errors
    /// The part with older data, or with none.
    pub fn check_fresh(&self, now: SystemTime, within: Duration) -> Result<String, String> {
        let parts = self.parts();
        data::check(parts.iter().filter_map(|(part, report)| Some((*part, report.data?))), now, within)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Part>> {
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, obstacle: Option<String>) {
        let mut parts = self.parts();
        let reported = &mut parts.entry(self.part).or_default().obstacle;
        if *reported != obstacle {
            *reported = obstacle;
            self.shared.changes.send_replace(());
        }
    }

    fn because(self, reason: &str) -> Self {
        self.not_ready(reason);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_all_its_parts_are() {
        let health = Health::new();
        let archive = health.part("archive");
        health.ready();
        assert_eq!(health.check(), Err("archive: starting".to_owned()));
        archive.ready();
        assert_eq!(health.check(), Ok(()));
        archive.not_ready("12 messages behind");
        assert_eq!(health.check(), Err("archive: 12 messages behind".to_owned()));
        archive.retire();
        assert_eq!(health.check(), Ok(()));
        health.not_ready("connection lost");
        assert_eq!(health.check(), Err("connection lost".to_owned()));
    }

    #[test]
    fn subscribers_are_notified_of_changes_only() {
        let health = Health::new();
        let mut changes = health.shared.changes.subscribe();
        health.not_ready("starting");
        assert!(!changes.has_changed().unwrap());
        health.ready();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        health.ready();
        assert!(!changes.has_changed().unwrap());
    }
}
