//! What the server says beside its answers: that it is gone, that it is back, that something is forbidden.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ClientError, Event, ServerError};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use super::Reminder;

/// What was said so far. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// Counts connects and disconnects: an answer to what was asked before a change may never come.
    epoch: watch::Receiver<u64>,
    /// The newest refusal for lack of permission.
    denial: Arc<Mutex<Option<String>>>,
}

impl Watch {
    /// Something to ask, and what the client is to call with each event. The gauge is 1 while the server is connected.
    pub(super) fn new(connected: Gauge) -> (Self, impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static) {
        let (sender, epoch) = watch::channel(0);
        let denial = Arc::new(Mutex::new(None));
        let listener = Listener { epoch: sender, denial: denial.clone(), reminder: Mutex::default(), connected };
        let listen = move |event| {
            listener.hear(event);
            std::future::ready(())
        };
        (Self { epoch, denial }, listen)
    }

    /// Waits for the first event, no longer than `limit`.
    pub(super) async fn begun(&mut self, limit: Duration) {
        drop(tokio::time::timeout(limit, self.epoch.wait_for(|&epoch| epoch > 0)).await);
    }

    /// Changes whenever the connection goes or comes back.
    pub(super) fn epoch(&self) -> watch::Receiver<u64> {
        let mut epoch = self.epoch.clone();
        epoch.mark_unchanged();
        epoch
    }

    /// The missing permission that the server named together with `subject`, if it did.
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
    fn hear(&self, event: Event) {
        match &event {
            Event::Connected => tracing::info!("connected to the NATS server"),
            Event::Disconnected => {
                tracing::warn!("lost the NATS server, reconnecting");
                self.with_reminder(Reminder::postpone);
            }
            Event::SlowConsumer(_) => tracing::warn!("messages came faster than they were read; some were dropped"),
            Event::ServerError(ServerError::Other(detail))
                if detail.to_lowercase().contains("permissions violation") =>
            {
                tracing::warn!(%detail, "the NATS server denied a request");
                *self.denial.lock().unwrap_or_else(PoisonError::into_inner) = Some(detail.clone());
            }
            Event::ServerError(error) => tracing::warn!(%error, "the NATS server complains"),
            // One warning says that the server is away; each attempt to reach it again is no news for a minute.
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
