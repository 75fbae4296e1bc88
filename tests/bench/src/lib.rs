//! Measurements of `scripts/bench`: throughput of a replay, latency of a live tick, scaling, footprint, takeover and
//! recovery times, and the costs of idleness, archiving, learning and audits.

// An unsuitable environment may end the run.
#![allow(clippy::unwrap_used)]

pub mod archive;
pub mod attack;
pub mod audit;
pub mod effort;
pub mod footprint;
pub mod growth;
pub mod idle;
pub mod latency;
pub mod learning;
pub mod live_feed;
pub mod machine;
pub mod markdown;
pub mod overload;
pub mod page_speed;
pub mod peers;
pub mod picture;
pub mod pipeline;
pub mod raw;
pub mod recovery;
pub mod replay;
pub mod report;
pub mod takeover;
pub mod times;
pub mod workload;
