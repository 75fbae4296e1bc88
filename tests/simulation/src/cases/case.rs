//! A case, and the sizes of its streams.

use crate::jetstream::{Request, StreamConfig};

/// Requests in order, with their answers.
#[derive(Debug)]
pub struct Case {
    /// The behavior that it shows.
    pub name: &'static str,
    /// The streams at its start.
    pub streams: Vec<StreamConfig>,
    /// Each request with its answer.
    pub steps: Vec<(Request, &'static str)>,
    /// The results that MARKET has republished by the end; empty if the case does not check them.
    pub live: &'static [&'static str],
}

/// Enough bytes for everything that a case stores.
pub const AMPLE: u64 = 64 << 20;
/// Partitions of FEED.
pub const PARTITIONS: u32 = 16;
/// Age limit of FEED.
pub const FEED_AGE_US: u64 = 86_400_000_000;

/// A case of MARKET.
pub(super) fn market(name: &'static str, steps: Vec<(Request, &'static str)>) -> Case {
    Case { name, streams: vec![StreamConfig::market(AMPLE)], steps, live: &[] }
}
