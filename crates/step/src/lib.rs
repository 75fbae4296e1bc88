//! The exactly-once runtime of the steps: recover, consume, apply, commit, for every partition that a process owns.
//!
//! This crate never computes a result itself. A step is a pure [`Operator`], and [`partition`] is a pure state machine
//! around it; only [`mod@serve`], the worker and the committer do I/O.
//!
//! Start reading at [`operator`], then [`partition`] (the state machine), [`mod@serve`] (how a step runs) and [`transaction`]
//! (how its results are stored).
//!
//! ```
//! use bus::RecordKind;
//! use bus::stream::{STATS_STEP, Step, Stream};
//! use market::windowing::EventTimePolicy;
//! use market::{Candle, EventTime, Instrument};
//! use step::{Applied, CounterValue, Input, Operator, Outputs};
//!
//! /// Adds up numbers and emits each sum.
//! struct Adding;
//!
//! impl Operator for Adding {
//!     const STEP: Step = STATS_STEP;
//!     type State = u64;
//!     type Counts = ();
//!
//!     fn event_time(&self) -> EventTimePolicy {
//!         EventTimePolicy::default()
//!     }
//!
//!     fn shape(&self) -> String {
//!         "sums".to_owned()
//!     }
//!
//!     fn apply(&self, input: Input<'_>, sum: &mut u64, (): &mut (), outputs: &mut Outputs) -> Applied {
//!         for (_, line) in bus::codec::lines(input.payload) {
//!             *sum += serde_json::from_slice::<u64>(line).unwrap_or(0);
//!             outputs.append(RecordKind::HourOfDay, sum);
//!         }
//!         Applied::All
//!     }
//!
//!     fn provisional(&self, _: &Instrument, _: &u64) -> Vec<Candle> {
//!         Vec::new()
//!     }
//!
//!     fn watermark(&self, _: &u64) -> EventTime {
//!         EventTime::MIN
//!     }
//!
//!     fn counter_values((): &()) -> Vec<CounterValue> {
//!         Vec::new()
//!     }
//! }
//!
//! let input = Input {
//!     seq: 1,
//!     kind: RecordKind::Price,
//!     instrument: None,
//!     stored_ms: 0,
//!     is_known_schema: true,
//!     is_after_loss: false,
//!     payload: b"2\n3",
//!     lines_done: 0,
//! };
//! let (mut sum, mut outputs) = (0, Outputs::default());
//! Adding.apply(input, &mut sum, &mut (), &mut outputs);
//! let messages = outputs.into_messages(Stream::Stats, 0, |_| ("bitcoin", "usd"));
//! assert_eq!(messages[0].subject, "stats.0.hour-of-day.bitcoin.usd");
//! assert_eq!(messages[0].payload, "2\n5");
//! ```

#![warn(missing_docs)]

pub mod args;
pub mod checkpoint;
pub mod commit;
pub mod commit_schedule;
pub mod operator;
pub mod outputs;
pub mod part;
pub mod partition;
pub mod serve;
pub mod time;
pub mod transaction;

mod backlog;
mod committer;
mod context;
mod lazy_state;
mod metrics;
mod readiness;
mod skip_log;
mod supervisor;
mod worker;

pub use args::{EventTimeArgs, InstanceArgs, ServeArgs};
pub use context::{Context, OnCommit};
pub use operator::{Applied, CounterValue, Input, Operator};
pub use outputs::Outputs;
pub use partition::{INPUT_BYTES_MAX, INPUT_MESSAGES_MAX};
pub use serve::{run, serve};
pub use skip_log::SkipLog;
