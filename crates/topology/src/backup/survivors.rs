//! What counts of all that was read: of several messages that take each other's place, the newest.

use std::collections::HashMap;

use super::file::Record;

/// The messages of a stream that count. Remembers one number a checkpoint, not the messages.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    /// By subject, of those that replace: sequence and bytes of the newest.
    newest: HashMap<String, (u64, u64)>,
    /// The others.
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

    /// Whether a record was not replaced by a later one. To be asked when all are counted.
    pub(super) fn has(&self, record: &Record) -> bool {
        !record.replaces || self.newest.get(&record.subject).is_some_and(|&(seq, _)| seq == record.seq)
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages + self.newest.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.newest.values().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Sequence of the first one.
    pub(super) fn first_seq(&self) -> Option<u64> {
        self.newest.values().map(|&(seq, _)| seq).chain(self.first_seq).min()
    }
}
