//! A server's disk: when it has what the server did, and what a power cut leaves.

/// When a server writes what it stores through to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges: `sync_interval: always`.
    #[default]
    Always,
    /// Now and then, when [`crate::JetStream::sync`] says so. A process that is killed loses nothing, since the system has it.
    Later,
}

/// The part of the unwritten work that survives a power cut. A server that syncs always has nothing of the kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survivors {
    /// Whole commits, of those since the last sync, in order.
    pub commits: usize,
    /// Messages of the commit behind them, from its beginning: a torn batch.
    pub messages: usize,
}

impl Survivors {
    /// Everything that was not written through is lost.
    pub const NONE: Self = Self { commits: 0, messages: 0 };
}
