//! What happens to a partition, and what it asks for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus::Error;
use bus::protocol::LogId;
use bus::reader::Delivery;
use bus::topology::{StreamInfo, StreamState};
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::checkpoint::Checkpoint;
use crate::commit::Answer;
use crate::operator::Figure;
use crate::transaction::Part;

/// Something that has happened.
#[derive(Debug)]
pub enum Event<S, C> {
    /// The checkpoint was read: the answer to [`Effect::Recover`].
    Recovered(Checkpoint<S, C>),
    /// Reading begins, begins again, or has found nothing more for a while.
    Attached {
        /// The input as it was just before.
        input: InputInfo,
        /// Messages that wait from here on.
        pending: u64,
    },
    /// The next message of the input.
    Input {
        /// The message.
        delivery: Delivery,
        /// Whether another one may have arrived already; [`Event::Idle`] follows when none has.
        more: bool,
    },
    /// No message has arrived that was not taken yet.
    Idle,
    /// What the message needs that is applied in part is at hand: the answer to [`Effect::Wait`].
    Ready,
    /// Time has passed: see [`super::Partition::wakes_at`].
    Tick,
    /// What became of an attempt to store a batch: an answer to [`Effect::Commit`].
    Answered(Answer),
    /// The position as it is stored: the answer to [`Effect::ReadPosition`].
    PositionRead(Option<StoredPosition>),
    /// The input as it is now: the answer to [`Effect::Look`].
    Looked {
        /// Where the partition was when it asked.
        seen: u64,
        /// The input.
        input: InputInfo,
    },
    /// Another instance has the lease.
    LeaseLost,
    /// Commit what was applied, and end.
    Stop,
}

/// Something to do, in order.
pub enum Effect {
    /// Read the checkpoint.
    Recover,
    /// Read the input from this sequence on.
    Read {
        /// The first sequence of interest.
        from: u64,
        /// A sequence that the input is known to reach.
        reaches: u64,
    },
    /// Store this in one batch, perhaps with what other partitions want to store.
    Commit {
        /// What to store.
        part: Arc<Part>,
        /// Whether it is what came a moment ago, not part of a replay.
        is_live: bool,
    },
    /// Read the position, as the stream's leader knows it.
    ReadPosition,
    /// Wait until a message can be applied further.
    Wait(BoxFuture<'static, ()>),
    /// Look at the input; the partition is at this sequence.
    Look(u64),
    /// Show these windows, which are still open. One that gets lost does no harm: the next one comes in a second.
    Show(Vec<Open>),
    /// Tell people.
    Report(Report),
    /// The partition has ended: nothing that happens to it matters any more.
    End(Ended),
    /// The partition cannot go on.
    Fail(Error),
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recover => f.write_str("Recover"),
            Self::Read { from, .. } => write!(f, "Read({from})"),
            Self::Commit { part, .. } => write!(f, "Commit(fence {}, {} messages)", part.fence, part.messages.len()),
            Self::ReadPosition => f.write_str("ReadPosition"),
            Self::Wait(_) => f.write_str("Wait"),
            Self::Look(seen) => write!(f, "Look({seen})"),
            Self::Show(open) => write!(f, "Show({})", open.len()),
            Self::Report(report) => report.fmt(f),
            Self::End(ended) => ended.fmt(f),
            Self::Fail(error) => write!(f, "Fail({error})"),
        }
    }
}

/// Something for the log and the metrics.
#[derive(Debug, Clone)]
pub enum Report {
    /// The partition is at its place: recovered, attached, owned.
    InPlace,
    /// A commit is stored.
    Committed {
        /// What it stored.
        part: Arc<Part>,
        /// The step's counts.
        figures: Vec<Figure>,
    },
    /// Another owner has committed: what was computed is dropped.
    Overtaken,
    /// Input is lost, and accepted as such.
    LossAccepted {
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
    },
    /// The partition ends with a commit that nobody has confirmed: the next owner finds out.
    Unconfirmed,
}

/// How a partition ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Told to, with everything committed that was applied. When a message was applied in part and waits, what was applied
    /// since the last commit is given up with it: the next owner applies it again.
    Drained,
    /// Another owner has committed, or has the lease.
    Fenced,
}

/// A window that is still open, for those who watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Where it is shown.
    pub subject: String,
    /// Its candle so far.
    pub payload: Bytes,
}

/// A position as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPosition {
    /// Its sequence in the output stream.
    pub seq: u64,
    /// The id of the batch that stored it.
    pub batch: Option<String>,
}

/// What a partition needs to know of its input stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputInfo {
    /// Which log it is.
    pub log: LogId,
    /// The first sequence from which on no message was removed.
    pub begins: u64,
    /// The first sequence that exists.
    pub first_seq: u64,
    /// The last sequence given out.
    pub last_seq: u64,
    /// Whether it is trimmed behind the commits of its readers, and no further.
    pub is_trimmed: bool,
    /// Whether it deletes its oldest messages, or soon will.
    pub deletes: bool,
    /// How long it keeps a message; zero for no limit.
    pub retention: Duration,
}

impl TryFrom<&StreamInfo> for InputInfo {
    type Error = Error;

    fn try_from(info: &StreamInfo) -> Result<Self, Error> {
        let StreamState { first_seq, last_seq, bytes, .. } = info.state;
        Ok(Self {
            log: info.log()?,
            begins: info.begins(),
            first_seq,
            last_seq,
            is_trimmed: info.is_trimmed(),
            deletes: first_seq > 1 || info.max_bytes().is_some_and(|limit| bytes > limit / 2),
            retention: Duration::from_nanos(info.max_age_ns()),
        })
    }
}
