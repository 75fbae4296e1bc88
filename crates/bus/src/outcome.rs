//! Results of a step for published input: how far each partition has committed, and the result lines.

use serde::de::IgnoredAny;

use crate::connect::Connection;
use crate::error::Error;
use crate::protocol::{LogId, Position, decode_position};
use crate::record_kind::RecordKind;
use crate::stream::{Step, Stream};
use crate::subject;
use crate::{codec, query};

/// Sequences per request, which bounds memory.
const STRETCH: u64 = 1_024;

/// How far a partition of a step has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedInput {
    /// Last input sequence whose results are stored.
    pub through: u64,
    /// Input up to here was lost in part before it was read; 0 for none.
    pub lost_to: u64,
    /// Sequence of the position in the output: all results up to `through` are stored before it.
    pub seq: u64,
}

/// Returns how far a partition of a step has committed of the input log `log` ([`crate::topology::StreamInfo::log`]);
/// `None` before its first commit, and when its position belongs to another log.
///
/// # Errors
/// No answer, a missing permission, or a position that this build cannot read.
pub async fn committed(
    connection: &Connection,
    step: Step,
    partition: u32,
    log: &LogId,
) -> Result<Option<CommittedInput>, Error> {
    let stored = query::last(connection, step.output, &subject::position(step.output, partition)).await?;
    let Some(stored) = stored else { return Ok(None) };
    let position: Position<IgnoredAny> = decode_position(&stored)?;
    let is_same_log = log.continues_from(&position.log, position.position);
    let Position { position: through, lost_to, .. } = position;
    Ok(is_same_log.then_some(CommittedInput { through, lost_to, seq: stored.seq }))
}

/// Visits every line of a kind, of all instruments, that is stored between two sequences of a stream (both exclusive),
/// in order, as the leader has them. Needs no consumer.
///
/// # Errors
/// No answer, or a missing permission.
pub async fn each_line(
    connection: &Connection,
    stream: Stream,
    kind: RecordKind,
    (after, before): (u64, u64),
    mut visit: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let subject = subject::of_kind(stream, kind, None);
    let mut from = after;
    while from + 1 < before {
        let to = before.min(from + 1 + STRETCH);
        for found in query::between(connection, stream, &subject, from, to).await? {
            let message = found.message.decoded();
            codec::lines(&message.payload).for_each(|(_, line)| visit(line));
        }
        from = to - 1;
    }
    Ok(())
}
