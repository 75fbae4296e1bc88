//! What a service says of itself: whether it lives, is useful, has fresh data, and what it counts.
//!
//! One [`Health`] goes through a service, and whoever knows something says it there. `http` answers people and probes with
//! it, `systemd` tells systemd.

mod ask;
mod data;
mod http;
mod pulse;
mod systemd;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::exit::{Code, WithCode};
use crate::http::{Bounds, Hosts, serve};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

pub use ask::AskArgs;
pub use data::Data;
use pulse::Pulses;
pub use pulse::{BEAT, Pulse};

/// Flags of every service that say where its health can be asked.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Health")]
pub struct HealthArgs {
    /// Serve /healthz, /readyz, /fresh and /metrics here, such as 127.0.0.1:9101; port 0 takes a free one and logs it
    #[arg(long, env = "CANDLEWIRE_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,

    /// /fresh says no when the newest data is older than this, by its own time
    #[arg(long, env = "CANDLEWIRE_FRESH_WITHIN", default_value = "10m", value_name = "SPAN",
        value_parser = humantime::parse_duration)]
    pub fresh_within: Duration,

    /// Names, with commas between, under which health and page also answer; addresses, localhost and names without a dot
    /// need none
    #[arg(long, env = "CANDLEWIRE_ALLOWED_HOSTS", value_name = "NAMES", default_value_t, hide_default_value = true)]
    pub allowed_hosts: Hosts,
}

/// Supervisors and collectors come one by one, and a step needs its files for its work.
const BOUNDS: Bounds = Bounds::of_connections(64);

/// What a service says of itself, or one of its parts. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
    /// Which part speaks; nameless for the service itself.
    part: &'static str,
}

#[derive(Debug)]
struct Shared {
    parts: Mutex<BTreeMap<&'static str, Part>>,
    /// Told about every change of a part.
    changes: watch::Sender<()>,
    pulses: Pulses,
    metrics: Metrics,
}

/// What a part said last.
#[derive(Debug, Default)]
struct Part {
    /// Why it is not useful, if it is not.
    obstacle: Option<String>,
    /// How new its data is, if it has any to speak of.
    data: Option<Data>,
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
    /// Not ready yet, for the reason "starting".
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of the service, not ready yet. The service is ready when all its parts are.
    pub fn part(&self, part: &'static str) -> Self {
        Self { shared: Arc::clone(&self.shared), part }.because("starting")
    }

    /// Says that it is useful from now on.
    pub fn ready(&self) {
        self.say(None);
    }

    /// Says why it is not useful at the moment.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.say(Some(reason.into()));
    }

    /// Says how new its data is.
    pub fn data(&self, data: Data) {
        self.parts().entry(self.part).or_default().data = Some(data);
    }

    /// Takes a part back: what it said no longer counts.
    pub fn retire(&self) {
        self.parts().remove(self.part);
        self.shared.changes.send_replace(());
    }

    /// A loop that must keep moving, from now until the pulse is dropped.
    pub fn pulse(&self, of: impl Into<String>) -> Pulse {
        self.shared.pulses.start(of.into())
    }

    /// What the service counts and measures.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Ready with all parts, or the reason why not.
    ///
    /// # Errors
    /// The reason, with the part that gives it.
    pub fn check(&self) -> Result<(), String> {
        let parts = self.parts();
        let reason = parts.iter().find_map(|(part, said)| said.obstacle.as_ref().map(|reason| (part, reason)));
        match reason {
            None => Ok(()),
            Some((&"", reason)) => Err(reason.clone()),
            Some((part, reason)) => Err(format!("{part}: {reason}")),
        }
    }

    /// Alive: every loop has moved lately.
    ///
    /// # Errors
    /// The loop that stands still, and for how long.
    pub fn check_alive(&self) -> Result<(), String> {
        self.shared.pulses.check()
    }

    /// Whether the newest data of every part is at most `within` old at `now`; in words, either way.
    ///
    /// # Errors
    /// The part whose data is older, or that there is none.
    pub fn check_fresh(&self, now: SystemTime, within: Duration) -> Result<String, String> {
        let parts = self.parts();
        data::check(parts.iter().filter_map(|(part, said)| Some((*part, said.data?))), now, within)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Part>> {
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, obstacle: Option<String>) {
        let mut parts = self.parts();
        let said = &mut parts.entry(self.part).or_default().obstacle;
        if *said != obstacle {
            *said = obstacle;
            self.shared.changes.send_replace(());
        }
    }

    fn because(self, reason: &str) -> Self {
        self.not_ready(reason);
        self
    }

    /// Answers at the address given, if any, until shutdown, and tells systemd, if it started us. Returns once the port
    /// is held.
    ///
    /// # Errors
    /// When the address cannot be bound; the exit code is that of a bad configuration.
    pub async fn serve(&self, args: &HealthArgs, shutdown: Shutdown) -> anyhow::Result<()> {
        if systemd::has_started_us() {
            tokio::spawn(systemd::report(self.clone(), shutdown.clone()));
        }
        let Some(addr) = args.http else { return Ok(()) };
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot listen on {addr} for health; choose another address with --http"))
            .exit_code(Code::BadConfig)?;
        tracing::info!(addr = %listener.local_addr()?, "health is served");
        let routes = http::routes(self.clone(), args.fresh_within);
        tokio::spawn(serve(listener, routes, args.allowed_hosts.clone(), BOUNDS, shutdown));
        Ok(())
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
    fn whoever_listens_hears_of_changes_and_of_nothing_else() {
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
