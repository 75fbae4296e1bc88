//! The messages of a stream, in order and by subject, so that no read visits more than it returns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::jetstream::message::{LogEntry, Message, Subject, matches};

/// Messages that are scanned before the index by subject is used.
const SCAN: usize = 32;
const SECOND_US: u64 = 1_000_000;

/// The messages of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    messages: BTreeMap<u64, LogEntry>,
    /// Sequences by subject, ascending.
    by_subject: BTreeMap<Subject, VecDeque<u64>>,
    /// Messages with a TTL, by their time of deletion.
    ending: BTreeSet<(u64, u64)>,
    last_seq: u64,
    bytes: u64,
}

/// A change of a log, kept to undo it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// The last sequence before it.
    pub(crate) after: u64,
    /// The messages that it removed.
    pub(crate) removed: Vec<LogEntry>,
}

impl Log {
    /// The first existing sequence; the next sequence when the log was emptied; 0 when it never had a message.
    pub(crate) fn first_seq(&self) -> u64 {
        let next = if self.last_seq == 0 { 0 } else { self.last_seq + 1 };
        self.messages.first_key_value().map_or(next, |(&seq, _)| seq)
    }

    /// The last assigned sequence.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Number of messages.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every message, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LogEntry> {
        self.messages.values()
    }

    /// The first message.
    pub(crate) fn first(&self) -> Option<&LogEntry> {
        self.messages.first_key_value().map(|(_, stored)| stored)
    }

    /// The message of a sequence.
    pub(crate) fn get(&self, seq: u64) -> Option<&LogEntry> {
        self.messages.get(&seq)
    }

    /// The last sequence on an exact subject; 0 for none.
    pub(crate) fn last_on(&self, subject: &str) -> u64 {
        self.by_subject.get(subject).and_then(|seqs| seqs.back()).copied().unwrap_or_default()
    }

    /// Number of messages on an exact subject.
    pub(crate) fn count_on(&self, subject: &str) -> u64 {
        self.by_subject.get(subject).map_or(0, |seqs| seqs.len() as u64)
    }

    /// The first sequence on an exact subject.
    pub(crate) fn first_on(&self, subject: &str) -> Option<u64> {
        self.by_subject.get(subject).and_then(|seqs| seqs.front()).copied()
    }

    /// The last message on a filter. For `>` the server reads only the last sequence, whose message may be deleted.
    pub(crate) fn last(&self, filter: &str) -> Option<&LogEntry> {
        if filter == ">" {
            return self.get(self.last_seq);
        }
        let seq = self.subjects(filter).filter_map(|(_, seqs)| seqs.back()).max()?;
        self.get(*seq)
    }

    /// The last message of each subject of a filter, up to a sequence, in order.
    pub(crate) fn last_per_subject(&self, filter: &str, up_to: u64) -> Vec<LogEntry> {
        let last = |(_, seqs): (&Subject, &VecDeque<u64>)| {
            seqs.partition_point(|&seq| seq <= up_to).checked_sub(1).map(|idx| seqs[idx])
        };
        let seqs: BTreeSet<u64> = self.subjects(filter).filter_map(last).collect();
        seqs.into_iter().filter_map(|seq| self.get(seq).cloned()).collect()
    }

    /// The first message on any of the filters at or after a sequence.
    pub(crate) fn next(&self, filters: &[Subject], from: u64) -> Option<&LogEntry> {
        let is_wanted = |stored: &&LogEntry| filters.iter().any(|filter| matches(filter, &stored.message.subject));
        let mut near = self.messages.range(from..).map(|(_, stored)| stored);
        if let Some(found) = near.by_ref().take(SCAN).find(is_wanted) {
            return Some(found);
        }
        let from = near.next()?.seq;
        let first = |(_, seqs): (_, &VecDeque<u64>)| seqs.get(seqs.partition_point(|&seq| seq < from)).copied();
        let seq = filters.iter().flat_map(|filter| self.subjects(filter)).filter_map(first).min()?;
        self.get(seq)
    }

    /// Number of messages on any of the filters, which must not overlap, between two sequences (both inclusive).
    pub(crate) fn count(&self, filters: &[Subject], from: u64, to: u64) -> u64 {
        let on = |(_, seqs): (_, &VecDeque<u64>)| {
            let before = seqs.partition_point(|&seq| seq < from);
            seqs.partition_point(|&seq| seq <= to).saturating_sub(before) as u64
        };
        filters.iter().flat_map(|filter| self.subjects(filter)).map(on).sum()
    }

    /// Appends a message.
    pub(crate) fn append(&mut self, message: &Arc<Message>, now_us: u64) -> u64 {
        self.last_seq += 1;
        self.insert(LogEntry { seq: self.last_seq, stored_us: now_us, message: Arc::clone(message) });
        self.last_seq
    }

    /// Removes a message.
    pub(crate) fn remove(&mut self, seq: u64) -> Option<LogEntry> {
        let stored = self.messages.remove(&seq)?;
        self.bytes -= stored.message.size();
        if let Some(seqs) = self.by_subject.get_mut(&stored.message.subject) {
            if let Ok(idx) = seqs.binary_search(&seq) {
                seqs.remove(idx);
            }
            if seqs.is_empty() {
                self.by_subject.remove(&stored.message.subject);
            }
        }
        if let Some(end_us) = end_of(&stored) {
            self.ending.remove(&(end_us, seq));
        }
        Some(stored)
    }

    /// The first message whose TTL ends by a time.
    pub(crate) fn ended(&self, now_us: u64) -> Option<u64> {
        self.ending.first().filter(|(end_us, _)| *end_us <= now_us).map(|&(_, seq)| seq)
    }

    /// The sequences on a filter before a sequence.
    pub(crate) fn before(&self, filter: &str, before: u64) -> Vec<u64> {
        self.subjects(filter).flat_map(|(_, seqs)| seqs.iter().copied().take_while(|&seq| seq < before)).collect()
    }

    /// Undoes a change, which must be the last one that was not undone.
    pub(crate) fn undo(&mut self, change: Change) {
        let added: Vec<u64> = self.messages.range(change.after + 1..).map(|(&seq, _)| seq).collect();
        added.into_iter().for_each(|seq| drop(self.remove(seq)));
        // A message that the same change added and removed must not come back.
        change.removed.into_iter().filter(|stored| stored.seq <= change.after).for_each(|stored| self.insert(stored));
        self.last_seq = change.after;
    }

    fn insert(&mut self, stored: LogEntry) {
        self.bytes += stored.message.size();
        let subject = &stored.message.subject;
        let seqs = match self.by_subject.get_mut(subject) {
            Some(seqs) => seqs,
            None => self.by_subject.entry(Arc::clone(subject)).or_default(),
        };
        let idx = seqs.partition_point(|&seq| seq < stored.seq);
        seqs.insert(idx, stored.seq);
        self.ending.extend(end_of(&stored).map(|end_us| (end_us, stored.seq)));
        self.messages.insert(stored.seq, stored);
    }

    /// The subjects that match a filter. The part before the first wildcard bounds the search.
    fn subjects<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = (&'a Subject, &'a VecDeque<u64>)> {
        let literal = filter.split(['*', '>']).next().unwrap_or_default();
        let from = (std::ops::Bound::Included(literal), std::ops::Bound::Unbounded);
        let found = self.by_subject.range::<str, _>(from);
        found
            .take_while(move |(subject, _)| subject.starts_with(literal))
            .filter(|(subject, _)| matches(filter, subject))
    }
}

fn end_of(stored: &LogEntry) -> Option<u64> {
    stored.message.headers.ttl_s.map(|seconds| stored.stored_us + seconds * SECOND_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(subjects: &[&str]) -> Log {
        let mut log = Log::default();
        for subject in subjects {
            log.append(&Arc::new(Message::new(subject, "x")), 0);
        }
        log
    }

    fn seqs(found: &[LogEntry]) -> Vec<u64> {
        found.iter().map(|stored| stored.seq).collect()
    }

    #[test]
    fn the_next_message_is_found_beyond_many_others() {
        let mut subjects = vec!["a.1"; 200];
        subjects[150] = "b.1";
        subjects[199] = "b.2";
        let log = log(&subjects);
        let next = |filter: &str, from| log.next(&[filter.into()], from).map(|stored| stored.seq);
        assert_eq!(
            (next("b.>", 1), next("b.>", 152), next("b.1", 152), next("a.*", 151)),
            (Some(151), Some(200), None, Some(152))
        );
        assert_eq!(log.count(&["b.>".into()], 1, 200), 2);
        assert_eq!(log.count(&["a.1".into()], 100, 151), 51);
        assert_eq!(seqs(&log.last_per_subject(">", u64::MAX)), [151, 199, 200]);
        assert_eq!(seqs(&log.last_per_subject("b.*", 199)), [151]);
    }

    #[test]
    fn undoing_a_change_restores_the_log() {
        let mut log = log(&["a", "b", "a"]);
        let (before, bytes) = (log.iter().cloned().collect::<Vec<_>>(), log.bytes());
        let mut change = Change { after: log.last_seq(), removed: Vec::new() };
        let added = log.append(&Arc::new(Message::new("a", "y")), 1);
        change.removed.extend([1, 3, added].iter().filter_map(|&seq| log.remove(seq)));
        assert_eq!((log.messages(), log.first_seq(), log.last_seq(), log.last_on("a")), (1, 2, 4, 0));
        log.undo(change);
        assert_eq!((log.iter().cloned().collect::<Vec<_>>(), log.bytes(), log.last_seq()), (before, bytes, 3));
        assert_eq!((log.first_on("a"), log.last_on("a"), log.count_on("a")), (Some(1), 3, 2));
    }
}
