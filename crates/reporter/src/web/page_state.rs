//! State of the page, shared by the view updater that fills it and the handlers that answer requests.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bus::Connection;
use service::{Health, Shutdown};

use super::events::Clients;
use super::events::live::Live;
use super::health_line::health_line;
use crate::query::Newest;
use crate::query::pipeline::PipelineStatus;
use crate::query::rows::PipelineRow;
use crate::summary::MarketCounts;
use crate::view::View;

/// State of the page.
#[derive(Debug)]
pub(super) struct PageState {
    view: Arc<Mutex<View>>,
    live: Mutex<Live>,
    pub(super) clients: Clients,
    status: Mutex<PipelineStatus>,
    connection: OnceLock<Connection>,
    pub(super) health: Health,
}

impl PageState {
    /// Returns the state with this view, and without a status. Clients of events end on shutdown.
    pub(super) fn new(view: View, shutdown: Shutdown) -> Self {
        let now = now();
        let pipeline = PipelineStatus::default().row(None, now.as_millis() as i64);
        let view = Arc::new(Mutex::new(view));
        // Numbers of events begin with the time in microseconds: another start of the reporter has others.
        let live = Live::new(view.clone(), now.as_micros() as u64, pipeline);
        Self {
            view,
            live: Mutex::new(live),
            clients: Clients::new(shutdown),
            status: Mutex::new(PipelineStatus::default()),
            connection: OnceLock::new(),
            health: Health::new(),
        }
    }

    /// The newest rows, to be looked at.
    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events. It is never asked for while the rows are locked.
    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> MutexGuard<'_, PipelineStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the connection, for answers that read streams. There is one in the life of a process.
    pub(super) fn connected(&self, connection: &Connection) {
        self.connection.get_or_init(|| connection.clone());
        self.status().is_connected = true;
    }

    /// Sends the state of the pipeline to all clients of events, if it has changed.
    pub(super) fn publish_pipeline(&self) {
        let row = self.pipeline();
        if self.live().set_pipeline(row) {
            self.clients.wake_all();
        }
    }

    /// Returns the state of the pipeline as one line of text.
    pub(super) fn health_line(&self) -> String {
        let newest = self.view().newest_times();
        health_line(&self.status(), newest, now_ms())
    }
}

impl Newest for PageState {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view()
    }

    fn pipeline(&self) -> PipelineRow {
        let newest = self.view().newest_times();
        self.status().row(newest, now_ms())
    }

    fn counts(&self) -> MarketCounts {
        self.status().counts.clone()
    }

    fn connection(&self) -> Option<Connection> {
        self.connection.get().cloned()
    }
}

/// Returns the local time in milliseconds, which is used only for the age of data.
fn now_ms() -> i64 {
    now().as_millis() as i64
}

/// Returns the local time since the epoch.
fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
