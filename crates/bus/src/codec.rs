//! Payloads: NDJSON, many lines per message.

mod encoding;
mod reading;
mod writing;

use std::iter;

use async_nats::HeaderMap;
use bytes::Bytes;
use memchr::memchr_iter;
use serde::Serialize;

use crate::record_kind::RecordKind;

pub use encoding::{Decoder, ENCODING_HEADER, Encoder, PLAIN_BYTES_MAX, decode};
pub use reading::{LineReader, ReadTick, price_end};

/// Most lines in a message.
pub const LINES_MAX: usize = 500;
/// Most bytes in a message of several lines; a single line may be longer.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Header with the record and its version, such as `tick/1`. Absent means version 1.
pub const SCHEMA_HEADER: &str = "Candlewire-Schema";

/// The lines of a payload, without line breaks, each with its index. Blank lines are skipped but counted.
pub fn lines(payload: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut start = 0;
    let ends = memchr_iter(b'\n', payload).chain(iter::once(payload.len()));
    let lines = ends.map(move |end| &payload[std::mem::replace(&mut start, end + 1)..end]);
    (0_u32..).zip(lines).filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
}

/// Whether the headers of a decoded message name the version of `kind` that this build knows, and no unknown encoding.
pub fn is_known_schema(headers: Option<&HeaderMap>, kind: RecordKind) -> bool {
    headers.is_none_or(|headers| {
        let schema = headers.get(SCHEMA_HEADER);
        schema.is_none_or(|schema| schema.as_str() == kind.schema()) && headers.get(ENCODING_HEADER).is_none()
    })
}

/// A builder of payloads: lines are appended in order, or replaced by a newer line of the same key.
#[derive(Debug, Default)]
pub struct Pack {
    arena: Vec<u8>,
    /// Byte ranges in `arena`, each without its line break.
    lines: Vec<(usize, usize)>,
    /// Set once a line was replaced: `arena` still contains its old bytes.
    is_sparse: bool,
    bytes: usize,
}

impl Pack {
    /// Appends a record; returns its line's index.
    pub fn push(&mut self, record: &impl Serialize) -> usize {
        let range = self.write(record);
        self.lines.push(range);
        self.lines.len() - 1
    }

    /// Appends a serialized line that is given in two parts.
    pub fn push_written(&mut self, parts: [&[u8]; 2]) {
        let start = self.arena.len();
        parts.iter().for_each(|part| self.arena.extend_from_slice(part));
        let range = self.end_line(start);
        self.lines.push(range);
    }

    /// Replaces an earlier line with a newer record.
    pub fn replace(&mut self, line: usize, record: &impl Serialize) {
        let (start, end) = self.lines[line];
        self.bytes -= end - start + 1;
        self.lines[line] = self.write(record);
        self.is_sparse = true;
    }

    /// Lines so far.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes of all payloads so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// An upper bound of the number of payloads.
    pub fn messages_max(&self) -> usize {
        // A message that is closed early because of its size is more than half full, unless a line is huge.
        self.lines.len().div_ceil(LINES_MAX) + 2 * self.bytes.div_ceil(PAYLOAD_BYTES_MAX)
    }

    /// The payloads, each of at most [`LINES_MAX`] lines and [`PAYLOAD_BYTES_MAX`] bytes.
    pub fn into_payloads(self) -> Vec<Bytes> {
        let (arena, lines) = if self.is_sparse { self.compacted() } else { (self.arena, self.lines) };
        let arena = Bytes::from(arena);
        let mut payloads = Vec::new();
        let mut first = 0;
        while first < lines.len() {
            let start = lines[first].0;
            let fits = |&(_, end): &(usize, usize)| end - start <= PAYLOAD_BYTES_MAX;
            let count = lines[first..].iter().take(LINES_MAX).take_while(|line| fits(line)).count().max(1);
            payloads.push(arena.slice(start..lines[first + count - 1].1));
            first += count;
        }
        payloads
    }

    fn compacted(self) -> (Vec<u8>, Vec<(usize, usize)>) {
        let mut arena = Vec::with_capacity(self.bytes);
        let mut lines = Vec::with_capacity(self.lines.len());
        for (start, end) in self.lines {
            let from = arena.len();
            arena.extend_from_slice(&self.arena[start..end]);
            lines.push((from, arena.len()));
            arena.push(b'\n');
        }
        (arena, lines)
    }

    fn write(&mut self, record: &impl Serialize) -> (usize, usize) {
        let start = self.arena.len();
        writing::write(record, &mut self.arena);
        self.end_line(start)
    }

    fn end_line(&mut self, start: usize) -> (usize, usize) {
        let end = self.arena.len();
        self.arena.push(b'\n');
        self.bytes += end - start + 1;
        (start, end)
    }
}

/// The payload of a single record.
pub fn single(record: &impl Serialize) -> Bytes {
    let mut pack = Pack::default();
    pack.push(record);
    pack.into_payloads().swap_remove(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let found: Vec<_> = lines(b"{}\n\n{\"a\":1}\n").collect();
        assert_eq!(found, [(0, b"{}".as_slice()), (2, b"{\"a\":1}".as_slice())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
       fn packed_lines_are_unpacked_in_order_within_the_limits(
            lengths in prop::collection::vec(0_usize..3_000, 1..1_500),
            replaced in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut pack = Pack::default();
            let mut expected: Vec<String> = lengths.iter().map(|&len| "x".repeat(len)).collect();
            for record in &expected {
                pack.push(record);
            }
            for idx in replaced {
                let line = idx.index(expected.len());
                expected[line] = format!("newer {line}");
                pack.replace(line, &expected[line]);
            }
            let (bytes, messages_max) = (pack.bytes(), pack.messages_max());
            let payloads = pack.into_payloads();
            prop_assert!(payloads.len() <= messages_max);
            let mut unpacked = Vec::new();
            for payload in &payloads {
                let records: Vec<_> = lines(payload).map(|(_, line)| serde_json::from_slice::<String>(line).unwrap()).collect();
                prop_assert!(records.len() <= LINES_MAX && payload.len() <= PAYLOAD_BYTES_MAX);
                unpacked.extend(records);
            }
            prop_assert_eq!(unpacked, expected);
            prop_assert_eq!(bytes, payloads.iter().map(|payload| payload.len() + 1).sum::<usize>());
        }
    }
}
