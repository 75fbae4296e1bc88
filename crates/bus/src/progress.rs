//! Progress of a step: the commits of each partition, and its backlog.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures::future::try_join_all;
use serde_json::Value;

use crate::connect::Connection;
use crate::error::Error;
use crate::protocol::{Position, positions};
use crate::query::{self, Found};
use crate::reader::count_from;
use crate::stream::Step;
use crate::subject;
use crate::topology::stream_info;

/// Progress of one partition of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepProgress {
    /// The partition.
    pub partition: u32,
    /// Last input sequence of the partition; 0 for none.
    pub input_last: u64,
    /// Its position; `None` before its first commit.
    pub position: Option<Position<Value>>,
}

impl StepProgress {
    /// The last committed input sequence; 0 before the first commit.
    pub fn committed(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.position)
    }

    /// Whether all of its input is committed.
    pub fn is_done(&self) -> bool {
        self.input_last <= self.committed()
    }

    /// Whether the partition has input or a commit.
    pub fn is_used(&self) -> bool {
        self.input_last > 0 || self.position.is_some()
    }
}

/// Whether a step is in use: an optional step only after its first commit, any other always.
pub fn is_in_use(step: Step, standings: &[StepProgress]) -> bool {
    !step.is_optional || standings.iter().any(|standing| standing.position.is_some())
}

/// The progress of every partition of a step, in order.
///
/// # Errors
/// Errors of the requests, and a position that cannot be decoded.
pub async fn standings(connection: &Connection, step: Step) -> Result<Vec<StepProgress>, Error> {
    let partitions = stream_info(connection, step.input.name()).await?.partitions().unwrap_or_default();
    // Inputs are read first, so that a position covers at least the input that was seen.
    let input_last = try_join_all((0..partitions).map(|partition| last_input(connection, step, partition))).await?;
    let mut positions: BTreeMap<u32, Position<Value>> = positions(connection, step.output).await?.into_iter().collect();
    let standings = (0..partitions).zip(input_last);
    Ok(standings
        .map(|(partition, input_last)| StepProgress { partition, input_last, position: positions.remove(&partition) })
        .collect())
}

async fn last_input(connection: &Connection, step: Step, partition: u32) -> Result<u64, Error> {
    let subjects = subject::inputs(step, partition);
    let last = try_join_all(subjects.iter().map(|subject| query::last(connection, step.input, subject))).await?;
    Ok(last.into_iter().flatten().map(|message| message.seq).max().unwrap_or(0))
}

/// Input that is stored and not yet committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Number of messages.
    pub messages: u64,
    /// Time of storing of the oldest of them, by the server's clock.
    pub since: SystemTime,
}

/// The backlog of a partition that has committed all input up to `committed`; `None` when it is empty.
///
/// # Errors
/// Any error of the requests.
pub async fn backlog(
    connection: &Connection,
    step: Step,
    partition: u32,
    committed: u64,
) -> Result<Option<Backlog>, Error> {
    let Some(oldest) = next_input(connection, step, partition, committed + 1).await? else { return Ok(None) };
    let messages = count_from(connection, step.input, &subject::inputs(step, partition), oldest.message.seq).await?;
    Ok(Some(Backlog { messages, since: oldest.stored_at }))
}

/// The first input of a partition at or after `from`.
pub async fn next_input(
    connection: &Connection,
    step: Step,
    partition: u32,
    from: u64,
) -> Result<Option<Found>, Error> {
    let subjects = subject::inputs(step, partition);
    let next = try_join_all(subjects.iter().map(|subject| query::next(connection, step.input, subject, from))).await?;
    Ok(next.into_iter().flatten().min_by_key(|found| found.message.seq))
}
