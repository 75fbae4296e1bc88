//! Stored forms that several crates read and write.

mod log_id;
mod position;
mod step_config;
mod version;

pub use log_id::{LogEvent, LogId};
pub use position::{POSITION_VERSION, Position, decode_position, positions, settings_of};
pub use step_config::StepConfig;
pub use version::decode as decode_version;
