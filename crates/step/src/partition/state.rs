//! The state of a partition: its phase, sequences, instruments, draft and commit in flight.

use std::sync::Arc;
use std::time::Duration;

use bus::protocol::{LogId, StepConfig};
use market::EventTime;

use crate::commit::Commit;
use crate::commit_schedule::CommitSchedule;
use crate::operator::{CounterValue, Operator};
use crate::partition::draft::{Draft, Held};
use crate::partition::event::{Effect, ProvisionalCandle};
use crate::partition::members::Members;
use crate::time::Time;

/// With at most this many messages pending a partition has caught up.
const PENDING_MAX: u64 = 8;

/// Identity and settings of a partition.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The partition.
    pub partition: u32,
    /// Number of partitions.
    pub partitions: u32,
    /// The identity of the input log.
    pub log: LogId,
    /// The settings that shape results.
    pub config: StepConfig,
    /// Whether to continue after input that was deleted unread.
    pub accept_loss: bool,
}

/// State of the life cycle.
pub(super) enum Phase {
    /// The checkpoint is being read.
    Recovering,
    /// Input that the stored states lack is applied to them; its results are stored already.
    Replaying(Replay),
    /// Input is applied; no commit is in flight.
    Owning,
    /// A commit is in flight.
    Sealed(Box<Sealed>),
    /// The partition has ended.
    Over,
}

/// PartitionProgress of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionProgress {
    /// Messages that are pending, or applied but not in a commit.
    pub lag: u64,
    /// The lowest and the highest watermark among the instruments that have one.
    pub watermarks: Option<(EventTime, EventTime)>,
}

/// A partition.
pub struct Partition<O: Operator> {
    pub(super) operator: Arc<O>,
    pub(super) setup: Setup,
    pub(super) schedule: CommitSchedule,
    pub(super) phase: Phase,
    /// Stream sequence of the last position.
    pub(super) fence: u64,
    /// Last input applied.
    pub(super) position: u64,
    /// Up to here no input of this partition can be missing.
    pub(super) frontier: u64,
    /// Frontier of the last commit.
    pub(super) committed_frontier: u64,
    pub(super) committed_at: Time,
    /// Position or frontier at the last check that found nothing missing.
    pub(super) verified: u64,
    /// Maximum age of a stored frontier: well within the retention of the input.
    pub(super) frontier_age_max: Duration,
    /// Whether the stored frontier lies where the input will soon be deleted.
    pub(super) is_frontier_endangered: bool,
    /// Messages that are pending on the server.
    pub(super) pending: u64,
    /// Whether another message may have arrived already.
    pub(super) has_more: bool,
    /// Number of input sequences that were lost and accepted.
    pub(super) lost: u64,
    /// An instrument that was last read before this sequence has a gap before its next message.
    pub(super) lost_to: u64,
    /// Messages that were delivered again.
    pub(super) dropped: u64,
    /// Whether the position alone requires a commit.
    pub(super) is_position_due: bool,
    pub(super) counts: O::Counts,
    pub(super) members: Members<O::State>,
    /// Time of the first applied input that the stored states lack.
    pub(super) unsettled_since: Option<Time>,
    pub(super) draft: Draft,
    /// A message that is applied in part and waits.
    pub(super) held: Option<Held>,
    pub(super) stopping_since: Option<Time>,
    /// Whether the reader is attached to the input.
    pub(super) is_attached: bool,
    pub(super) is_attachment_reported: bool,
    /// Time of the next check for holes; `None` while one runs.
    pub(super) check_at: Option<Time>,
}

impl<O: Operator> Partition<O> {
    /// Whether almost no input is pending.
    pub(super) fn has_caught_up(&self) -> bool {
        self.pending <= PENDING_MAX
    }
}

/// A replay of input that the stored states lack.
#[derive(Debug)]
pub(super) struct Replay {
    /// The position: the last input that was applied before.
    pub(super) to: u64,
    /// Number of inputs applied to all states afterwards. `None` when some of the input is lost.
    pub(super) applied: Option<u64>,
}

/// A commit in flight.
pub(super) struct Sealed {
    pub(super) commit: Commit,
    /// Whether it contains live input.
    pub(super) is_live: bool,
    /// Start of the commit.
    pub(super) since: Time,
    /// When it is sent again.
    pub(super) again_at: Option<Time>,
    /// Provisional candles at the time of sealing.
    pub(super) open: Vec<ProvisionalCandle>,
    /// Counts up to its position.
    pub(super) counters: Vec<CounterValue>,
}

impl Sealed {
    /// The effect that stores it.
    pub(super) fn effect(&self) -> Effect {
        Effect::Commit { part: Arc::clone(self.commit.part()), is_live: self.is_live }
    }
}
