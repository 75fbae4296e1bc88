//! Disks: when data is synced, and what survives a power cut.

/// When a server syncs to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges: `sync_interval: always`.
    #[default]
    Always,
    /// When [`crate::JetStream::sync`] is called. A killed process loses nothing, since the operating system has the
    /// data.
    Later,
}

/// The unsynced data that survives a power cut. A server that always syncs has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survivors {
    /// Number of whole commits since the last sync, in order.
    pub commits: usize,
    /// Number of messages of the next commit, from its beginning: a torn batch.
    pub messages: usize,
}

impl Survivors {
    /// All unsynced data is lost.
    pub const NONE: Self = Self { commits: 0, messages: 0 };
}
