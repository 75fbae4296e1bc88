//! The vocabulary of the market, as pure code: ticks, exact sums, event-time windows, candles, and the records of the
//! streams.
//!
//! This crate never awaits, reads a clock, draws a random number, logs, or touches a file or a socket: the same input
//! always gives the same output, on any machine, at any replay speed.
//!
//! Start reading at [`tick`] (the input), [`validate`] and [`acceptance`] (which ticks count), [`windowing`] (when a
//! window closes) and [`candle`] (the output).
//!
//! ```
//! use market::acceptance::{Acceptance, TickVerdict};
//! use market::watermark::Watermark;
//! use market::windowing::{EventTimePolicy, Windowing};
//! use market::{EventTime, Instrument, Tick, Window};
//!
//! let quote = |event_ms: i64, price: f64| Tick::point(EventTime(event_ms), price);
//! let bitcoin = Instrument::new("bitcoin", "usd")?;
//! let policy = EventTimePolicy::default();
//! let (mut acceptance, mut watermark) = (Acceptance::default(), Watermark::default());
//! let mut windows = Windowing::new(&[Window::Minute]);
//! let mut candles = Vec::new();
//! for tick in [quote(1_000, 10.0), quote(1_000, 10.0), quote(30_000, 12.0), quote(65_000, 11.0)] {
//!     if acceptance.judge(&tick, policy) == TickVerdict::Accepted {
//!         let advance = watermark.advance(tick.event, policy.disorder);
//!         windows.push(&tick, advance, policy, |issue| candles.push(issue.candle(&bitcoin)));
//!     }
//! }
//! // With 5 s of disorder the tick at 65 s closes the first minute. The duplicate does not count.
//! let candle = &candles[0];
//! assert_eq!((candle.open, candle.close, candle.average, candle.count), (10.0, 12.0, 11.0, 2));
//! # Ok::<(), market::instrument::InstrumentError>(())
//! ```

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
pub mod span_text;
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
