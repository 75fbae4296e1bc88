//! What `scripts/bench` measures: how fast a replay is and a live tick, how that grows, what it takes of a machine, how long
//! a takeover and a recovery take, and what idleness, archiving, learning and an audit cost.

// An environment that is not as the run needs it ends the run.
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
