//! A stream message in the form that the audit writes to its spill file.

use bus::RecordKind;
use bus::codec::{ENCODING_HEADER, SCHEMA_HEADER};
use bus::reader::Delivery;
use bus::stream::{STATS_WINDOWS, Stream};
use serde::{Deserialize, Serialize};

/// The streams that are audited, in the order in which they are read.
pub(crate) const STREAMS: [Stream; 3] = [Stream::Feed, Stream::Market, Stream::Stats];

const FEED_KINDS: [RecordKind; 3] = [RecordKind::Tick, RecordKind::Heartbeat, RecordKind::Gap];
const MARKET_KINDS: [RecordKind; 6] = [
    RecordKind::Price,
    RecordKind::Late,
    RecordKind::Rejected,
    RecordKind::Heartbeat,
    RecordKind::Gap,
    RecordKind::Candle,
];
const STATS_KINDS: [RecordKind; 6] = {
    let [a, b, c, d, e] = STATS_WINDOWS;
    [
        RecordKind::Stats(a),
        RecordKind::Stats(b),
        RecordKind::Stats(c),
        RecordKind::Stats(d),
        RecordKind::Stats(e),
        RecordKind::HourOfDay,
    ]
};

/// The kinds of a stream that are audited.
pub(crate) fn kinds(stream: Stream) -> &'static [RecordKind] {
    match stream {
        Stream::Feed => &FEED_KINDS,
        Stream::Market => &MARKET_KINDS,
        Stream::Stats => &STATS_KINDS,
        Stream::Forecast => &[],
    }
}

/// The parts of a message that the audit needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditedMessage<'a> {
    /// The stream that holds it.
    pub stream: Stream,
    /// Record kind of its subject.
    pub kind: RecordKind,
    /// Stream sequence.
    pub seq: u64,
    /// Time of storing, in milliseconds since the epoch.
    pub stored_ms: i64,
    /// Schema named by its header, such as `tick/1`; `None` without the header.
    pub schema: Option<&'a str>,
    /// Whether the payload is decoded, not in an unknown encoding.
    pub is_decoded: bool,
    /// Whether the stream still holds every message of its commit.
    pub has_whole_commit: bool,
    /// The lines.
    pub payload: &'a [u8],
}

/// Everything but the payload, which follows. Kinds and streams are indexes into the lists of audited ones.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    /// Index of its instrument within the bucket.
    place: usize,
    stream: usize,
    kind: usize,
    seq: u64,
    stored_ms: i64,
    schema: Option<&'a str>,
    is_decoded: bool,
    has_whole_commit: bool,
    bytes: usize,
}

impl<'a> AuditedMessage<'a> {
    /// Takes a message from a reader, which has decoded the payload unless its encoding is unknown.
    pub fn new(stream: Stream, kind: RecordKind, delivery: &'a Delivery, has_whole_commit: bool) -> Self {
        let header = |name| delivery.headers.as_ref().and_then(|headers| headers.get(name));
        Self {
            stream,
            kind,
            seq: delivery.seq,
            stored_ms: delivery.stored_ms,
            schema: header(SCHEMA_HEADER).map(|schema| schema.as_str()),
            is_decoded: header(ENCODING_HEADER).is_none(),
            has_whole_commit,
            payload: &delivery.payload,
        }
    }

    /// Appends the message to a block; `place` is the index of its instrument within the bucket.
    pub(crate) fn write(&self, place: usize, block: &mut Vec<u8>) -> anyhow::Result<()> {
        let Self { seq, stored_ms, schema, is_decoded, has_whole_commit, payload, .. } = *self;
        let stream = STREAMS.iter().position(|stream| *stream == self.stream).unwrap_or_default();
        let kind = kinds(self.stream).iter().position(|kind| *kind == self.kind).unwrap_or_default();
        let bytes = payload.len();
        let head = Head { place, stream, kind, seq, stored_ms, schema, is_decoded, has_whole_commit, bytes };
        postcard::to_io(&head, &mut *block)?;
        block.extend_from_slice(payload);
        Ok(())
    }

    /// Takes the first message off a block and returns it with the index of its instrument.
    pub(crate) fn read(block: &mut &'a [u8]) -> anyhow::Result<(usize, Self)> {
        let (head, rest): (Head<'a>, _) = postcard::take_from_bytes(block)?;
        let (payload, rest) = rest.split_at(head.bytes);
        *block = rest;
        let Head { place, seq, stored_ms, schema, is_decoded, has_whole_commit, .. } = head;
        let stream = STREAMS[head.stream];
        let kind = kinds(stream)[head.kind];
        Ok((place, Self { stream, kind, seq, stored_ms, schema, is_decoded, has_whole_commit, payload }))
    }
}
