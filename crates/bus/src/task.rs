//! How a step runs: recover, consume, apply, commit, for every partition that this process owns.
//!
//! A step is a pure [`Operator`]. Equal instances of it share the partitions by leases. Each partition that a process
//! owns has a worker that reads, applies and seals drafts; one committer per process stores what is sealed, several
//! partitions in one batch when they wait together. While a draft is being committed the worker applies the next one,
//! which is sent only when the one before it is confirmed.

mod backlog;
mod committer;
mod crew;
mod kept;
mod left_out;
mod metrics;
mod owned;
mod readiness;
mod shown;
mod turns;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use market::windowing::Settings;
use market::{Candle, EventTime, Instrument, Span, Window};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::{Health, Shutdown};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::connect::{Connection, wait_for};
use crate::error::Error;
use crate::lease::{LeaseArgs, Leases, wait_for_bucket};
use crate::outputs::Outputs;
use crate::topology::{self, Step, StreamInfo};
use crate::transaction::Outgoing;

pub use left_out::LeftOut;
pub use owned::{INPUT_BYTES_MAX, INPUT_MESSAGES_MAX};

/// A message of the input, of one instrument.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its sequence in the input stream.
    pub seq: u64,
    /// Its kind, as the subject says.
    pub kind: &'a str,
    /// Whose it is; `None` when the subject names what no instrument can be called.
    pub instrument: Option<&'a Instrument>,
    /// When the server stored it first, in milliseconds.
    pub stored_ms: i64,
    /// Whether its header names a version of its record that this build knows.
    pub is_known_schema: bool,
    /// Whether input of this instrument between the last message and this one may be lost, as `--accept-loss` accepted.
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
    fn event_time(&self) -> Settings;

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
    fn is_same(&self, other: &Self) -> bool {
        self.metric == other.metric && self.labels == other.labels
    }
}

/// Longest disorder bound: what one message can close must fit into a batch.
const DISORDER_MAX: Duration = Duration::from_secs(3_600);
/// Longest allowed lateness: the minutes that can still be revised must fit into a state.
const LATENESS_MAX: Duration = Duration::from_secs(24 * 3_600);

fn at_most(bound: Duration) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        let within = span <= bound;
        within.then_some(span).ok_or_else(|| format!("at most {}", humantime::format_duration(bound)))
    }
}

/// Flags of every step that say how event time is judged.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Event time")]
pub struct EventTimeArgs {
    /// How far behind the newest event a tick may arrive without being late
    #[arg(long, env = "CANDLEWIRE_DISORDER", default_value = "5s", value_parser = at_most(DISORDER_MAX))]
    disorder: Duration,
    /// How long after its end a window can still be revised
    #[arg(long, env = "CANDLEWIRE_LATENESS", default_value = "10m", value_parser = at_most(LATENESS_MAX))]
    lateness: Duration,
}

impl From<EventTimeArgs> for Settings {
    fn from(args: EventTimeArgs) -> Self {
        let span = |duration: Duration| Span(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4));
        Self { disorder: span(args.disorder), lateness: span(args.lateness) }
    }
}

/// Flags of every step that say which partitions it works on.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Instances")]
pub struct InstanceArgs {
    /// How long this instance may be silent.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// Go on where input is lost for ever, and record a gap; without it such a partition stops
    #[arg(long)]
    pub accept_loss: bool,
}

/// What is told about every batch once it is stored.
pub type OnCommit = Arc<dyn Fn(&[Outgoing]) + Send + Sync>;

/// Everything that the workers of a process share.
#[derive(Clone)]
pub struct Context {
    /// The connection.
    pub connection: Connection,
    /// Asks everybody to drain and end.
    pub shutdown: Shutdown,
    /// What the process says of itself.
    pub health: Health,
    /// Told about every stored batch.
    pub on_commit: Option<OnCommit>,
    /// How it shares the partitions with other instances.
    pub instance: InstanceArgs,
}

/// Runs a step over this instance's share of the partitions until shutdown: drains, commits what was applied, gives its
/// partitions back, returns.
///
/// # Errors
/// What waiting cannot mend: another topology, another log, missing permission. A partition whose input has a hole or
/// whose checkpoint is lost stops alone, and the process stays up, not ready.
pub async fn run<O: Operator>(context: Context, operator: O) -> Result<(), Error> {
    let Some((input, _)) = wait_for_streams(&context, O::STEP).await? else { return Ok(()) };
    if !wait_for_bucket(&context.connection, &context.health, &context.shutdown).await? {
        return Ok(());
    }
    let partitions = input.partitions().unwrap_or_default();
    let settings = settings(&operator);
    tracing::info!(service = O::STEP.service, partitions, settings, "starting");
    let metrics = metrics::StepMetrics::new(context.health.metrics());
    let (committer, commits) = committer::channel();
    let committer = tokio::spawn(committer::run(context.clone(), O::STEP, metrics.clone(), committer));
    let readiness = readiness::Readiness::new(context.health.clone(), metrics.clone());
    let following = readiness.clone().follow(context.connection.clone());
    // Ends with this step, also when it is dropped at once.
    let _following = AbortOnDropHandle::new(tokio::spawn(following));
    let ttl = context.instance.lease.lease_ttl;
    let crew = crew::Crew {
        leases: Leases::join(&context.connection, O::STEP.service, partitions, ttl),
        context,
        operator: Arc::new(operator),
        log: worker::Log { partitions, input_created: input.log(), settings },
        turns: turns::Turns::new(O::STEP, partitions),
        commits,
        readiness,
        backlog: backlog::Backlog::of(O::STEP.input),
        metrics,
        workers: JoinSet::new(),
        hands: HashMap::new(),
    };
    let result = crew.run().await;
    // Every worker has seen its last commit confirmed, or given it up.
    committer.abort();
    match committer.await {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => result,
    }
}

/// Waits until both streams of a step exist. `None` when shutdown came first.
async fn wait_for_streams(context: &Context, step: Step) -> Result<Option<(StreamInfo, StreamInfo)>, Error> {
    let Context { connection, health, shutdown, .. } = context;
    let wait = async |stream| wait_for(|| topology::require(connection, stream), health, shutdown).await;
    let Some(input) = wait(step.input).await? else { return Ok(None) };
    let Some(output) = wait(step.output).await? else { return Ok(None) };
    if input.partitions() != output.partitions() {
        return Err(Error::StreamDiffers {
            stream: step.output.name().to_owned(),
            difference: format!("{:?} partitions, {} has {:?}", output.partitions(), step.input, input.partitions()),
        });
    }
    Ok(Some((input, output)))
}

/// All settings that shape the results of a step, in words: `disorder=5000 lateness=600000 windows=1m`.
fn settings<O: Operator>(operator: &O) -> String {
    format!("{} {}", event_time_words(operator.event_time()), operator.shape())
}

/// How event time is judged, in words, in milliseconds.
fn event_time_words(Settings { disorder, lateness }: Settings) -> String {
    format!("disorder={} lateness={}", disorder.ms(), lateness.ms())
}
