//! Trimming: removes old history, keeps checkpoints, and never removes what a reader still needs.
//!
//! No server limit can do this: it would delete the checkpoint of a quiet partition together with old results.

use std::time::{Duration, SystemTime};

use bus::external_consumers::registered;
use bus::progress::{StepProgress, is_in_use, next_input, standings};
use bus::protocol::{Position, decode_position};
use bus::reader::count_from;
use bus::stream::{STEPS, Step, Stream};
use bus::topology::{StreamInfo, StreamNote, mark, purge, stream_info};
use bus::{Connection, Error, query, subject};
use serde::de::IgnoredAny;
use serde_json::json;

/// Most messages removed by one request, so that no commit waits longer than for a large batch.
const SLICE: u64 = 100_000;

/// A reader that still needs part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its name, for people.
    pub who: String,
    /// It needs no message up to this sequence.
    pub through: u64,
}

/// The planned trimming of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trimming {
    /// The stream.
    pub stream: Stream,
    /// First sequence that is kept.
    pub to: u64,
    /// Messages before it: results, never checkpoints. While a step writes, the count may be slightly low.
    pub messages: u64,
    /// Messages that are old enough but still needed; counted likewise.
    pub held_back: u64,
    /// The reader that needs the earliest of them.
    pub held_by: Option<Hold>,
}

/// Plans the trimming of a stream that holds checkpoints: messages stored longer ago than `age` that no reader needs.
///
/// # Errors
/// Every error of reading.
pub async fn plan(connection: &Connection, stream: Stream, age: Duration) -> Result<Trimming, Error> {
    // Read before the readers are asked, so that later messages are newer than all trimmed ones.
    let info = stream_info(connection, stream.name()).await?;
    let old = first_younger(connection, stream, &info, age).await?;
    let slowest = holds(connection, stream, &info).await?.into_iter().min_by_key(|hold| hold.through);
    let held_by = slowest.filter(|hold| hold.through + 1 < old);
    let to = held_by.as_ref().map_or(old, |hold| hold.through + 1);
    let results = [subject::all(stream)];
    let from = async |seq| count_from(connection, stream, &results, seq).await;
    let (all, staying, young) = (from(1).await?, from(to).await?, from(old).await?);
    Ok(Trimming {
        stream,
        to,
        messages: all.saturating_sub(staying),
        held_back: staying.saturating_sub(young),
        held_by,
    })
}

/// Removes the planned messages and returns their number. The stream's metadata records the new start, so that an
/// unknown reader can tell that it missed messages.
///
/// # Errors
/// Every error of a request. Messages removed before the error stay removed; the next call removes the rest.
pub async fn trim(connection: &Connection, trimming: &Trimming) -> Result<u64, Error> {
    let (stream, results) = (trimming.stream, subject::all(trimming.stream));
    let mut gone = 0;
    while let Some(first) = query::next(connection, stream, &results, 1).await?.map(|first| first.message.seq)
        && first < trimming.to
    {
        // Record the trim point first, so that a concurrent reader does not mistake the remainder for the full history.
        mark(connection, stream, StreamNote::Trimmed, trimming.to - 1).await?;
        let body = json!({ "filter": results, "seq": trimming.to.min(first + SLICE) });
        gone += purge(connection, stream.name(), &body).await?;
    }
    Ok(gone)
}

/// The first sequence before which all messages are older than `age`.
async fn first_younger(
    connection: &Connection,
    stream: Stream,
    info: &StreamInfo,
    age: Duration,
) -> Result<u64, Error> {
    let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let results = subject::all(stream);
    let (mut low, mut high) = (info.state.first_seq.max(1), info.state.last_seq + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match query::next(connection, stream, &results, middle).await? {
            Some(found) if found.stored_at < before => low = (found.message.seq + 1).min(high),
            _ => high = middle,
        }
    }
    Ok(low)
}

/// All readers of the stream and what each no longer needs. A step counts as a reader up to its stored states, which it
/// completes from the input.
async fn holds(connection: &Connection, stream: Stream, info: &StreamInfo) -> Result<Vec<Hold>, Error> {
    let mut holds = Vec::new();
    for step in STEPS.into_iter().filter(|step| step.input == stream) {
        let standings = standings(connection, step).await?;
        if !is_in_use(step, &standings) {
            continue;
        }
        for standing in standings {
            let who = format!("{} partition {}", step.service, standing.partition);
            holds.extend(needless(connection, step, &standing).await?.map(|through| Hold { who, through }));
        }
    }
    let log = info.log()?;
    let readers = registered(connection, stream).await?.into_iter();
    // A reader of another log cannot continue, so nothing is kept for it.
    let readers = readers.filter(|(_, reader)| log.continues_from(&reader.log, reader.through));
    holds.extend(readers.map(|(id, reader)| Hold { who: format!("{} ({id})", reader.name), through: reader.through }));
    Ok(holds)
}

/// Last input sequence that a partition no longer needs; `None` when the partition has no input.
async fn needless(connection: &Connection, step: Step, standing: &StepProgress) -> Result<Option<u64>, Error> {
    let partition = standing.partition;
    if let Some(position) = &standing.position {
        return Ok(Some(position.needless()));
    }
    // Progress may be read from a replica. One that lags may lack a first commit, whose frontier must be respected.
    let stored = query::last(connection, step.output, &subject::position(step.output, partition)).await?;
    if let Some(stored) = stored {
        return decode_position::<Position<IgnoredAny>>(&stored).map(|position| Some(position.needless()));
    }
    Ok(next_input(connection, step, partition, 1).await?.map(|first| first.message.seq - 1))
}
