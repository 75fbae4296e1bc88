//! One server's copy of a stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::jetstream::config::{Config, Discard};
use crate::jetstream::consumer::Consumer;
use crate::jetstream::disk::{Survivors, Sync};
use crate::jetstream::duplicates::Duplicates;
use crate::jetstream::log::{Change, Log};
use crate::jetstream::message::{Message, Subject};
use crate::jetstream::request::{Answer, Refusal};

/// A change of a stream that its servers agree on.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Store { messages: Vec<Arc<Message>>, stored_us: u64, is_batch: bool },
    Purge { filter: Subject, before: u64 },
    Delete { seq: u64 },
}

/// A stored result as its stream publishes it again: at most once, in order, and never before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Where.
    pub subject: Subject,
    /// Its sequence in the stream.
    pub seq: u64,
    /// The sequence before it on its stored subject; 0 for none.
    pub previous: u64,
    /// The message as it is stored.
    pub message: Arc<Message>,
}

/// One server's copy of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copy {
    pub(crate) log: Log,
    pub(crate) duplicates: Duplicates,
    pub(crate) consumers: BTreeMap<u64, Consumer>,
    /// How many of the agreed entries it has applied.
    pub(crate) applied: usize,
    /// How many of them it has been sent.
    pub(crate) held: usize,
    /// What it did since it last wrote its work through.
    unsynced: Vec<Change>,
    /// The first sequence of the last entry.
    newest: u64,
    /// Consumers see nothing beyond.
    horizon: Option<u64>,
}

impl Copy {
    /// Applies the next entry; `live` takes the results that are published again.
    pub(crate) fn apply(&mut self, config: &Config, sync: Sync, entry: &Entry, live: Option<&mut Vec<Live>>) -> Answer {
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
        config: &Config,
        message: &Arc<Message>,
        stored_us: u64,
        change: &mut Change,
        live: Option<&mut Vec<Live>>,
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
            live.push(Live { subject, seq, previous, message: Arc::clone(message) });
        }
    }

    fn remove(&mut self, seq: u64, change: &mut Change) {
        change.removed.extend(self.log.remove(seq));
    }

    /// Removes messages and forgets message ids that are too old.
    pub(crate) fn grow_older(&mut self, config: &Config, now_us: u64) {
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

    /// Writes everything through to the disk.
    pub(crate) fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// Takes back what a power cut takes; returns how many messages of the next entry are left of it.
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
        // The rest is on the disk now.
        self.unsynced.clear();
        if is_torn { survivors.messages } else { 0 }
    }

    /// Starts again with what the disk has. Consumers live in memory: a server alone forgets them, one of several makes them
    /// anew from where they once began.
    pub(crate) fn restart(&mut self, config: &Config, is_alone: bool, now_us: u64) {
        self.duplicates = Duplicates::of(&self.log, config.duplicates_us, now_us);
        self.horizon = None;
        if is_alone {
            self.consumers.clear();
        }
        self.consumers.values_mut().for_each(Consumer::begin_again);
    }

    /// Shows consumers only the first messages of the newest entry, as while it is being applied.
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
