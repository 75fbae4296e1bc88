//! The message ids that a stream remembers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::jetstream::log::Log;

/// The message ids of a time window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Duplicates {
    seqs: BTreeMap<Arc<str>, u64>,
    /// In order of arrival.
    seen: VecDeque<(u64, Arc<str>)>,
}

impl Duplicates {
    /// The ids that a restarted server knows: those of stored messages, not of purged ones.
    pub(crate) fn of(log: &Log, window_us: u64, now_us: u64) -> Self {
        let mut duplicates = Self::default();
        for stored in log.iter().filter(|stored| stored.stored_us + window_us > now_us) {
            if let Some(id) = &stored.message.headers.message_id {
                duplicates.remember(id, stored.seq, stored.stored_us);
            }
        }
        duplicates
    }

    pub(crate) fn remember(&mut self, id: &Arc<str>, seq: u64, now_us: u64) {
        self.seqs.insert(Arc::clone(id), seq);
        self.seen.push_back((now_us, Arc::clone(id)));
    }

    /// The sequence under which an id was stored.
    pub(crate) fn seq(&self, id: &str) -> Option<u64> {
        self.seqs.get(id).copied()
    }

    /// Forgets ids that are older than the window.
    pub(crate) fn forget(&mut self, window_us: u64, now_us: u64) {
        while let Some((seen_us, id)) = self.seen.front()
            && seen_us + window_us <= now_us
        {
            self.seqs.remove(id);
            self.seen.pop_front();
        }
    }
}
