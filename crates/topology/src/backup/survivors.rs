//! Survivors of a stream: of several messages that replace each other, the newest.

use std::collections::HashMap;

use super::file::Record;

/// Counts the messages of a stream that are not replaced later. Remembers one number per checkpoint, not the messages.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    /// Sequence and payload bytes of the newest replacing message, by subject.
    newest: HashMap<String, (u64, u64)>,
    /// All other messages.
    messages: u64,
    bytes: u64,
    first_seq: Option<u64>,
}

impl Survivors {
    pub(super) fn count(&mut self, record: &Record) {
        let bytes = record.payload.len() as u64;
        if record.replaces {
            self.newest.insert(record.subject.clone(), (record.seq, bytes));
        } else {
            self.messages += 1;
            self.bytes += bytes;
            self.first_seq.get_or_insert(record.seq);
        }
    }

    /// Whether no later record replaces this one. Valid once all are counted.
    pub(super) fn has(&self, record: &Record) -> bool {
        !record.replaces || self.newest.get(&record.subject).is_some_and(|&(seq, _)| seq == record.seq)
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages + self.newest.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.newest.values().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// First sequence of a survivor.
    pub(super) fn first_seq(&self) -> Option<u64> {
        self.newest.values().map(|&(seq, _)| seq).chain(self.first_seq).min()
    }
}
