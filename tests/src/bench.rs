//! What `scripts/bench` measures: how long a takeover takes, and what idleness, archiving and learning cost.

pub mod archive;
pub mod figures;
pub mod idle;
pub mod learning;
pub mod peers;
pub mod pipeline;
pub mod process;
pub mod replay;
pub mod report;
pub mod takeover;
pub mod workload;
