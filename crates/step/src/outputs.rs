//! Outputs of a step since its last commit.

use std::collections::HashMap;

use bus::codec::{LINES_MAX, PLAIN_BYTES_MAX, Pack};
use bus::record_kind::RecordKind;
use bus::stream::Stream;
use bus::subject;
use serde::Serialize;

use crate::part::{Outgoing, Role};

/// The results of a draft: lines by instrument and kind, packed into messages when the draft is sealed.
#[derive(Debug, Default)]
pub struct Outputs {
    entries: Vec<Entry>,
    /// Index into `writers` by the caller's instrument number.
    index: HashMap<usize, usize>,
    writers: Vec<Writer>,
    /// Instrument of the next results; it has no writer before its first result.
    instrument: usize,
    current: Option<usize>,
    bytes: usize,
    messages_max: usize,
}

/// The results of one instrument.
#[derive(Debug, Default)]
struct Writer {
    /// Index of the entry for the next line of a kind. There are few kinds, so a linear search is faster than a hash
    /// map.
    open: Vec<(RecordKind, usize)>,
    /// The sequenced kind that was written last.
    sequenced: Option<RecordKind>,
}

#[derive(Debug)]
struct Entry {
    instrument: usize,
    kind: RecordKind,
    pack: Pack,
    /// Lines by key, ascending, where a newer line replaces an older one. Most keys are larger than all before.
    newest: Vec<(i64, usize)>,
}

impl Outputs {
    /// Appends a record.
    pub fn append(&mut self, kind: RecordKind, record: &impl Serialize) {
        self.change(kind, |entry| {
            entry.pack.push(record);
        });
    }

    /// Appends a serialized record, given in two parts.
    pub fn append_written(&mut self, kind: RecordKind, parts: [&[u8]; 2]) {
        self.change(kind, |entry| entry.pack.push_written(parts));
    }

    /// Appends a record, or replaces an uncommitted one of the same key: of several revisions in one commit only the
    /// newest is stored.
    pub fn append_newest(&mut self, kind: RecordKind, key: i64, record: &impl Serialize) {
        self.change(kind, |entry| {
            let newest = &mut entry.newest;
            let place = match newest.last() {
                Some(&(last, _)) if key <= last => newest.binary_search_by_key(&key, |&(key, _)| key),
                _ => Err(newest.len()),
            };
            match place {
                Ok(idx) => entry.pack.replace(newest[idx].1, record),
                Err(idx) => newest.insert(idx, (key, entry.pack.push(record))),
            }
        });
    }

    /// Selects the instrument of the next results, by any number of the caller's choice. The initial one is 0.
    pub fn select(&mut self, instrument: usize) {
        if self.instrument != instrument {
            self.instrument = instrument;
            self.current = self.index.get(&instrument).copied();
        }
    }

    /// Whether there is no result.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of messages, if each of them is short enough to be sent uncompressed; otherwise `None`.
    pub(crate) fn short_messages(&self) -> Option<usize> {
        let is_short = |entry: &Entry| entry.pack.len() <= LINES_MAX && entry.pack.bytes() <= PLAIN_BYTES_MAX;
        self.entries.iter().all(is_short).then_some(self.entries.len())
    }

    /// Payload bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Upper bound of the number of messages so far.
    pub fn messages_max(&self) -> usize {
        self.messages_max
    }

    /// The messages, in the order in which their subjects were first written; `name_of` returns an instrument's coin
    /// and quote.
    pub fn into_messages<'a>(
        self,
        stream: Stream,
        partition: u32,
        name_of: impl Fn(usize) -> (&'a str, &'a str),
    ) -> Vec<Outgoing> {
        let mut messages = Vec::with_capacity(self.messages_max);
        for entry in self.entries {
            let (coin, quote) = name_of(entry.instrument);
            let subject = subject::stored(stream, partition, entry.kind, coin, quote);
            let role = Role::Output(entry.kind.schema());
            let payloads = entry.pack.into_payloads().into_iter();
            messages.extend(payloads.map(|payload| Outgoing { subject: subject.clone(), payload, role }));
        }
        messages
    }

    fn change(&mut self, kind: RecordKind, change: impl FnOnce(&mut Entry)) {
        let idx = self.entry(kind);
        let entry = &mut self.entries[idx];
        let (bytes, messages) = (entry.pack.bytes(), entry.pack.messages_max());
        change(entry);
        self.bytes = self.bytes + entry.pack.bytes() - bytes;
        self.messages_max = self.messages_max + entry.pack.messages_max() - messages;
    }

    /// Returns the entry for the next line of a kind.
    fn entry(&mut self, kind: RecordKind) -> usize {
        let instrument = self.instrument;
        let current = *self.current.get_or_insert_with(|| {
            self.writers.push(Writer::default());
            self.index.insert(instrument, self.writers.len() - 1);
            self.writers.len() - 1
        });
        let Writer { open, sequenced } = &mut self.writers[current];
        // A heartbeat between two prices stays between them: the second price starts a new message.
        if kind.is_sequenced() && sequenced.replace(kind).is_some_and(|last| last != kind) {
            open.retain(|(other, _)| *other != kind);
        }
        if let Some((_, idx)) = open.iter().find(|(other, _)| *other == kind) {
            return *idx;
        }
        self.entries.push(Entry { instrument, kind, pack: Pack::default(), newest: Vec::new() });
        open.push((kind, self.entries.len() - 1));
        self.entries.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(outputs: Outputs) -> Vec<(String, String)> {
        let messages = outputs.into_messages(Stream::Market, 3, |idx| [("bitcoin", "usd"), ("ethereum", "usd")][idx]);
        let text = |message: Outgoing| (message.subject, String::from_utf8_lossy(&message.payload).into_owned());
        messages.into_iter().map(text).collect()
    }

    #[test]
    fn a_heartbeat_between_two_prices_stays_between_them() {
        let mut outputs = Outputs::default();
        outputs.append(RecordKind::Price, &1);
        outputs.append(RecordKind::Candle, &10);
        outputs.append(RecordKind::Price, &2);
        outputs.append(RecordKind::Heartbeat, &3);
        outputs.append(RecordKind::Price, &4);
        outputs.append(RecordKind::Candle, &11);
        let found = messages(outputs);
        let found: Vec<_> = found.iter().map(|(subject, text)| (subject.as_str(), text.as_str())).collect();
        assert_eq!(
            found,
            [
                ("market.3.price.bitcoin.usd", "1\n2"),
                ("market.3.candle-1m.bitcoin.usd", "10\n11"),
                ("market.3.heartbeat.bitcoin.usd", "3"),
                ("market.3.price.bitcoin.usd", "4"),
            ]
        );
    }

    #[test]
    fn of_several_revisions_only_the_newest_is_stored() {
        let mut outputs = Outputs::default();
        outputs.append_newest(RecordKind::Candle, 0, &"first");
        outputs.append_newest(RecordKind::Candle, 60, &"other");
        outputs.append_newest(RecordKind::Candle, 0, &"second");
        outputs.select(1);
        outputs.append_newest(RecordKind::Candle, 0, &"of another instrument");
        let found = messages(outputs);
        assert_eq!(found[0].1, "\"second\"\n\"other\"");
        assert_eq!(found[1].0, "market.3.candle-1m.ethereum.usd");
    }
}
