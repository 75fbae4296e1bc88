//! The operator of a step: a pure function from inputs and states to outputs and states.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bus::RecordKind;
use bus::stream::Step;
use futures::future::BoxFuture;
use market::windowing::EventTimePolicy;
use market::{Candle, EventTime, Instrument, Window};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::outputs::Outputs;

/// An input message of one instrument.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its sequence in the input stream.
    pub seq: u64,
    /// Its kind, one of those that the step reads.
    pub kind: RecordKind,
    /// The instrument; `None` when the subject does not name a valid one.
    pub instrument: Option<&'a Instrument>,
    /// Time of its first storing, in milliseconds.
    pub stored_ms: i64,
    /// Whether its schema header names a version that this build knows.
    pub is_known_schema: bool,
    /// Whether input of this instrument before this message may be lost, as `--accept-loss` allowed. It may affect
    /// results but no state: when the input is applied again, the value may differ.
    pub is_after_loss: bool,
    /// Its payload.
    pub payload: &'a [u8],
    /// Number of its lines that are applied already.
    pub lines_done: u32,
}

/// How much of a message was applied.
pub enum Applied {
    /// The whole message.
    All,
    /// The message up to a line that needs something that is not ready. It is applied again from there once `ready`
    /// resolves.
    UpTo {
        /// Lines that are applied.
        lines_done: u32,
        /// Resolves when it can be tried again.
        ready: BoxFuture<'static, ()>,
    },
}

/// A step: a pure function from inputs and states to outputs and states. It reads no clock and does no I/O, so the same
/// log gives the same results at any speed, in any number of processes, after any crash.
pub trait Operator: Send + Sync + 'static {
    /// Input and output streams.
    const STEP: Step;
    /// The state of one instrument. Its size is bounded.
    type State: Serialize + DeserializeOwned + Default + Send + Sync + 'static;
    /// Counts over all instruments of a partition.
    type Counts: Serialize + DeserializeOwned + Default + Clone + Debug + Send + Sync + 'static;

    /// The event-time settings. Consecutive steps must have the same.
    fn event_time(&self) -> EventTimePolicy;

    /// All other settings that shape results, as text. A change of them requires a rebuild.
    fn shape(&self) -> String;

    /// Applies a message, or as many of its lines as possible now. Where it stops, and how often, must not change any
    /// result.
    fn apply(
        &self,
        input: Input<'_>,
        state: &mut Self::State,
        counts: &mut Self::Counts,
        outputs: &mut Outputs,
    ) -> Applied;

    /// The provisional candles of the open windows, for live subscribers.
    fn provisional(&self, instrument: &Instrument, state: &Self::State) -> Vec<Candle>;

    /// The instrument's watermark; [`EventTime::MIN`] before its first event.
    fn watermark(&self, state: &Self::State) -> EventTime;

    /// The counts as metrics.
    fn counter_values(counts: &Self::Counts) -> Vec<CounterValue>;
}

/// A count as a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterValue {
    /// Name of the counter, without prefix and `_total`.
    pub metric: &'static str,
    /// The help text of the counter, in one sentence.
    pub help: &'static str,
    /// Labels and their values, such as `outcome` and `accepted`.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The count since the partition began.
    pub count: u64,
}

impl CounterValue {
    /// The counter of final windows: `candles_final`.
    pub fn candles(count: u64) -> Self {
        Self { metric: "candles_final", help: "Windows that became final, of all kinds", labels: Vec::new(), count }
    }

    /// Counters of windows: `candles_final`, `spans_dropped`, and `ticks_coarser` by window.
    pub fn of_windows(candles: u64, coarser: &BTreeMap<Window, u64>, spans_dropped: u64) -> Vec<Self> {
        let counter = |metric, help, labels, count| Self { metric, help, labels, count };
        let dropped = "Spans that coverage had no room for: it understates";
        let mut counters = vec![Self::candles(candles), counter("spans_dropped", dropped, Vec::new(), spans_dropped)];
        counters.extend(coarser.iter().map(|(window, &count)| {
            counter(
                "ticks_coarser",
                "Bars of which no window of a kind holds all",
                vec![("window", window.name())],
                count,
            )
        }));
        counters
    }

    /// Whether both have the same metric and labels.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.metric == other.metric && self.labels == other.labels
    }
}
