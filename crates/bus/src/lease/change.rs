//! Changes of the slots of an instance.

/// A slot that was claimed. A later claim of the same slot is another lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The slot.
    pub slot: u32,
    /// Number of the claim, counted per instance.
    pub(super) term: u64,
}

/// A change of the slots of this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The instance owns a slot from now on.
    Taken(Lease),
    /// Another instance should have the slot: finish its work, then call [`super::Leases::release`].
    Wanted(u32),
    /// Another instance has the slot already: drop its work.
    Lost(u32),
    /// The instance has its share for now.
    Settled,
}
