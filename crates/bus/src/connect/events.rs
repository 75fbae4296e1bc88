//! Connection events from the client: connects, disconnects, denied permissions.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ClientError, Event, ServerError};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use crate::reminder::Reminder;

/// State of the connection as reported by events. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ConnectionEvents {
    /// Counts connects and disconnects: a request from before a change may never be answered.
    epoch: watch::Receiver<u64>,
    /// The latest message about a missing permission.
    denial: Arc<Mutex<Option<String>>>,
}

impl ConnectionEvents {
    /// Returns the state and the callback for the client's events. The gauge is 1 while the server is connected.
    pub(super) fn new(connected: Gauge) -> (Self, impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static) {
        let (sender, epoch) = watch::channel(0);
        let denial = Arc::new(Mutex::new(None));
        let listener = Listener { epoch: sender, denial: denial.clone(), reminder: Mutex::default(), connected };
        let listen = move |event| {
            listener.handle(event);
            std::future::ready(())
        };
        (Self { epoch, denial }, listen)
    }

    /// Waits for the first event, no longer than `limit`.
    pub(super) async fn first_event(&mut self, limit: Duration) {
        drop(tokio::time::timeout(limit, self.epoch.wait_for(|&epoch| epoch > 0)).await);
    }

    /// A receiver that changes on every connect and disconnect.
    pub(super) fn epoch(&self) -> watch::Receiver<u64> {
        let mut epoch = self.epoch.clone();
        epoch.mark_unchanged();
        epoch
    }

    /// The missing permission, if the server named one together with `subject`.
    pub(super) fn denial_of(&self, subject: &str) -> Option<String> {
        let denial = self.denial.lock().unwrap_or_else(PoisonError::into_inner);
        denial.clone().filter(|detail| detail.contains(subject))
    }
}

struct Listener {
    epoch: watch::Sender<u64>,
    denial: Arc<Mutex<Option<String>>>,
    reminder: Mutex<Reminder>,
    connected: Gauge,
}

impl Listener {
    fn handle(&self, event: Event) {
        match &event {
            Event::Connected => tracing::info!("connected to the NATS server"),
            Event::Disconnected => {
                tracing::warn!("lost the NATS server, reconnecting");
                self.with_reminder(Reminder::postpone);
            }
            Event::SlowConsumer(_) => tracing::warn!("slow consumer: the client dropped messages"),
            Event::ServerError(ServerError::Other(detail))
                if detail.to_lowercase().contains("permissions violation") =>
            {
                tracing::warn!(%detail, "the NATS server denied a request");
                *self.denial.lock().unwrap_or_else(PoisonError::into_inner) = Some(detail.clone());
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS server error"),
            // One warning reports the outage; further attempts to reconnect are logged once a minute.
            Event::ClientError(ClientError::Other(detail)) => {
                self.with_reminder(|reminder| reminder.warn(&format!("the NATS server is not back ({detail})")));
            }
            other => tracing::debug!(event = %other, "NATS connection"),
        }
        if matches!(event, Event::Connected | Event::Disconnected) {
            self.connected.set(i64::from(matches!(event, Event::Connected)));
            self.epoch.send_modify(|epoch| *epoch += 1);
        }
    }

    fn with_reminder(&self, change: impl FnOnce(&mut Reminder)) {
        change(&mut self.reminder.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
