//! Whether a step is useful: connected, every partition at its place, none stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_nats::connection::State;
use service::Health;

use crate::connect::Connection;

/// What the workers of a process know together. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Readiness(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    health: Health,
    /// Partitions that have not found their place yet.
    missing: AtomicU32,
    has_stopped: AtomicBool,
}

impl Readiness {
    pub(super) fn new(partitions: u32, health: Health) -> Self {
        Self(Arc::new(Shared { health, missing: AtomicU32::new(partitions), has_stopped: AtomicBool::new(false) }))
    }

    /// A partition has found its place for the first time.
    pub(super) fn attached(&self) {
        if self.0.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("ready");
            self.refresh();
        }
    }

    /// A partition has stopped for good; the process stays up for the others, but it is not ready any more.
    pub(super) fn stopped(&self, reason: String) {
        self.0.has_stopped.store(true, Ordering::Relaxed);
        self.0.health.not_ready(reason);
    }

    /// Follows the connection for as long as the process lives.
    pub(super) async fn follow(self, connection: Connection) {
        let mut epoch = connection.epoch();
        while epoch.changed().await.is_ok() {
            if connection.client().connection_state() == State::Connected {
                self.refresh();
            } else if !self.0.has_stopped.load(Ordering::Relaxed) {
                self.0.health.not_ready("the NATS server is away");
            }
        }
    }

    fn refresh(&self) {
        if self.0.missing.load(Ordering::Relaxed) == 0 && !self.0.has_stopped.load(Ordering::Relaxed) {
            self.0.health.ready();
        }
    }
}
