//! State of the page, shared by the view updater that fills it and the handlers that answer requests.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bus::Connection;
use service::{Health, Shutdown};

use super::events::Clients;
use super::events::live::Live;
use super::plot_file::PlotFile;
use super::snapshot::{self, Choice, LiveSnapshot, TablesSnapshot};
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
    /// Version of the tables; changes whenever a table does.
    version: AtomicU64,
    /// Time of the last price that was committed while the reporter ran, by the local clock; 0 for none.
    moved_ms: AtomicI64,
    pub(super) health: Health,
    pub(super) plot: PlotFile,
}

impl PageState {
    /// Returns the state with this view and plot, and without a status. Clients of events end on shutdown.
    pub(super) fn new(view: View, plot: PlotFile, shutdown: Shutdown) -> Self {
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
            version: AtomicU64::new(0),
            moved_ms: AtomicI64::new(0),
            health: Health::new(),
            plot,
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

    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) {
        self.moved_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Sends the state of the pipeline to all clients of events, if it has changed.
    pub(super) fn publish_pipeline(&self) {
        let row = self.pipeline();
        if self.live().set_pipeline(row) {
            self.clients.wake_all();
        }
    }

    pub(super) fn live_snapshot(&self, choice: &Choice) -> LiveSnapshot {
        let freshness = snapshot::Freshness { now_ms: now_ms(), moved_ms: self.moved_ms.load(Ordering::Relaxed) };
        let version = self.version.load(Ordering::Relaxed);
        let plot = self.plot.version();
        snapshot::live(&self.view(), &self.status(), choice, freshness, snapshot::PartVersions { version, plot })
    }

    /// Returns the tables of the chosen instrument; `None` if it has no data.
    pub(super) fn tables(&self, choice: &Choice) -> Option<TablesSnapshot> {
        let version = self.version.load(Ordering::Relaxed);
        snapshot::tables(&self.view(), choice, version)
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
