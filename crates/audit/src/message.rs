//! A message of one of the streams, in the form in which the audit puts it aside.

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

/// What the audit needs of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The stream that holds it.
    pub stream: Stream,
    /// What its subject says it holds.
    pub kind: RecordKind,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored, in milliseconds.
    pub stored_ms: i64,
    /// What its header says it holds, such as `tick/1`, when it says so.
    pub schema: Option<&'a str>,
    /// Whether its lines are here as they are, not in an encoding that nobody knows.
    pub is_decoded: bool,
    /// Whether the stream still has all that was committed with it.
    pub is_whole: bool,
    /// Its lines.
    pub payload: &'a [u8],
}

/// All of it but the payload, which follows: kinds and streams by their place among those that are audited.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    /// Place of its instrument within the bucket.
    place: usize,
    stream: usize,
    kind: usize,
    seq: u64,
    stored_ms: i64,
    schema: Option<&'a str>,
    is_decoded: bool,
    is_whole: bool,
    bytes: usize,
}

impl<'a> Message<'a> {
    /// As a reader delivers it, which has decoded it or could not.
    pub fn new(stream: Stream, kind: RecordKind, delivery: &'a Delivery, is_whole: bool) -> Self {
        let header = |name| delivery.headers.as_ref().and_then(|headers| headers.get(name));
        Self {
            stream,
            kind,
            seq: delivery.seq,
            stored_ms: delivery.stored_ms,
            schema: header(SCHEMA_HEADER).map(|schema| schema.as_str()),
            is_decoded: header(ENCODING_HEADER).is_none(),
            is_whole,
            payload: &delivery.payload,
        }
    }

    /// Appends it to a block; `place` is that of its instrument within the bucket.
    pub(crate) fn write(&self, place: usize, block: &mut Vec<u8>) -> anyhow::Result<()> {
        let Self { seq, stored_ms, schema, is_decoded, is_whole, payload, .. } = *self;
        let stream = STREAMS.iter().position(|stream| *stream == self.stream).unwrap_or_default();
        let kind = kinds(self.stream).iter().position(|kind| *kind == self.kind).unwrap_or_default();
        let bytes = payload.len();
        let head = Head { place, stream, kind, seq, stored_ms, schema, is_decoded, is_whole, bytes };
        postcard::to_io(&head, &mut *block)?;
        block.extend_from_slice(payload);
        Ok(())
    }

    /// Takes the first one off a block, with the place of its instrument.
    pub(crate) fn read(block: &mut &'a [u8]) -> anyhow::Result<(usize, Self)> {
        let (head, rest): (Head<'a>, _) = postcard::take_from_bytes(block)?;
        let (payload, rest) = rest.split_at(head.bytes);
        *block = rest;
        let Head { place, seq, stored_ms, schema, is_decoded, is_whole, .. } = head;
        let stream = STREAMS[head.stream];
        let kind = kinds(stream)[head.kind];
        Ok((place, Self { stream, kind, seq, stored_ms, schema, is_decoded, is_whole, payload }))
    }
}
