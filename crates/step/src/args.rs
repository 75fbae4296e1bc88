//! The flags of every step.

use std::time::Duration;

use bus::lease::LeaseArgs;
use market::Span;
use market::windowing::EventTimePolicy;
use service::HealthArgs;

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

/// Flags of every step's `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// How event time is judged.
    #[command(flatten)]
    pub event_time: EventTimeArgs,
    /// Which partitions it works on.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Where health is served.
    #[command(flatten)]
    pub health: HealthArgs,
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

impl From<EventTimeArgs> for EventTimePolicy {
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
