//! What `scripts/bench` measures: how long a takeover takes, and what idleness costs.

pub mod figures;
pub mod idle;
pub mod takeover;
