//! Events and effects of a partition.

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
use crate::commit::CommitAnswer;
use crate::operator::CounterValue;
use crate::part::{Part, StoredPosition};

/// An event.
#[derive(Debug)]
pub enum Event<S, C> {
    /// CommitAnswer to [`Effect::Recover`]: the checkpoint.
    Recovered(Checkpoint<S, C>),
    /// Reading starts, starts again, or was idle for a while.
    Attached {
        /// The input as it was just before.
        input: InputInfo,
        /// Messages that are pending from here on.
        pending: u64,
    },
    /// The next message of the input. Another one may have arrived already; [`Event::Idle`] follows when none has.
    Input(Delivery),
    /// No message has arrived that was not taken yet.
    Idle,
    /// CommitAnswer to [`Effect::Wait`]: the held message can be applied further.
    Ready,
    /// Time has passed: see [`super::Partition::wakes_at`].
    Tick,
    /// CommitAnswer to [`Effect::Commit`]: the outcome of an attempt to store the part.
    Answered(CommitAnswer),
    /// CommitAnswer to [`Effect::ReadPosition`]: the stored position.
    PositionRead(Option<StoredPosition>),
    /// CommitAnswer to [`Effect::CheckInput`]: the input as it is now.
    InputChecked {
        /// The position of the partition when it asked.
        seen: u64,
        /// The input.
        input: InputInfo,
    },
    /// Another instance has the lease.
    LeaseLost,
    /// Commit what was applied, then end.
    Stop,
}

/// An effect to perform, in order.
pub enum Effect {
    /// Read the checkpoint.
    Recover,
    /// Start to read the input.
    Read {
        /// The first sequence to read.
        from: u64,
        /// A sequence that the input is known to reach.
        reaches: u64,
    },
    /// Store a part in one batch, perhaps together with parts of other partitions.
    Commit {
        /// The part.
        part: Arc<Part>,
        /// Whether it contains live input, not a replay.
        is_live: bool,
    },
    /// Read the position from the leader.
    ReadPosition,
    /// Wait until the held message can be applied further.
    Wait(BoxFuture<'static, ()>),
    /// Read the description of the input; the partition is at this sequence.
    CheckInput(u64),
    /// Publish provisional candles. A lost one does no harm: the next follows in a second.
    Publish(Vec<ProvisionalCandle>),
    /// Log and count something.
    Report(PartitionReport),
    /// The partition has ended and ignores all further events.
    End(Ended),
    /// The partition cannot continue.
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
            Self::CheckInput(seen) => write!(f, "CheckInput({seen})"),
            Self::Publish(open) => write!(f, "Publish({})", open.len()),
            Self::Report(report) => report.fmt(f),
            Self::End(ended) => ended.fmt(f),
            Self::Fail(error) => write!(f, "Fail({error})"),
        }
    }
}

/// An observation for the log and the metrics.
#[derive(Debug, Clone)]
pub enum PartitionReport {
    /// The partition is recovered and attached to its input.
    Attached,
    /// A commit is stored.
    Committed {
        /// The stored part.
        part: Arc<Part>,
        /// The counts of the step.
        counters: Vec<CounterValue>,
    },
    /// Another owner has committed: uncommitted results are dropped.
    Overtaken,
    /// Input is lost, as `--accept-loss` allows.
    LossAccepted {
        /// First sequence.
        from: u64,
        /// Last sequence.
        to: u64,
    },
    /// The partition ends with an unconfirmed commit; the next owner reads whether it was stored.
    Unconfirmed,
}

/// How a partition ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and everything that was applied is committed. If a message was applied in part, the input since
    /// the last commit is dropped with it; the next owner applies it again.
    Drained,
    /// Another owner has committed, or has the lease.
    Fenced,
}

/// A provisional candle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionalCandle {
    /// Its live subject.
    pub subject: String,
    /// The candle so far.
    pub payload: Bytes,
}

/// The part of the description of the input stream that a partition needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputInfo {
    /// The identity of the log.
    pub log: LogId,
    /// The first sequence from which no message was removed.
    pub begins: u64,
    /// The first sequence that exists.
    pub first_seq: u64,
    /// The last sequence given out.
    pub last_seq: u64,
    /// Whether it is trimmed up to the commits of its readers, and no further.
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
