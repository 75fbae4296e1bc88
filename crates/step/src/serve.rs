//! Entry points of a step: [`serve`] as a process, [`run`] as a task.

use std::sync::Arc;

use bus::connect::start_service;
use bus::lease::{Leases, wait_for_bucket};
use bus::protocol::StepConfig;
use bus::retry::wait_for;
use bus::stream::Step;
use bus::topology::{self, StreamInfo};
use bus::{Error, NatsArgs};
use market::windowing::EventTimePolicy;
use service::Shutdown;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::args::ServeArgs;
use crate::backlog::Backlog;
use crate::commit_schedule::CommitSchedule;
use crate::committer;
use crate::context::{Context, OnCommit};
use crate::metrics::StepMetrics;
use crate::operator::Operator;
use crate::partition::Setup;
use crate::readiness::Readiness;
use crate::supervisor::Supervisor;
use crate::worker::Shared;

/// Serves a step as a process of its own until shutdown: health, connection, then [`run`]. `operator` creates the
/// operator from the event-time settings.
///
/// # Errors
/// As [`start_service`] and [`run`].
pub async fn serve<O: Operator>(
    nats: &NatsArgs,
    args: ServeArgs,
    on_commit: Option<OnCommit>,
    shutdown: Shutdown,
    operator: impl FnOnce(EventTimePolicy) -> O,
) -> anyhow::Result<()> {
    let ServeArgs { event_time, instance, health } = args;
    let Some((connection, health)) = start_service(nats, O::STEP.service, &health, &shutdown).await? else {
        return Ok(());
    };
    let context = Context { connection, shutdown, health, on_commit, instance };
    Ok(run(context, operator(event_time.into())).await?)
}

/// Runs a step over this instance's share of the partitions until shutdown. At shutdown it commits what was applied,
/// releases its partitions and returns.
///
/// # Errors
/// An error that waiting cannot resolve: another topology, another log, a missing permission. A partition with a hole
/// in its input or a lost checkpoint stops alone; the process stays up but is not ready.
pub async fn run<O: Operator>(context: Context, operator: O) -> Result<(), Error> {
    let Some((input, _)) = wait_for_streams(&context, O::STEP).await? else { return Ok(()) };
    if !wait_for_bucket(&context.connection, &context.health, &context.shutdown).await? {
        return Ok(());
    }
    let partitions = input.partitions().unwrap_or_default();
    let log = input.log()?;
    let config = StepConfig::new(operator.event_time(), operator.shape());
    tracing::info!(service = O::STEP.service, partitions, settings = %config, "starting");
    let metrics = StepMetrics::new(context.health.metrics());
    let (commits, sealed) = committer::channel();
    let committer = tokio::spawn(committer::run(context.clone(), O::STEP, metrics.clone(), sealed));
    let readiness = Readiness::new(context.health.clone(), metrics.clone());
    let following = readiness.clone().follow(context.connection.clone());
    // Ends with this step, also when the step is dropped.
    let _following = AbortOnDropHandle::new(tokio::spawn(following));
    let leases = Leases::join(&context.connection, O::STEP.service, partitions, context.instance.lease.lease_ttl);
    let accept_loss = context.instance.accept_loss;
    let shared = Shared {
        context,
        operator: Arc::new(operator),
        setup: Setup { partition: 0, partitions, log, config, accept_loss },
        schedule: CommitSchedule::new(O::STEP, partitions),
        epoch: Instant::now(),
        commits,
        readiness,
        backlog: Backlog::of(O::STEP.input),
        metrics,
    };
    let supervisor = Supervisor::new(Arc::new(shared), leases);
    let result = supervisor.run().await;
    // Every worker has its last commit confirmed, or has given up on it.
    committer.abort();
    match committer.await {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => result,
    }
}

/// Waits until both streams of a step exist. `None` after a shutdown request.
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
