//! Stored forms that several crates read.

mod position;

pub use position::{Position, decode_position, positions, settings_of};
