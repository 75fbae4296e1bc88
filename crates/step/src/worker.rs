//! Worker of one partition: performs the effects of its state machine, and feeds it with events.

use std::sync::Arc;
use std::time::Duration;

use bus::error::Disposition;
use bus::protocol::StepConfig;
use bus::reader::{self, Reader, Selection};
use bus::retry::Backoff;
use bus::stream::{STEPS, Step};
use bus::topology::stream_info;
use bus::{Connection, Error, protocol, subject};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use service::{BEAT, Shutdown};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::checkpoint;
use crate::commit_schedule::CommitSchedule;
use crate::committer::CommitRequest;
use crate::context::Context;
use crate::metrics::{PartitionMetrics, StepMetrics};
use crate::operator::Operator;
use crate::part::Part;
use crate::partition::{
    Effect, Ended, Event, InputInfo, Partition, PartitionProgress, PartitionReport, Setup, check_settings,
};
use crate::readiness::Readiness;
use crate::time::Time;
use crate::transaction::read_position;

/// Delay before an unanswered request is repeated.
const RETRY: Backoff = Backoff::constant(Duration::from_millis(100));
/// A partition that is blocked longer than this makes the service not ready.
const BLOCKED_MAX: Duration = Duration::from_secs(10);
/// Interval of updates of the gauges.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// The signals that end a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// Commit what was applied, then end.
    pub(crate) stop: Shutdown,
    /// End at once: another instance has the lease.
    pub(crate) lost: Shutdown,
}

/// State that the workers of a process share.
pub(crate) struct Shared<O> {
    pub(crate) context: Context,
    pub(crate) operator: Arc<O>,
    pub(crate) setup: Setup,
    pub(crate) schedule: CommitSchedule,
    /// Times count from this instant.
    pub(crate) epoch: Instant,
    pub(crate) commits: mpsc::Sender<CommitRequest>,
    pub(crate) readiness: Readiness,
    pub(crate) backlog: Backlog,
    pub(crate) metrics: StepMetrics,
}

type EventOf<O> = Event<<O as Operator>::State, <O as Operator>::Counts>;
type PendingEvent<O> = BoxFuture<'static, Result<EventOf<O>, Error>>;

/// A partition at work.
pub(crate) struct Worker<O: Operator> {
    shared: Arc<Shared<O>>,
    setup: Setup,
    signals: Signals,
    /// Requests that are not answered yet.
    requests: FuturesUnordered<PendingEvent<O>>,
    reader: Option<Reader>,
    /// Whether the upstream step is known to have the same event-time settings.
    upstream_config_checked: bool,
    /// `None` until the checkpoint is read.
    metrics: Option<PartitionMetrics>,
}

impl<O: Operator> Worker<O> {
    pub(crate) fn new(shared: Arc<Shared<O>>, partition: u32, signals: Signals) -> Self {
        let setup = Setup { partition, ..shared.setup.clone() };
        let requests = FuturesUnordered::new();
        Self { shared, setup, signals, requests, reader: None, upstream_config_checked: false, metrics: None }
    }

    /// Works on the partition until it is told to stop or another owner commits.
    pub(crate) async fn run(mut self) -> Result<Ended, Error> {
        let Shared { operator, schedule, epoch, context, .. } = &*self.shared.clone();
        let (mut partition, mut effects) =
            Partition::new(operator.clone(), self.setup.clone(), schedule.clone(), epoch.elapsed());
        let pulse = context.health.pulse(format!("the worker of partition {}", self.setup.partition));
        let mut beat = tokio::time::interval(BEAT.min(METRICS_INTERVAL));
        loop {
            for effect in effects {
                match effect {
                    Effect::End(ended) => {
                        self.log_dropped(&partition);
                        return Ok(ended);
                    }
                    Effect::Fail(error) => return Err(error),
                    effect => self.perform(effect).await,
                }
            }
            pulse.beat();
            effects = match self.next(&partition, &mut beat).await? {
                None => {
                    self.update_metrics(&partition);
                    Vec::new()
                }
                Some(event) => {
                    self.note_counts(&event);
                    partition.on(event, epoch.elapsed())
                }
            };
        }
    }

    /// Waits for the next event; `None` when the gauges are due.
    async fn next(
        &mut self,
        partition: &Partition<O>,
        beat: &mut tokio::time::Interval,
    ) -> Result<Option<EventOf<O>>, Error> {
        let epoch = self.shared.epoch;
        let wakes_at = partition.wakes_at(epoch.elapsed());
        let is_stopping = partition.is_stopping();
        let (takes_input, requests, signals) = (partition.takes_input(), &mut self.requests, &self.signals);
        let reader = self.reader.as_mut().filter(|_| takes_input);
        if partition.is_gathering() && reader.as_ref().is_some_and(|reader| reader.is_empty()) {
            return Ok(Some(Event::Idle));
        }
        // Input that has arrived belongs into the next commit, so it is taken before an answer that allows sealing.
        tokio::select! {
            biased;
            () = signals.lost.requested() => Ok(Some(Event::LeaseLost)),
            () = signals.stop.requested(), if !is_stopping => Ok(Some(Event::Stop)),
            _ = beat.tick() => Ok(None),
            () = until(wakes_at.map(|at| epoch + at)) => Ok(Some(Event::Tick)),
            event = next_input(reader) => event.map(Some),
            Some(event) = requests.next() => event.map(Some),
        }
    }

    /// Performs an effect, or starts a request for it.
    async fn perform(&mut self, effect: Effect) {
        let (connection, step, partition) = (self.shared.context.connection.clone(), O::STEP, self.setup.partition);
        match effect {
            Effect::Recover => {
                let asked = self.setup.config.clone();
                self.requests.push(Box::pin(async move {
                    let recovered = checkpoint::recover(&connection, step, partition).await;
                    if let Err(Error::Unreadable { .. }) = recovered
                        && let Some(made) = protocol::settings_of(&connection, step.output, partition).await?
                    {
                        // Another version may have stored it in another form. If its settings differ, that error has
                        // better advice.
                        check_settings::<O>(&made, &asked)?;
                    }
                    recovered.map(Event::Recovered)
                }));
            }
            Effect::Read { from, reaches } => {
                let selection = Selection { stream: step.input, filters: subject::inputs(step, partition), from };
                self.reader = Some(Reader::start_reaching(&connection, selection, reaches));
            }
            Effect::Commit { part, is_live } => self.commit(part, is_live).await,
            Effect::ReadPosition => self.requests.push(Box::pin(async move {
                connection.connected().await;
                let ask = || read_position(&connection, step.output, partition);
                Ok(Event::PositionRead(RETRY.retry(ask).await?))
            })),
            Effect::Wait(ready) => self.requests.push(Box::pin(async move {
                ready.await;
                Ok(Event::Ready)
            })),
            Effect::CheckInput(seen) => self.requests.push(Box::pin(async move {
                let info = RETRY.retry(|| stream_info(&connection, step.input.name())).await?;
                Ok(Event::InputChecked { seen, input: InputInfo::try_from(&info)? })
            })),
            Effect::Publish(candles) => {
                for candle in candles {
                    drop(connection.client().publish(candle.subject, candle.payload).await);
                }
            }
            Effect::Report(report) => self.report(report),
            Effect::End(_) | Effect::Fail(_) => {}
        }
    }

    /// Hands a part to the committer.
    async fn commit(&mut self, part: Arc<Part>, is_live: bool) {
        if !self.upstream_config_checked {
            let Shared { context, setup, .. } = &*self.shared;
            match check_upstream_config(&context.connection, O::STEP, part.partition, &setup.config).await {
                Ok(is_known) => self.upstream_config_checked = is_known,
                Err(error) if error.disposition() == Disposition::Stop => {
                    return self.requests.push(Box::pin(std::future::ready(Err(error))));
                }
                // Checked again before the next commit.
                Err(_) => {}
            }
        }
        let (done, answer) = oneshot::channel();
        // The committer outlives every worker; if it is gone, the receiver reports it.
        drop(self.shared.commits.send(CommitRequest { part, is_live, done }).await);
        self.requests.push(Box::pin(async move {
            let answer = answer.await.map_err(|_| Error::Unanswered { what: "a commit".to_owned() })?;
            Ok(Event::Answered(answer))
        }));
    }

    fn report(&mut self, report: PartitionReport) {
        let (partition, input) = (self.setup.partition, O::STEP.input);
        match report {
            PartitionReport::Attached => self.shared.readiness.set_attached(partition),
            PartitionReport::Committed { part, counters } => {
                if let Some(on_commit) = &self.shared.context.on_commit {
                    on_commit(&part.messages);
                }
                if let Some(metrics) = &mut self.metrics {
                    metrics.stored(part.position.position, counters);
                }
            }
            PartitionReport::Overtaken => {
                self.shared.metrics.fenced();
                tracing::warn!(partition, "another owner has committed: dropping uncommitted results");
            }
            PartitionReport::LossAccepted { from, to } => {
                tracing::warn!(%input, partition, from, to, "input gap accepted, continuing after it");
            }
            PartitionReport::Unconfirmed => {
                tracing::warn!(
                    partition,
                    "stopping with an unconfirmed commit: the next owner reads whether it was stored"
                );
            }
        }
    }

    /// Starts the metrics with the counts of the checkpoint.
    fn note_counts(&mut self, event: &EventOf<O>) {
        if let Event::Recovered(checkpoint) = event {
            let counts = checkpoint.position.as_ref().map(|position| O::counter_values(&position.counts));
            self.metrics = Some(self.shared.metrics.partition(self.setup.partition, counts.unwrap_or_default()));
        }
    }

    /// Updates the gauges, and reports what this partition has been waiting for too long.
    fn update_metrics(&self, partition: &Partition<O>) {
        let Shared { operator, epoch, readiness, backlog, .. } = &*self.shared;
        let PartitionProgress { lag, watermarks } = partition.progress();
        backlog.note(self.setup.partition, lag);
        if let Some(metrics) = &self.metrics {
            metrics.lag(lag);
            if let Some((oldest, newest)) = watermarks {
                metrics.watermarks(oldest.ms(), newest.ms());
                readiness.set_newest(self.setup.partition, newest.ms() + operator.event_time().disorder.ms());
            }
        }
        let waits = partition.waits_for().filter(|(since, _): &(Time, _)| epoch.elapsed() >= *since + BLOCKED_MAX);
        readiness.set_waiting(self.setup.partition, waits.map(|(_, what)| what));
    }

    fn log_dropped(&self, partition: &Partition<O>) {
        let count = partition.dropped();
        if count > 0 {
            tracing::warn!(partition = self.setup.partition, count, "dropped input that was delivered again");
        }
    }
}

/// Checks that the upstream step has the same event-time settings; returns whether it has committed, which it has
/// before there is any input to apply.
async fn check_upstream_config(
    connection: &Connection,
    step: Step,
    partition: u32,
    asked: &StepConfig,
) -> Result<bool, Error> {
    let Some(before) = STEPS.into_iter().find(|before| before.output == step.input) else { return Ok(true) };
    let Some(made) = protocol::settings_of(connection, before.output, partition).await? else { return Ok(false) };
    if made.judges_alike(asked) {
        return Ok(true);
    }
    let (service, made) = (before.service.to_owned(), made.event_time());
    Err(Error::OutOfStep { service, made, asked: asked.event_time() })
}

/// Resolves at a time; never for `None`.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next event of a reader; pending without one.
async fn next_input<S, C>(reader: Option<&mut Reader>) -> Result<Event<S, C>, Error> {
    let Some(reader) = reader else { return std::future::pending().await };
    Ok(match reader.next().await? {
        reader::ReaderEvent::Attached { info, pending } => {
            Event::Attached { input: InputInfo::try_from(&*info)?, pending }
        }
        reader::ReaderEvent::Message(delivery) => Event::Input(delivery),
    })
}
