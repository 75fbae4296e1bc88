//! What a step is: a pure function from inputs and states to outputs and states.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bus::RecordKind;
use bus::topology::Step;
use futures::future::BoxFuture;
use market::windowing::EventTimePolicy;
use market::{Candle, EventTime, Instrument, Window};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::outputs::Outputs;

/// A message of the input, of one instrument.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its sequence in the input stream.
    pub seq: u64,
    /// Its kind: one that the step reads.
    pub kind: RecordKind,
    /// Whose it is; `None` when the subject names what no instrument can be called.
    pub instrument: Option<&'a Instrument>,
    /// When the server stored it first, in milliseconds.
    pub stored_ms: i64,
    /// Whether its header names a version of its record that this build knows.
    pub is_known_schema: bool,
    /// Whether input of this instrument between the last message and this one may be lost, as `--accept-loss` accepted. It
    /// may shape results but no state: applied again, an input may see another answer.
    pub is_after_loss: bool,
    /// Its lines.
    pub payload: &'a [u8],
    /// So many of its lines are applied already.
    pub lines_done: u32,
}

/// How far a message was applied.
pub enum Applied {
    /// All of it.
    All,
    /// Up to a line that needs what is not at hand yet: applied again from there once `ready` resolves.
    UpTo {
        /// Lines that are applied.
        lines_done: u32,
        /// Resolves when it is worth trying again.
        ready: BoxFuture<'static, ()>,
    },
}

/// A step: a pure function from inputs and states to outputs and states. It reads no clock and does no I/O, so the same
/// log gives the same results at any speed, in any number of processes, after any crash.
pub trait Operator: Send + Sync + 'static {
    /// What it reads and writes.
    const STEP: Step;
    /// What it remembers of one instrument. Bounded.
    type State: Serialize + DeserializeOwned + Default + Send + Sync + 'static;
    /// What it counts over all instruments of a partition.
    type Counts: Serialize + DeserializeOwned + Default + Clone + Debug + Send + Sync + 'static;

    /// How event time is judged. A step must judge it as the step before it does.
    fn event_time(&self) -> EventTimePolicy;

    /// Everything else that shapes results, in words. Other settings are another result: they need a rebuild.
    fn shape(&self) -> String;

    /// Applies one message, or as much of it as can be applied by now. Where it stops and how often changes no result.
    fn apply(
        &self,
        input: Input<'_>,
        state: &mut Self::State,
        counts: &mut Self::Counts,
        outputs: &mut Outputs,
    ) -> Applied;

    /// The candles of windows that are still open, for whoever watches live.
    fn provisional(&self, instrument: &Instrument, state: &Self::State) -> Vec<Candle>;

    /// How far event time has certainly come for an instrument; [`EventTime::MIN`] before its first event.
    fn watermark(&self, state: &Self::State) -> EventTime;

    /// What the counts come to as metrics.
    fn figures(counts: &Self::Counts) -> Vec<Figure>;
}

/// A count as a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Name of the counter, without prefix and `_total`.
    pub metric: &'static str,
    /// What the counter counts, in one sentence.
    pub help: &'static str,
    /// Labels and their values, such as `outcome` and `accepted`.
    pub labels: Vec<(&'static str, &'static str)>,
    /// How many, since the partition began.
    pub count: u64,
}

impl Figure {
    /// Windows that became final: `candles_final`.
    pub fn candles(count: u64) -> Self {
        Self { metric: "candles_final", help: "Windows that became final, of all kinds", labels: Vec::new(), count }
    }

    /// What became of windows: `candles_final`, `spans_dropped`, and `ticks_coarser` by kind of window.
    pub fn of_windows(candles: u64, coarser: &BTreeMap<Window, u64>, spans_dropped: u64) -> Vec<Self> {
        let figure = |metric, help, labels, count| Self { metric, help, labels, count };
        let dropped = "Spans that coverage had no room for: it understates";
        let mut figures = vec![Self::candles(candles), figure("spans_dropped", dropped, Vec::new(), spans_dropped)];
        figures.extend(coarser.iter().map(|(window, &count)| {
            figure(
                "ticks_coarser",
                "Bars of which no window of a kind holds all",
                vec![("window", window.name())],
                count,
            )
        }));
        figures
    }

    /// Whether both count the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.metric == other.metric && self.labels == other.labels
    }
}
