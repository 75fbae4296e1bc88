//! A message of one of the streams, in the form in which the audit puts it aside.

use bus::Kind;
use bus::codec::{ENCODING_HEADER, SCHEMA_HEADER};
use bus::reader::Delivery;
use bus::topology::{STATS_WINDOWS, Stream};
use serde::{Deserialize, Serialize};

/// The streams that are audited, in the order in which they are read.
pub(crate) const STREAMS: [Stream; 3] = [Stream::Feed, Stream::Market, Stream::Stats];

const FEED_KINDS: [Kind; 3] = [Kind::Tick, Kind::Heartbeat, Kind::Gap];
const MARKET_KINDS: [Kind; 6] = [Kind::Price, Kind::Late, Kind::Rejected, Kind::Heartbeat, Kind::Gap, Kind::Candle];
const STATS_KINDS: [Kind; 6] = {
    let [a, b, c, d, e] = STATS_WINDOWS;
    [Kind::Stats(a), Kind::Stats(b), Kind::Stats(c), Kind::Stats(d), Kind::Stats(e), Kind::HourOfDay]
};

/// The kinds of a stream that are audited.
pub(crate) fn kinds(stream: Stream) -> &'static [Kind] {
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
    pub kind: Kind,
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
    pub fn new(stream: Stream, kind: Kind, delivery: &'a Delivery, is_whole: bool) -> Self {
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
