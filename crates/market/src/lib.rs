//! The words of the field, as pure code: ticks, exact sums, event-time windows, candles, profiles, features, fair scores.
//!
//! This crate never awaits, reads a clock, draws a random number, logs, or touches a file or a socket: the same input
//! always gives the same output, on any machine, at any replay speed. Start reading at [`tick`] (what enters),
//! [`acceptance`] (what counts), [`windowing`] (when a window closes) and [`candle`] (what comes out).

#![warn(missing_docs)]

pub mod acceptance;
pub mod band;
pub mod baseline;
pub mod candle;
pub mod coverage;
pub mod digits;
pub mod exact;
pub mod forecast;
pub mod gap;
pub mod heartbeat;
pub mod instrument;
pub mod profile;
pub mod recipe;
pub mod scores;
pub mod table;
pub mod tick;
pub mod time;
pub mod validate;
pub mod watermark;
pub mod window;
pub mod windowing;

pub use baseline::Baseline;
pub use candle::Candle;
pub use instrument::Instrument;
pub use recipe::Recipe;
pub use scores::Scores;
pub use tick::Tick;
pub use time::{EventTime, Span};
pub use window::Window;
