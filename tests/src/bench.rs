//! What `scripts/bench` measures: how long a takeover takes, and what idleness and learning cost.

pub mod figures;
pub mod idle;
pub mod learning;
pub mod takeover;
