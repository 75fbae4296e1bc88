//! Atomic batches: staging of their messages, and the checks before they are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::jetstream::config::{Discard, StreamConfig};
use crate::jetstream::duplicates::Duplicates;
use crate::jetstream::log::Log;
use crate::jetstream::message::{BatchPlace, Message, Subject};
use crate::jetstream::request::Refusal;

/// Maximum number of messages in a batch.
pub const MESSAGES_MAX: usize = 1_000;
/// Maximum length of a batch id in characters.
const ID_MAX: usize = 64;

/// Limits of a server for batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Maximum number of open batches per stream.
    pub open: usize,
    /// Timeout of an open batch without a message, in microseconds.
    pub silence_us: u64,
}

impl Default for Allowed {
    /// As in nats.conf.
    fn default() -> Self {
        Self { open: 64, silence_us: 3_000_000 }
    }
}

/// The open batches of a stream, at its leader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Staging {
    open: BTreeMap<Arc<str>, Open>,
}

#[derive(Debug, Clone)]
struct Open {
    messages: Vec<Arc<Message>>,
    heard_us: u64,
}

impl Staging {
    /// Adds the next message of a batch; returns the batch when it is complete.
    pub(crate) fn add(
        &mut self,
        allowed: Allowed,
        place: &BatchPlace,
        message: Arc<Message>,
        now_us: u64,
    ) -> Result<Option<Vec<Arc<Message>>>, Refusal> {
        if place.id.len() > ID_MAX {
            return Err(Refusal::BATCH_ID);
        }
        self.open.retain(|_, open| open.heard_us + allowed.silence_us > now_us);
        let is_too_large = place.number > MESSAGES_MAX as u64;
        if !self.open.contains_key(&place.id) {
            if is_too_large {
                return Err(Refusal::TOO_LARGE);
            }
            if place.number != 1 {
                return Err(Refusal::INCOMPLETE);
            }
            if self.open.len() >= allowed.open {
                return Err(Refusal::TOO_MANY_OPEN);
            }
        }
        let none = || Open { messages: Vec::new(), heard_us: now_us };
        let open = self.open.entry(Arc::clone(&place.id)).or_insert_with(none);
        // A number out of order ends the batch, even if another sender sent it.
        let is_next = place.number == open.messages.len() as u64 + 1;
        if !is_next || is_too_large {
            self.open.remove(&place.id);
            return Err(if is_next { Refusal::TOO_LARGE } else { Refusal::INCOMPLETE });
        }
        open.heard_us = now_us;
        open.messages.push(message);
        Ok(if place.commits { self.open.remove(&place.id).map(|open| open.messages) } else { None })
    }

    /// Drops all open batches, as after a restart or an election.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

/// Messages that are proposed and not stored yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight {
    subjects: BTreeMap<Subject, u64>,
    ids: BTreeSet<Arc<str>>,
    bytes: u64,
}

impl InFlight {
    pub(crate) fn add(&mut self, messages: &[Arc<Message>]) {
        for message in messages {
            *self.subjects.entry(Arc::clone(&message.subject)).or_default() += 1;
            self.bytes += message.size();
            self.ids.extend(message.headers.message_id.clone());
        }
    }

    pub(crate) fn remove(&mut self, messages: &[Arc<Message>]) {
        for message in messages {
            self.bytes -= message.size();
            if let Some(id) = &message.headers.message_id {
                self.ids.remove(id);
            }
            if let Some(count) = self.subjects.get_mut(&message.subject) {
                *count -= 1;
                if *count == 0 {
                    self.subjects.remove(&message.subject);
                }
            }
        }
    }

    fn has(&self, subject: &str) -> bool {
        self.subjects.contains_key(subject)
    }
}

/// The state against which a leader checks messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) config: &'a StreamConfig,
    pub(crate) log: &'a Log,
    pub(crate) duplicates: &'a Duplicates,
    pub(crate) in_flight: &'a InFlight,
}

impl View<'_> {
    /// Checks whether all of these messages may be stored together. The first violation is the answer.
    pub(crate) fn judge(&self, messages: &[Arc<Message>]) -> Result<(), Refusal> {
        let (mut written, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let mut bytes = self.log.bytes() + self.in_flight.bytes;
        for message in messages {
            let (subject, headers) = (message.subject.as_ref(), &message.headers);
            if headers.ttl_s.is_some() && !self.config.allows_ttl {
                return Err(Refusal::NO_TTL);
            }
            if let Some(id) = headers.message_id.as_deref() {
                if !ids.insert(id) || self.duplicates.seq(id).is_some() {
                    return Err(Refusal::DUPLICATE);
                }
                if self.in_flight.ids.contains(id) {
                    return Err(Refusal::DUPLICATE_UNKNOWN);
                }
            }
            if let Some(expected) = headers.expected {
                if written.contains(subject) || self.in_flight.has(subject) {
                    return Err(Refusal::WRONG_LAST_UNKNOWN);
                }
                let last = self.log.last_on(subject);
                if last != expected {
                    return Err(Refusal::wrong_last(last));
                }
            }
            if headers.rollup && (!self.config.allows_rollup || written.contains(subject)) {
                return Err(Refusal::ROLLUP);
            }
            written.insert(subject);
            bytes += message.size();
            let is_full = self.config.max_bytes.is_some_and(|max| bytes > max);
            if is_full && self.config.discard == Discard::New {
                return Err(Refusal::FULL);
            }
        }
        Ok(())
    }
}
