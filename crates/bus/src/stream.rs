//! The streams and buckets by name, and the steps between streams.

use std::fmt;

use market::Window;

use crate::record_kind::RecordKind;

/// A stream of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Raw input: ticks, heartbeats, gaps. Written by the producer.
    Feed,
    /// Prices, 1-minute candles, late and rejected records. Written by the stream-processor.
    Market,
    /// Candles of longer windows and profiles. Written by the aggregator.
    Stats,
    /// Forecasts, their scores and the models that made them. Written by the trainer.
    Forecast,
}

/// The object store of models, model cards and predictions.
pub const ARTIFACTS: &str = "ARTIFACTS";
/// The stream that backs the object store [`ARTIFACTS`].
pub const ARTIFACTS_STREAM: &str = "OBJ_ARTIFACTS";

/// The key-value bucket of leases: which instance owns which partition of which step.
pub const LEASES: &str = "LEASES";
/// The stream that backs the bucket [`LEASES`].
pub const LEASES_STREAM: &str = "KV_LEASES";

/// The key-value bucket in which readers with a position outside the server register how far they have read.
pub const READERS: &str = "READERS";

/// The stream that backs the bucket [`READERS`].
pub const READERS_STREAM: &str = "KV_READERS";

/// The key-value bucket of request budgets: the calls that all producers together have made to a source.
pub const BUDGETS: &str = "BUDGETS";

/// The stream that backs the bucket [`BUDGETS`].
pub const BUDGETS_STREAM: &str = "KV_BUDGETS";

/// The lease group of the trainers: one instance at a time archives MARKET, trains and forecasts.
pub const ARCHIVER: &str = "trainer.archive";

impl Stream {
    /// Every stream of records, upstream first.
    pub const ALL: [Self; 4] = [Self::Feed, Self::Market, Self::Stats, Self::Forecast];

    /// The streams that hold checkpoints next to their results.
    pub const CHECKPOINTED: [Self; 3] = [Self::Market, Self::Stats, Self::Forecast];

    /// The stream's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "FEED",
            Self::Market => "MARKET",
            Self::Stats => "STATS",
            Self::Forecast => "FORECAST",
        }
    }

    /// The first token of the stream's stored subjects.
    pub const fn root(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Market => "market",
            Self::Stats => "stats",
            Self::Forecast => "forecast",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step: its input stream and the stream of its results, states and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Name of the service that runs the step.
    pub service: &'static str,
    /// The input stream.
    pub input: Stream,
    /// The kinds of records that the step reads.
    pub kinds: &'static [RecordKind],
    /// The stream of its results and checkpoints.
    pub output: Stream,
    /// Whether a pipeline works without the step. Until its first commit no command waits for it and no input is kept
    /// for it.
    pub is_optional: bool,
    /// Whether users watch each result live. A commit of such a step never waits for other commits.
    pub is_live: bool,
}

impl Step {
    /// The lease group of the instances that run the step.
    pub fn lease_group(self) -> &'static str {
        if self.output == Stream::Forecast { ARCHIVER } else { self.service }
    }
}

/// FEED → MARKET, by the stream-processor.
pub const MARKET_STEP: Step = Step {
    service: "stream-processor",
    input: Stream::Feed,
    kinds: &[RecordKind::Tick, RecordKind::Heartbeat, RecordKind::Gap],
    output: Stream::Market,
    is_optional: false,
    is_live: true,
};

/// MARKET → STATS, by the aggregator.
pub const STATS_STEP: Step = Step {
    service: "aggregator",
    input: Stream::Market,
    kinds: &[RecordKind::Price, RecordKind::Heartbeat],
    output: Stream::Stats,
    is_optional: false,
    is_live: false,
};

/// MARKET → FORECAST, by the trainer.
pub const FORECAST_STEP: Step = Step {
    service: "trainer",
    input: Stream::Market,
    kinds: &[RecordKind::Price, RecordKind::Heartbeat],
    output: Stream::Forecast,
    is_optional: true,
    is_live: false,
};

/// Every step, upstream first.
pub const STEPS: [Step; 3] = [MARKET_STEP, STATS_STEP, FORECAST_STEP];

/// The windows that the aggregator computes.
pub const STATS_WINDOWS: [Window; 5] =
    [Window::FiveMinutes, Window::QuarterHour, Window::Hour, Window::Day, Window::HourEveryHalf];
