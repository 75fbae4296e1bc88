//! Contents of the streams, decoded by partition and instrument.

use std::collections::BTreeMap;

use bus::protocol::{Position, decode_position};
use bus::stream::Stream;
use serde_json::Value;

use crate::checks::failure::Failure;
use crate::jetstream::LogEntry;
use crate::world::{RunResult, wire};

/// A line of a stored message.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Sequence of its message.
    pub(crate) seq: u64,
    /// Its number in the message.
    pub(crate) number: u32,
    /// The decoded line; `None` when it is not JSON.
    pub(crate) said: Option<Value>,
}

/// An instrument as subjects name it, with its partition.
pub(crate) type Name = (u32, String, String);

/// The lines of a stream by instrument and kind, in order.
pub(crate) type Lines = BTreeMap<Name, BTreeMap<String, Vec<Line>>>;

/// A position with its sequence in the stream.
pub(crate) type Placed = (u64, Position<Value>);

/// The contents of the streams.
pub(crate) struct StreamContents {
    pub(crate) feed: Lines,
    pub(crate) market: Lines,
    pub(crate) stats: Lines,
    /// By stream and partition, in order.
    pub(crate) positions: BTreeMap<(Stream, u32), Vec<Placed>>,
}

impl StreamContents {
    pub(crate) fn of(result: &RunResult) -> Result<Self, Failure> {
        let [feed, market, stats] = &result.histories;
        let mut positions: BTreeMap<_, Vec<Placed>> = BTreeMap::new();
        for (stream, history) in [(Stream::Market, market), (Stream::Stats, stats)] {
            for stored in history.iter().filter(|stored| stored.message.subject.ends_with(".position")) {
                let partition = partition_of(&stored.message.subject, 2);
                let position = decode_position(&wire::stored(stored))
                    .map_err(|error| Failure::new("positions can be read", error.to_string()))?;
                positions.entry((stream, partition)).or_default().push((stored.seq, position));
            }
        }
        Ok(Self { feed: lines(feed), market: lines(market), stats: lines(stats), positions })
    }

    /// The latest position of a partition.
    pub(crate) fn last(&self, stream: Stream, partition: u32) -> Option<&Placed> {
        self.positions.get(&(stream, partition))?.last()
    }
}

/// The partition in a token of a subject.
pub(crate) fn partition_of(subject: &str, token: usize) -> u32 {
    subject.split('.').nth(token).and_then(|token| token.parse().ok()).unwrap_or(u32::MAX)
}

fn lines(history: &[LogEntry]) -> Lines {
    let mut lines = Lines::new();
    for stored in history {
        let tokens: Vec<&str> = stored.message.subject.split('.').collect();
        let [root, partition, kind, coin, quote] = tokens[..] else { continue };
        if root == "checkpoint" {
            continue;
        }
        let name = (partition.parse().unwrap_or(u32::MAX), coin.to_owned(), quote.to_owned());
        let of_kind = lines.entry(name).or_default().entry(kind.to_owned()).or_default();
        for (raw, number) in stored.message.payload.split(|&byte| byte == b'\n').zip(0..) {
            of_kind.push(Line { seq: stored.seq, number, said: serde_json::from_slice(raw).ok() });
        }
    }
    lines
}
