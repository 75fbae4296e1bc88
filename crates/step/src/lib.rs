//! The exactly-once runtime of the steps: recover, consume, apply, commit, for every partition that a process owns.
//!
//! A step is a pure [`Operator`]. Start reading there, then at [`serve`] (how a step runs) and [`transaction`] (how its
//! results are stored).

#![warn(missing_docs)]

pub mod args;
pub mod checkpoint;
pub mod commit;
pub mod commit_schedule;
pub mod operator;
pub mod outputs;
pub mod partition;
pub mod serve;
pub mod transaction;

mod backlog;
mod committer;
mod lazy_state;
mod skip_log;
mod metrics;
mod readiness;
mod supervisor;
mod worker;

pub use args::{EventTimeArgs, InstanceArgs, ServeArgs};
pub use skip_log::SkipLog;
pub use operator::{Applied, Figure, Input, Operator};
pub use outputs::Outputs;
pub use partition::{INPUT_BYTES_MAX, INPUT_MESSAGES_MAX};
pub use serve::{Context, OnCommit, run, serve};
