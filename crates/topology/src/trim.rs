//! Trimming: history that is old enough goes, checkpoints stay, and no reader is overtaken.
//!
//! No limit of the server can do this: it would delete the checkpoint of a quiet partition with the results beside it.

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

/// Messages that go at once. Nobody waits longer than for a large commit.
const SLICE: u64 = 100_000;

/// Somebody who still needs a part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who it is, for people.
    pub who: String,
    /// It needs nothing up to this sequence any more.
    pub through: u64,
}

/// What trimming would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trimming {
    /// Of which stream.
    pub stream: Stream,
    /// The first sequence that stays.
    pub to: u64,
    /// Messages before it: results, never checkpoints. While somebody writes, some of them may be left out.
    pub messages: u64,
    /// Messages that are old enough too, but still needed; counted likewise.
    pub held_back: u64,
    /// The reader that needs the earliest of them.
    pub held_by: Option<Hold>,
}

/// Works out what can go of a stream that holds checkpoints: what was stored longer ago than `age` and what every reader
/// has behind it.
///
/// # Errors
/// Whatever reading can meet.
pub async fn plan(connection: &Connection, stream: Stream, age: Duration) -> Result<Trimming, Error> {
    // Before the readers are asked: what comes later is newer than whatever goes.
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

/// Removes what was planned, and returns how many messages went. The stream says from now on where it begins, so that a
/// reader that was not known can tell that it has missed something.
///
/// # Errors
/// Whatever a request can meet. What went is gone; the rest goes the next time.
pub async fn trim(connection: &Connection, trimming: &Trimming) -> Result<u64, Error> {
    let (stream, results) = (trimming.stream, subject::all(trimming.stream));
    let mut gone = 0;
    while let Some(first) = query::next(connection, stream, &results, 1).await?.map(|first| first.message.seq)
        && first < trimming.to
    {
        // Noted before anything goes: whoever looks meanwhile must not take what is left for all.
        mark(connection, stream, StreamNote::Trimmed, trimming.to - 1).await?;
        let body = json!({ "filter": results, "seq": trimming.to.min(first + SLICE) });
        gone += purge(connection, stream.name(), &body).await?;
    }
    Ok(gone)
}

/// The first sequence of which everything before it was stored longer ago than `age`.
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

/// Everybody who reads the stream, and what each needs no more: a step completes its stored states from the input.
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
    // One of another log cannot go on, whatever is kept for it.
    let readers = readers.filter(|(_, reader)| log.continues_from(&reader.log, reader.through));
    holds.extend(readers.map(|(id, reader)| Hold { who: format!("{} ({id})", reader.name), through: reader.through }));
    Ok(holds)
}

/// Up to where a partition needs its input no more; `None` when there is none for it.
async fn needless(connection: &Connection, step: Step, standing: &StepProgress) -> Result<Option<u64>, Error> {
    let partition = standing.partition;
    if let Some(position) = &standing.position {
        return Ok(Some(position.needless()));
    }
    // Positions are read from any copy. One that lags may lack a first commit, whose frontier must not be passed.
    let stored = query::last(connection, step.output, &subject::position(step.output, partition)).await?;
    if let Some(stored) = stored {
        return decode_position::<Position<IgnoredAny>>(&stored).map(|position| Some(position.needless()));
    }
    Ok(next_input(connection, step, partition, 1).await?.map(|first| first.message.seq - 1))
}
