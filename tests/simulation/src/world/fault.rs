//! Faults that can be planted, to show that the simulator finds them. They are in the code around production code,
//! never in production code.

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// The server ignores expected sequences, so there is no fence.
    FenceLeftOut,
    /// A process omits the fence of its commits because it holds the lease.
    LeaseTrusted,
    /// A commit stores positions in a batch of their own, before the results.
    PositionBeforeResults,
    /// States are stored without their last input.
    StateWithoutLastSeq,
    /// A commit without an answer counts as refused and is sent again with a new fence.
    LostAnswerTakenForRefusal,
    /// A commit that is refused because its first copy was stored counts as refused and is sent again with a new fence.
    DuplicateTakenForRefusal,
    /// A recovery emits the results of replayed input.
    ReplayEmits,
    /// A recovery continues after the position, not after the input that the states contain.
    ReplayFromPosition,
    /// MARKET is trimmed up to the positions of its readers.
    TrimmedToPosition,
    /// A reader does not notice a missing message.
    GapNotNoticed,
    /// A recovery reads the position from a lagging replica.
    LaggingCopyAccepted,
    /// A reader takes the end of a lagging replica for the end of the stream.
    LaggingEndAccepted,
    /// The outputs of a torn batch are not removed.
    OrphansLeft,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 13] = [
        Self::FenceLeftOut,
        Self::LeaseTrusted,
        Self::PositionBeforeResults,
        Self::StateWithoutLastSeq,
        Self::LostAnswerTakenForRefusal,
        Self::DuplicateTakenForRefusal,
        Self::ReplayEmits,
        Self::ReplayFromPosition,
        Self::TrimmedToPosition,
        Self::GapNotNoticed,
        Self::LaggingCopyAccepted,
        Self::LaggingEndAccepted,
        Self::OrphansLeft,
    ];
}
