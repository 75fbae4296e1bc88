//! The words of the field, as pure code: ticks, exact sums, event-time windows, candles, profiles, features, fair scores.
//!
//! This crate never awaits, reads a clock, draws a random number, logs, or touches a file or a socket: the same input
//! always gives the same output, on any machine, at any replay speed. Start reading at [`tick`] (what enters),
//! [`acceptance`] (what counts), [`windowing`] (when a window closes) and [`candle`] (what comes out).

#![warn(missing_docs)]

pub mod acceptance;
pub mod baseline;
pub mod candle;
pub mod coverage;
pub mod dataset;
pub mod digits;
pub mod evaluation;
pub mod exact;
pub mod feature;
pub mod forecast;
pub mod gap;
pub mod heartbeat;
pub mod instrument;
pub mod interval;
pub mod leak;
pub mod profile;
pub mod split;
pub mod table;
pub mod tick;
pub mod time;
pub mod trail;
pub mod validate;
pub mod watermark;
pub mod window;
pub mod windowing;

pub use candle::Candle;
pub use instrument::Instrument;
pub use tick::Tick;
pub use time::{EventTime, Span};
pub use window::Window;
