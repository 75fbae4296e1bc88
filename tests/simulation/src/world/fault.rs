//! Faults that can be planted, to see that the simulator finds them. They are in what surrounds production code here, never in
//! production code.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// The server ignores what a message expects: the fence is left out.
    FenceLeftOut,
    /// A process leaves the fence out of its commits, because it holds the lease.
    LeaseTrusted,
    /// A commit stores positions in a batch of their own, before the results.
    PositionBeforeResults,
    /// States are stored without the last input that they contain.
    StateWithoutLastSeq,
    /// A commit without an answer counts as refused, and goes again behind a new fence.
    LostAnswerTakenForRefusal,
    /// A commit that is refused because its first copy was stored counts as refused, and goes again behind a new fence.
    DuplicateTakenForRefusal,
    /// A recovery emits what it applies again.
    ReplayEmits,
    /// A recovery begins behind the position, not behind what the states contain.
    ReplayFromPosition,
    /// MARKET is trimmed up to the positions of its readers.
    TrimmedToPosition,
    /// A reader does not notice that a message is missing.
    GapNotNoticed,
    /// A recovery takes the position from a copy that lags.
    LaggingCopyAccepted,
    /// A reader takes the end of a copy that lags for the end of the stream.
    LaggingEndAccepted,
    /// The remains of a torn batch are left where they are.
    OrphansLeft,
}

impl Fault {
    /// Every one.
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
