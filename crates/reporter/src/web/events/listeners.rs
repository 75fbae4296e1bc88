//! Wakes clients: those of an instrument when it has news, those of all instruments always.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use market::Instrument;
use tokio::sync::watch;

use super::log::Filter;

/// The clients that wait, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_filter: Mutex<HashMap<Filter, watch::Sender<()>>>,
}

impl Listeners {
    /// Returns a receiver that changes whenever there is news for this filter.
    pub(super) fn subscribe(&self, filter: &Filter) -> watch::Receiver<()> {
        let mut by_filter = self.by_filter();
        by_filter.retain(|_, sender| sender.receiver_count() > 0);
        by_filter.entry(filter.clone()).or_default().subscribe()
    }

    /// Wakes the clients of these instruments.
    pub(super) fn wake(&self, instruments: impl IntoIterator<Item = Instrument>) {
        let by_filter = self.by_filter();
        let filters = instruments.into_iter().map(Filter::One).chain([Filter::All]);
        filters.filter_map(|filter| by_filter.get(&filter)).for_each(|sender| sender.send_modify(|()| {}));
    }

    /// Wakes all clients.
    pub(super) fn wake_all(&self) {
        self.by_filter().values().for_each(|sender| sender.send_modify(|()| {}));
    }

    fn by_filter(&self) -> MutexGuard<'_, HashMap<Filter, watch::Sender<()>>> {
        self.by_filter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
