//! Fuzz targets, each a function of bytes that panics when candlewire reads them wrong.
//!
//! [`TARGETS`] lists them. `scripts/fuzz` runs one for a time with libFuzzer, from the corpus in `corpus/<target>/`; the test
//! of this crate replays the corpus. An input that made a target fail becomes a file of its corpus.

mod targets;

pub use targets::TARGETS;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target and of its corpus.
    pub name: &'static str,
    /// Reads the bytes, and panics when the result is wrong.
    pub run: fn(&[u8]),
}

impl Target {
    /// Returns the target with this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }
}
