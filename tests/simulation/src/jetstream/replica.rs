//! One server's replica of a stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::jetstream::config::{Discard, StreamConfig};
use crate::jetstream::consumer::Consumer;
use crate::jetstream::disk::{Survivors, Sync};
use crate::jetstream::duplicates::Duplicates;
use crate::jetstream::log::{Change, Log};
use crate::jetstream::message::{Message, Subject};
use crate::jetstream::request::{Answer, Refusal};

/// A change that the servers of a stream agree on.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Store { messages: Vec<Arc<Message>>, stored_us: u64, is_batch: bool },
    Purge { filter: Subject, before: u64 },
    Delete { seq: u64 },
}

/// A republished result: at most once, in order, and never before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republished {
    /// Its live subject.
    pub subject: Subject,
    /// Its sequence in the stream.
    pub seq: u64,
    /// The sequence before it on its stored subject; 0 for none.
    pub previous: u64,
    /// The stored message.
    pub message: Arc<Message>,
}

/// One server's replica of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replica {
    pub(crate) log: Log,
    pub(crate) duplicates: Duplicates,
    pub(crate) consumers: BTreeMap<u64, Consumer>,
    /// Number of agreed entries that it has applied.
    pub(crate) applied: usize,
    /// Number of agreed entries that it has received.
    pub(crate) held: usize,
    /// Changes since the last sync.
    unsynced: Vec<Change>,
    /// The first sequence of the last entry.
    newest: u64,
    /// Upper bound of the sequences that consumers see.
    horizon: Option<u64>,
}

impl Replica {
    /// Applies the next entry; `live` receives the republished results.
    pub(crate) fn apply(
        &mut self,
        config: &StreamConfig,
        sync: Sync,
        entry: &Entry,
        live: Option<&mut Vec<Republished>>,
    ) -> Answer {
        let mut change = Change { after: self.log.last_seq(), removed: Vec::new() };
        let answer = match entry {
            Entry::Store { messages, stored_us, is_batch } => {
                self.newest = change.after + 1;
                let mut live = live;
                for message in messages {
                    self.store(config, message, *stored_us, &mut change, live.as_deref_mut());
                }
                let (seq, count) = (self.log.last_seq(), messages.len() as u64);
                if *is_batch { Answer::Committed { seq, count } } else { Answer::Stored { seq, is_duplicate: false } }
            }
            Entry::Purge { filter, before } => {
                let before = if *before == 0 { u64::MAX } else { *before };
                let seqs = self.log.before(filter, before);
                seqs.iter().for_each(|&seq| self.remove(seq, &mut change));
                Answer::Purged(seqs.len() as u64)
            }
            Entry::Delete { seq } => match self.log.get(*seq) {
                Some(_) => {
                    self.remove(*seq, &mut change);
                    Answer::Deleted
                }
                None if (self.log.first_seq()..=self.log.last_seq()).contains(seq) => Answer::Refused(Refusal::GONE),
                None => Answer::Refused(Refusal::OUTSIDE),
            },
        };
        if sync == Sync::Later {
            self.unsynced.push(change);
        }
        self.applied += 1;
        self.held = self.held.max(self.applied);
        self.horizon = None;
        answer
    }

    fn store(
        &mut self,
        config: &StreamConfig,
        message: &Arc<Message>,
        stored_us: u64,
        change: &mut Change,
        live: Option<&mut Vec<Republished>>,
    ) {
        let subject = &message.subject;
        let previous = self.log.last_on(subject);
        let seq = self.log.append(message, stored_us);
        self.consumers.values_mut().for_each(|consumer| consumer.notice(seq, subject));
        if message.headers.rollup {
            self.log.before(subject, seq).into_iter().for_each(|seq| self.remove(seq, change));
        }
        while config.max_per_subject.is_some_and(|max| self.log.count_on(subject) > max)
            && let Some(first) = self.log.first_on(subject)
        {
            self.remove(first, change);
        }
        while config.discard == Discard::Old
            && config.max_bytes.is_some_and(|max| self.log.bytes() > max)
            && let Some(first) = self.log.first().map(|stored| stored.seq)
        {
            self.remove(first, change);
        }
        if let Some(id) = &message.headers.message_id {
            self.duplicates.remember(id, seq, stored_us);
        }
        if let Some(live) = live
            && let Some(subject) = config.live_subject(subject)
        {
            live.push(Republished { subject, seq, previous, message: Arc::clone(message) });
        }
    }

    fn remove(&mut self, seq: u64, change: &mut Change) {
        change.removed.extend(self.log.remove(seq));
    }

    /// Deletes messages and forgets message ids that have expired.
    pub(crate) fn grow_older(&mut self, config: &StreamConfig, now_us: u64) {
        if let Some(max_us) = config.max_age_us {
            while let Some(first) = self.log.first()
                && first.stored_us + max_us <= now_us
            {
                let seq = first.seq;
                drop(self.log.remove(seq));
            }
        }
        while let Some(seq) = self.log.ended(now_us) {
            drop(self.log.remove(seq));
        }
        self.duplicates.forget(config.duplicates_us, now_us);
    }

    /// Syncs everything to disk.
    pub(crate) fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// Undoes what a power cut loses; returns how many messages of the next entry survive.
    pub(crate) fn lose(&mut self, sync: Sync, survivors: Survivors) -> usize {
        if sync == Sync::Always {
            return 0;
        }
        let kept = survivors.commits.min(self.unsynced.len());
        let is_torn = kept < self.unsynced.len();
        for change in self.unsynced.split_off(kept).into_iter().rev() {
            self.log.undo(change);
            self.applied -= 1;
        }
        self.held = self.applied;
        // The rest is on disk now.
        self.unsynced.clear();
        if is_torn { survivors.messages } else { 0 }
    }

    /// Restarts with the contents of the disk. Consumers are in memory: a single server forgets them, a server of a
    /// cluster creates them again at their original start.
    pub(crate) fn restart(&mut self, config: &StreamConfig, is_alone: bool, now_us: u64) {
        self.duplicates = Duplicates::of(&self.log, config.duplicates_us, now_us);
        self.horizon = None;
        if is_alone {
            self.consumers.clear();
        }
        self.consumers.values_mut().for_each(Consumer::begin_again);
    }

    /// Shows consumers only the first messages of the latest entry, as while it is being applied.
    pub(crate) fn show_only(&mut self, messages: u64) {
        self.horizon = Some(self.newest.saturating_sub(1) + messages);
    }

    /// Shows consumers everything.
    pub(crate) fn show_all(&mut self) {
        self.horizon = None;
    }

    /// The last sequence that consumers see.
    pub(crate) fn visible(&self) -> u64 {
        self.horizon.unwrap_or(u64::MAX)
    }
}
