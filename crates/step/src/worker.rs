//! One partition of a step: recovers, reads, applies, seals.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use service::{BEAT, Shutdown};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::ahead::{self, Ahead};
use crate::backlog::Backlog;
use crate::checkpoint::{self, Checkpoint};
use crate::commit_schedule::Turns;
use crate::committer::{Sealed, Stored};
use crate::metrics::StepMetrics;
use crate::operator::Operator;
use crate::partition::{Held, Owned};
use crate::readiness::Readiness;
use crate::serve::Context;
use crate::shown::Shown;
use crate::transaction::Part;
use bus::Error;
use bus::connect::{Connection, patiently};
use bus::error::Disposition;
use bus::protocol::{LogId, StepConfig, settings_of};
use bus::reader::{Event, Reader, Selection};
use bus::subject;
use bus::topology::{STEPS, Step, StreamInfo, stream_info};

/// How often a partition that reads looks whether what it jumped over was deleted.
const HOLE_CHECK: Duration = Duration::from_secs(5);
/// How long a stop waits for the commit that is under way; the whole process has 5 seconds.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How long to wait before what was not answered is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// Whoever waits longer than this is not useful, until it goes on.
const WAITING_MAX: Duration = Duration::from_secs(10);

/// Which log is read, with which settings.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) partitions: u32,
    pub(crate) id: LogId,
    pub(crate) settings: StepConfig,
}

pub(crate) struct Worker<O: Operator> {
    pub(crate) context: Context,
    pub(crate) operator: Arc<O>,
    pub(crate) log: Log,
    pub(crate) partition: u32,
    /// Asks this worker alone to drain and end.
    pub(crate) stop: Shutdown,
    pub(crate) turns: Turns,
    pub(crate) commits: mpsc::Sender<Sealed>,
    pub(crate) readiness: Readiness,
    pub(crate) backlog: Backlog,
    pub(crate) metrics: StepMetrics,
    /// Whether the step before this one is known to judge event time as this one does.
    pub(crate) is_in_step: bool,
}

/// How a worker ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Told to, with everything committed that was applied. When a message was applied in part and waits, what was applied
    /// since the last commit is given up with it: the next owner applies it again.
    Drained,
    /// Another owner has committed.
    Fenced,
    /// It is not known whether a result ahead of its commit is stored.
    Unsure,
}

/// Results on their way ahead of their commit.
type Showing = BoxFuture<'static, Showed>;
/// What became of results that went ahead of their commit.
struct Showed {
    /// Those that are stored for certain.
    results: Vec<Ahead>,
    /// Where the last of them is; 0 without any.
    last: u64,
    /// What became of the one behind them.
    ended: Result<(), Error>,
}

/// A commit on its way.
type Outstanding = oneshot::Receiver<Result<Stored, Error>>;

impl<O: Operator> Worker<O> {
    /// Works on the partition until told to stop or another owner turns up.
    pub(crate) async fn run(mut self) -> Result<Ended, Error> {
        loop {
            match self.recover_and_own().await? {
                Ended::Unsure => {
                    self.readiness.taken(self.partition);
                    tokio::time::sleep(AGAIN).await;
                }
                ended => return Ok(ended),
            }
        }
    }

    async fn recover_and_own(&mut self) -> Result<Ended, Error> {
        let stop = self.stop.clone();
        let recovery = checkpoint::recover(&self.context.connection, O::STEP, self.partition);
        let checkpoint = tokio::select! {
            checkpoint = recovery => checkpoint,
            () = stop.requested() => return Ok(Ended::Drained),
        };
        let checkpoint = match checkpoint {
            // Another version may have stored it in another form. A position says so itself; of a state the settings do, and
            // their error says what to do.
            Err(error @ Error::Unreadable { .. }) => {
                self.check_settings_stored().await?;
                return Err(error);
            }
            checkpoint => checkpoint?,
        };
        self.check_origin(&checkpoint)?;
        let counts = checkpoint.position.as_ref().map(|position| O::figures(&position.counts));
        let metrics = self.metrics.partition(self.partition, counts.unwrap_or_default());
        let (operator, turns) = (self.operator.clone(), self.turns.clone());
        let mut owned = Owned::<O>::from_checkpoint(operator, self.partition, &self.log, turns, checkpoint, metrics);
        let begun = tokio::select! {
            begun = self.begin(&mut owned) => begun?,
            () = async { stop.requested().await; drained_for(Some(Instant::now())).await } => Some(Ended::Drained),
        };
        let ended = match begun {
            Some(ended) => Ok(ended),
            None => self.own(&mut owned).await,
        };
        if owned.dropped > 0 {
            tracing::warn!(partition = self.partition, count = owned.dropped, "input was delivered again, and dropped");
        }
        ended
    }

    /// Finds out which results stand ahead of the commit that is gone on from. The position is written anew first: whatever
    /// another owner has under way is refused from then on. `Some` when that other one was faster.
    async fn begin(&self, owned: &mut Owned<O>) -> Result<Option<Ended>, Error> {
        let Some(from) = owned.shown.unknown_from() else { return Ok(None) };
        let stored = self.send(owned.seal(), false).await.await;
        let fence = match stored.unwrap_or_else(|_| Err(unconfirmed()))? {
            Stored::At(fence) => fence,
            Stored::Fenced => return Ok(Some(Ended::Fenced)),
        };
        owned.confirm(fence, &self.context.connection).await;
        let (connection, output) = (&self.context.connection, O::STEP.output);
        let ask = || ahead::stored(connection, output, self.partition, from, fence);
        owned.shown.found(patiently(AGAIN, ask).await?);
        Ok(None)
    }

    /// The checkpoint must have been made from this log with these settings.
    fn check_origin(&self, checkpoint: &Checkpoint<O::State, O::Counts>) -> Result<(), Error> {
        let Some(position) = &checkpoint.position else { return Ok(()) };
        let log = &self.log;
        if !log.id.continues_from(&position.log, position.position) {
            let detail = format!("it was created at {}, not {}", log.id, position.log);
            return Err(wrong_log(O::STEP, detail));
        }
        if position.partitions != log.partitions {
            let detail = format!("it has {} partitions, not {}", log.partitions, position.partitions);
            return Err(wrong_log(O::STEP, detail));
        }
        self.check_settings(&position.config)
    }

    /// As [`Self::check_origin`], for states that cannot be read.
    async fn check_settings_stored(&self) -> Result<(), Error> {
        let made = settings_of(&self.context.connection, O::STEP.output, self.partition).await?;
        made.map_or(Ok(()), |made| self.check_settings(&made))
    }

    fn check_settings(&self, made: &StepConfig) -> Result<(), Error> {
        let asked = &self.log.settings;
        if made == asked {
            return Ok(());
        }
        let output = O::STEP.output.name().to_owned();
        Err(Error::OtherSettings { output, made: made.to_string(), asked: asked.to_string() })
    }

    /// What the step before this one accepted must not be judged otherwise here. It has committed before there is any
    /// input to apply.
    async fn check_step_before(&mut self) -> Result<(), Error> {
        let Some(before) = STEPS.into_iter().find(|step| step.output == O::STEP.input).filter(|_| !self.is_in_step)
        else {
            return Ok(());
        };
        let Some(made) = settings_of(&self.context.connection, before.output, self.partition).await? else {
            return Ok(());
        };
        self.is_in_step = true;
        let asked = &self.log.settings;
        if made.judges_alike(asked) {
            return Ok(());
        }
        let (service, made) = (before.service.to_owned(), made.event_time());
        Err(Error::OutOfStep { service, made, asked: asked.event_time() })
    }

    async fn own(&mut self, owned: &mut Owned<O>) -> Result<Ended, Error> {
        let context = self.context.clone();
        let filters = subject::inputs(O::STEP, self.partition);
        let selection = Selection { stream: O::STEP.input, filters, from: owned.position + 1 };
        let mut reader = Reader::start(&context.connection, selection);
        let mut outstanding: Option<Outstanding> = None;
        let mut showing: Option<Showing> = None;
        let mut check = tokio::time::interval(HOLE_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        check.reset();
        // Looks at the input run beside the work: no answer must not hold up a commit or a drain.
        let mut looks = JoinSet::new();
        let stop = self.stop.clone();
        let pulse = context.health.pulse(format!("partition {} of the {}", self.partition, O::STEP.service));
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let look = async |connection: Connection, seen| (seen, stream_info(&connection, O::STEP.input.name()).await);
        let mut stopping_since = None;
        // When a commit was confirmed last, or there was none to wait for.
        let mut moved_at = Instant::now();
        loop {
            pulse.beat();
            let stopping = stop.is_requested();
            if stopping {
                stopping_since.get_or_insert_with(Instant::now);
                owned.draft.hurry();
            }
            let nothing_more = stopping || owned.held.is_some() || reader.is_empty();
            // Results of a commit go before those of later inputs.
            if showing.is_none() && (outstanding.is_none() || owned.is_sealed_silent) {
                showing = self.show(&mut owned.shown);
            }
            // Once a round: what it says now must wake this up.
            let waits_until = owned.waits_until();
            let is_settled = outstanding.is_none() && showing.is_none();
            if is_settled && owned.is_due(nothing_more, waits_until) {
                if let Err(error) = self.check_step_before().await
                    && error.disposition() == Disposition::Stop
                {
                    return Err(error);
                }
                let is_live = owned.is_live();
                outstanding = Some(self.send(owned.seal(), is_live).await);
                moved_at = Instant::now();
            }
            if stopping && outstanding.is_none() && showing.is_none() {
                return Ok(Ended::Drained);
            }
            tokio::select! {
                biased;
                result = confirmed(&mut outstanding), if outstanding.is_some() => {
                    outstanding = None;
                    match result? {
                        Stored::At(fence) => {
                            owned.confirm(fence, &context.connection).await;
                            self.measure(owned);
                            moved_at = Instant::now();
                        }
                        Stored::Fenced => return Ok(Ended::Fenced),
                    }
                }
                showed = shown(&mut showing), if showing.is_some() => {
                    showing = None;
                    self.tell_shown(&showed.results);
                    owned.shown.stored(showed.last);
                    for open in showed.results.into_iter().flat_map(|result| result.open) {
                        open.show(&context.connection).await;
                    }
                    if let Err(error) = showed.ended {
                        return self.recover_from(error, outstanding).await;
                    }
                }
                () = stop.requested(), if !stopping => {}
                _ = beat.tick() => {
                    self.measure(owned);
                    self.tell_waiting(owned, outstanding.is_some(), moved_at);
                }
                () = drained_for(stopping_since) => {
                    tracing::warn!(partition = self.partition, "stopping with a commit unconfirmed: the next owner finds out");
                    return Ok(Ended::Drained);
                }
                _ = check.tick(), if !stopping && looks.is_empty() => {
                    // A reader without input looks by itself.
                    if owned.position > owned.verified {
                        looks.spawn(look(context.connection.clone(), owned.position));
                    }
                }
                Some(Ok((seen, Ok(info)))) = looks.join_next(), if !stopping => {
                    owned.check_hole(&info, seen, context.instance.accept_loss)?;
                }
                () = ready(&mut owned.held), if !stopping && owned.held.is_some() => owned.apply_held(),
                event = reader.next(), if !stopping && owned.held.is_none() && !owned.draft.is_full() => match event? {
                    Event::Attached { info, pending } => self.attach(owned, &info, pending)?,
                    Event::Message(delivery) => owned.apply(delivery),
                },
                () = until(waits_until), if outstanding.is_none() && showing.is_none() => {}
            }
        }
    }

    /// Brings the gauges up to date, unless they were a moment ago.
    fn measure(&self, owned: &mut Owned<O>) {
        self.backlog.note(self.partition, owned.uncommitted());
        if let Some(newest_ms) = owned.measure() {
            self.readiness.newest(self.partition, newest_ms);
        }
    }

    /// Says what this partition has been waiting for, if that is for long.
    fn tell_waiting(&self, owned: &Owned<O>, for_commit: bool, since: Instant) {
        let what = match (for_commit, &owned.held) {
            (true, _) => Some((since, "a commit")),
            (false, Some(held)) => Some((held.since, "what its next record needs")),
            (false, None) => None,
        };
        let what = what.filter(|(since, _)| since.elapsed() >= WAITING_MAX).map(|(_, what)| what);
        self.readiness.waiting(self.partition, what);
    }

    /// Reading begins, or begins again: is the input still the one, and is all of it there?
    fn attach(&mut self, owned: &mut Owned<O>, info: &StreamInfo, pending: u64) -> Result<(), Error> {
        let log = info.log()?;
        if log != self.log.id {
            if log.continues_from(&self.log.id, 0) {
                return Err(Error::Restored { input: O::STEP.input.name().to_owned() });
            }
            let detail = format!("it was created anew at {log}");
            return Err(wrong_log(O::STEP, detail));
        }
        owned.attach(info, pending, self.context.instance.accept_loss)?;
        self.readiness.attached(self.partition);
        Ok(())
    }

    /// A result was not stored ahead of its commit, or nobody knows.
    async fn recover_from(&self, error: Error, outstanding: Option<Outstanding>) -> Result<Ended, Error> {
        if error.is_overtaken() {
            return Ok(Ended::Fenced);
        }
        if error.disposition() == Disposition::Stop {
            return Err(error);
        }
        tracing::debug!(partition = self.partition, %error, "recovering what is stored");
        if let Some(outstanding) = outstanding {
            // Or its end would look like another owner's commit.
            drop(tokio::time::timeout(DRAIN_MAX, outstanding).await);
        }
        Ok(Ended::Unsure)
    }

    /// Stores results ahead of their commit, if there are any.
    fn show(&self, shown: &mut Shown) -> Option<Showing> {
        let owner = shown.owner()?;
        let results = shown.take();
        if results.is_empty() {
            return None;
        }
        let (connection, partition) = (self.context.connection.clone(), self.partition);
        Some(Box::pin(async move {
            let mut results = results;
            let (stored, ended) = ahead::store(&connection, O::STEP.output, partition, owner, &results).await;
            results.truncate(stored.len());
            Showed { results, last: stored.last().copied().unwrap_or(0), ended }
        }))
    }

    /// Results are stored ahead of their commit.
    fn tell_shown(&self, results: &[Ahead]) {
        self.metrics.shown(results.len());
        if let Some(on_commit) = &self.context.on_commit {
            results.iter().for_each(|result| on_commit(std::slice::from_ref(&result.message)));
        }
    }

    async fn send(&self, part: Part, is_live: bool) -> Outstanding {
        let (done, receiver) = oneshot::channel();
        // The committer outlives every worker; should it be gone, the receiver says so.
        drop(self.commits.send(Sealed { part, is_live, done }).await);
        receiver
    }
}

async fn confirmed(outstanding: &mut Option<Outstanding>) -> Result<Stored, Error> {
    match outstanding {
        Some(receiver) => receiver.await.unwrap_or_else(|_| Err(unconfirmed())),
        None => std::future::pending().await,
    }
}

/// The committer is gone.
fn unconfirmed() -> Error {
    Error::Unanswered { what: "a commit".to_owned() }
}

/// Resolves when it is known how what is being shown ahead of its commit has ended.
async fn shown(showing: &mut Option<Showing>) -> Showed {
    match showing {
        Some(showing) => showing.await,
        None => std::future::pending().await,
    }
}

/// Resolves then, if ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Resolves when a message that waits can be applied further.
async fn ready(held: &mut Option<Held>) {
    match held {
        Some(held) => (&mut held.ready).await,
        None => std::future::pending().await,
    }
}

/// Resolves when a commit has been waited for long enough after a stop was asked for.
async fn drained_for(since: Option<Instant>) {
    until(since.map(|since| since + DRAIN_MAX)).await
}

pub(crate) fn wrong_log(step: Step, detail: String) -> Error {
    Error::WrongLog { input: step.input.name().to_owned(), output: step.output.name().to_owned(), detail }
}
