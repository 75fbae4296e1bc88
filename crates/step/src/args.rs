//! Command-line flags of every step.

use bus::lease::LeaseArgs;
use market::Span;
use market::span_text::at_most;
use market::windowing::EventTimePolicy;
use service::HealthArgs;

/// Upper bound of the disorder bound: the results of the windows that one message closes must fit into a batch.
const DISORDER_MAX: Span = Span::HOUR;
/// Upper bound of the allowed lateness: the minutes that can still be revised must fit into a state.
const LATENESS_MAX: Span = Span::DAY;

/// Flags of `run` of every step.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Event-time settings.
    #[command(flatten)]
    pub event_time: EventTimeArgs,
    /// Shares among instances.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Address of the health endpoint.
    #[command(flatten)]
    pub health: HealthArgs,
}

/// Event-time flags of every step.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Event time")]
pub struct EventTimeArgs {
    /// How far behind the newest event a tick may arrive without being late
    #[arg(long, env = "CANDLEWIRE_DISORDER", default_value = "5s", value_parser = at_most(DISORDER_MAX))]
    disorder: Span,
    /// How long after its end a window can still be revised
    #[arg(long, env = "CANDLEWIRE_LATENESS", default_value = "10m", value_parser = at_most(LATENESS_MAX))]
    lateness: Span,
}

impl From<EventTimeArgs> for EventTimePolicy {
    fn from(args: EventTimeArgs) -> Self {
        Self { disorder: args.disorder, lateness: args.lateness }
    }
}

/// Flags about the partitions that an instance works on.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Instances")]
pub struct InstanceArgs {
    /// Time to live of the leases.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// Continue after input that was deleted unread, and record a gap; without this flag such a partition stops
    #[arg(long)]
    pub accept_loss: bool,
}
