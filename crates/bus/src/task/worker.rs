//! One partition of a step: recovers, reads, applies, seals.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use market::{EventTime, Instrument};
use service::{BEAT, Shutdown};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::checkpoint::{self, Checkpoint, InstrumentState, Position, encode_state};
use crate::codec;
use crate::connect::Connection;
use crate::error::{Disposition, Error};
use crate::lineage;
use crate::outputs::Outputs;
use crate::reader::{Delivery, Event, Reader, Selection};
use crate::subject::{self, Kind, Stored as StoredSubject};
use crate::task::committer::{Sealed, Stored};
use crate::task::metrics::{PartitionMetrics, StepMetrics};
use crate::task::readiness::Readiness;
use crate::task::{Applied, Context, Figure, Input, Operator, event_time_words};
use crate::topology::{STEPS, Step, StreamInfo, StreamState, stream_info};
use crate::transaction::{BYTES_MAX, MESSAGES_MAX, Outgoing, Part, Role};

/// Messages that one input can add to a draft, at most: its lines are bounded, and so are the windows that it closes.
pub const INPUT_MESSAGES_MAX: usize = 64;
/// Bytes that one input can add to a draft, at most.
pub const INPUT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How often a partition that reads looks whether what it jumped over was deleted.
const HOLE_CHECK: Duration = Duration::from_secs(5);
/// A newer frontier alone is worth a commit when the stored one is this old.
const FRONTIER_AGE_MAX: Duration = Duration::from_secs(3_600);
/// How long a stop waits for the commit that is under way; the whole process has 5 seconds.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Whoever waits longer than this is not useful, until it goes on.
const WAITING_MAX: Duration = Duration::from_secs(10);
/// Gauges are brought up to date at most this often.
const MEASURE: Duration = Duration::from_secs(1);
/// Provisional candles of an instrument go out at most this often.
const PROVISIONAL: Duration = Duration::from_secs(1);

const _: () = assert!(INPUT_MESSAGES_MAX * 2 < MESSAGES_MAX && INPUT_BYTES_MAX * 2 < BYTES_MAX);

/// Which log is read, with which settings.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) partitions: u32,
    pub(super) input_created: String,
    pub(super) settings: String,
}

pub(super) struct Worker<O: Operator> {
    pub(super) context: Context,
    pub(super) operator: Arc<O>,
    pub(super) log: Log,
    pub(super) partition: u32,
    /// Asks this worker alone to drain and end.
    pub(super) stop: Shutdown,
    pub(super) commits: mpsc::Sender<Sealed>,
    pub(super) readiness: Readiness,
    pub(super) metrics: StepMetrics,
    /// Whether the step before this one is known to judge event time as this one does.
    pub(super) is_in_step: bool,
}

/// How a worker ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Told to, with everything committed that was applied. When a message was applied in part and waits, what was applied
    /// since the last commit is given up with it: the next owner applies it again.
    Drained,
    /// Another owner has committed.
    Fenced,
}

impl<O: Operator> Worker<O> {
    /// Works on the partition until told to stop or another owner turns up.
    pub(super) async fn run(mut self) -> Result<Ended, Error> {
        let stop = self.stop.clone();
        let recovery = checkpoint::recover(&self.context.connection, O::STEP, self.partition);
        let checkpoint = tokio::select! {
            checkpoint = recovery => checkpoint?,
            () = stop.requested() => return Ok(Ended::Drained),
        };
        self.check_origin(&checkpoint)?;
        let counts = checkpoint.position.as_ref().map(|position| O::figures(&position.counts));
        let metrics = self.metrics.partition(self.partition, counts.unwrap_or_default());
        let mut owned =
            Owned::<O>::from_checkpoint(self.operator.clone(), self.partition, &self.log, checkpoint, metrics);
        let ended = self.own(&mut owned).await;
        if owned.dropped > 0 {
            tracing::warn!(partition = self.partition, count = owned.dropped, "input was delivered again, and dropped");
        }
        ended
    }

    /// The checkpoint must have been made from this log with these settings.
    fn check_origin(&self, checkpoint: &Checkpoint<O::State, O::Counts>) -> Result<(), Error> {
        let Some(position) = &checkpoint.position else { return Ok(()) };
        let log = &self.log;
        if !lineage::continues(&log.input_created, &position.input_created, position.position) {
            let detail = format!("it was created at {}, not {}", log.input_created, position.input_created);
            return Err(wrong_log(O::STEP, detail));
        }
        if position.partitions != log.partitions {
            let detail = format!("it has {} partitions, not {}", log.partitions, position.partitions);
            return Err(wrong_log(O::STEP, detail));
        }
        if position.config != log.settings {
            return Err(Error::OtherSettings {
                output: O::STEP.output.name().to_owned(),
                made: position.config.clone(),
                asked: log.settings.clone(),
            });
        }
        Ok(())
    }

    /// What the step before this one accepted must not be judged otherwise here. It has committed before there is any
    /// input to apply.
    async fn check_step_before(&mut self) -> Result<(), Error> {
        let Some(before) = STEPS.into_iter().find(|step| step.output == O::STEP.input).filter(|_| !self.is_in_step)
        else {
            return Ok(());
        };
        let Some(made) = checkpoint::settings_of(&self.context.connection, before.output, self.partition).await? else {
            return Ok(());
        };
        self.is_in_step = true;
        let words = event_time_words(self.operator.event_time());
        if made.starts_with(&format!("{words} ")) {
            return Ok(());
        }
        Err(Error::OutOfStep { service: before.service.to_owned(), made, asked: words })
    }

    async fn own(&mut self, owned: &mut Owned<O>) -> Result<Ended, Error> {
        let context = self.context.clone();
        let filters = subject::inputs(O::STEP, self.partition);
        let selection = Selection { stream: O::STEP.input, filters, from: owned.position + 1 };
        let mut reader = Reader::start(&context.connection, selection);
        let mut outstanding: Option<oneshot::Receiver<Result<Stored, Error>>> = None;
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
            }
            let nothing_more = stopping || owned.held.is_some() || reader.is_empty();
            if outstanding.is_none() && owned.is_due(nothing_more) {
                if let Err(error) = self.check_step_before().await
                    && error.disposition() == Disposition::Stop
                {
                    return Err(error);
                }
                outstanding = Some(self.send(owned.seal()).await);
                moved_at = Instant::now();
            }
            if stopping && outstanding.is_none() {
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
            }
        }
    }

    /// Brings the gauges up to date, unless they were a moment ago.
    fn measure(&self, owned: &mut Owned<O>) {
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
        if info.log() != self.log.input_created {
            if lineage::continues(&info.log(), &self.log.input_created, 0) {
                return Err(Error::Restored { input: O::STEP.input.name().to_owned() });
            }
            let detail = format!("it was created anew at {}", info.log());
            return Err(wrong_log(O::STEP, detail));
        }
        owned.attach(info, pending, self.context.instance.accept_loss)?;
        self.readiness.attached(self.partition);
        Ok(())
    }

    async fn send(&self, part: Part) -> oneshot::Receiver<Result<Stored, Error>> {
        let (done, receiver) = oneshot::channel();
        // The committer outlives every worker; should it be gone, the receiver says so.
        drop(self.commits.send(Sealed { part, done }).await);
        receiver
    }
}

async fn confirmed(outstanding: &mut Option<oneshot::Receiver<Result<Stored, Error>>>) -> Result<Stored, Error> {
    match outstanding {
        Some(receiver) => receiver.await.unwrap_or_else(|_| Err(Error::Unanswered { what: "a commit".to_owned() })),
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
    match since {
        Some(since) => tokio::time::sleep_until(since + DRAIN_MAX).await,
        None => std::future::pending().await,
    }
}

fn wrong_log(step: Step, detail: String) -> Error {
    Error::WrongLog { input: step.input.name().to_owned(), output: step.output.name().to_owned(), detail }
}

/// Whether a stored frontier lies in the older half of an input that deletes, or soon will because it is half full: a
/// quiet partition that starts from it could not tell what it has not seen from what is gone.
fn is_endangered(frontier: u64, info: &StreamInfo) -> bool {
    let StreamState { first_seq, last_seq, bytes, .. } = info.state;
    let deletes = first_seq > 1 || info.max_bytes().is_some_and(|limit| bytes > limit / 2);
    deletes && frontier < first_seq + last_seq.saturating_sub(first_seq) / 2
}

/// A partition while it is owned: everything that its next commit needs.
struct Owned<O: Operator> {
    operator: Arc<O>,
    partition: u32,
    log: Log,
    /// Stream sequence of our last position.
    fence: u64,
    /// Last input applied.
    position: u64,
    frontier: u64,
    /// Frontier of the last commit.
    committed_frontier: u64,
    committed_at: Instant,
    /// Position or frontier at the last look that found nothing missing.
    verified: u64,
    /// How old a stored frontier may get: well within the time that the input keeps messages.
    frontier_age_max: Duration,
    /// The stored frontier stands where the input will soon delete.
    is_frontier_endangered: bool,
    /// Inputs that still wait on the server.
    pending: u64,
    applied: u64,
    /// Input sequences that were lost and accepted as such.
    lost: u64,
    /// Whoever was read no further than this has a gap before its next message.
    lost_to: u64,
    /// Messages that were delivered again.
    dropped: u64,
    /// Whether the position alone is worth a commit.
    is_position_due: bool,
    /// A message that cannot be applied to its end yet.
    held: Option<Held>,
    /// What was waited for should not be waited for again: commit, however much more is at hand.
    has_waited: bool,
    counts: O::Counts,
    instruments: Vec<Member<O::State>>,
    /// By `coin.quote`, as subjects end.
    index: HashMap<String, usize>,
    draft: Draft,
    /// Instruments whose ticks the outstanding commit holds.
    sealed: Vec<usize>,
    /// The counts and the position of the outstanding commit.
    sealed_figures: (u64, Vec<Figure>),
    metrics: PartitionMetrics,
    measured_at: Option<Instant>,
}

/// A message that waits for what its next line needs.
struct Held {
    /// From when on.
    since: Instant,
    delivery: Delivery,
    lines_done: u32,
    ready: BoxFuture<'static, ()>,
}

struct Member<S> {
    coin: String,
    quote: String,
    /// `None` for names that no instrument can bear.
    instrument: Option<Instrument>,
    applied: u64,
    /// The last input of it.
    last_seq: u64,
    state: S,
    /// Bytes of the state when it was last encoded.
    state_bytes: usize,
    provisional_at: Option<Instant>,
}

/// What was applied since the last seal.
#[derive(Default)]
struct Draft {
    outputs: Outputs,
    changed: HashSet<usize>,
    /// In the order in which they changed.
    order: Vec<usize>,
    inputs: u64,
    /// Bytes of the changed states, as they were when they were last encoded.
    state_bytes: usize,
}

impl Draft {
    /// Whether one more input might not fit. Checked before it is applied.
    fn is_full(&self) -> bool {
        let messages = self.outputs.messages_max() + self.order.len() + 1 + INPUT_MESSAGES_MAX;
        let bytes = self.outputs.bytes() + self.state_bytes + INPUT_BYTES_MAX;
        messages > MESSAGES_MAX || bytes > BYTES_MAX
    }
}

impl<O: Operator> Owned<O> {
    fn from_checkpoint(
        operator: Arc<O>,
        partition: u32,
        log: &Log,
        checkpoint: Checkpoint<O::State, O::Counts>,
        metrics: PartitionMetrics,
    ) -> Self {
        let position = checkpoint.position.as_ref();
        let mut owned = Self {
            operator,
            partition,
            log: log.clone(),
            fence: checkpoint.fence,
            position: position.map_or(0, |position| position.position),
            frontier: position.map_or(0, |position| position.frontier),
            committed_frontier: position.map_or(0, |position| position.frontier),
            committed_at: Instant::now(),
            verified: position.map_or(0, |position| position.verified),
            frontier_age_max: FRONTIER_AGE_MAX,
            is_frontier_endangered: false,
            pending: 0,
            applied: position.map_or(0, |position| position.applied),
            lost: position.map_or(0, |position| position.lost),
            lost_to: position.map_or(0, |position| position.lost_to),
            dropped: 0,
            is_position_due: false,
            held: None,
            has_waited: false,
            counts: position.map(|position| position.counts.clone()).unwrap_or_default(),
            instruments: Vec::with_capacity(checkpoint.states.len()),
            index: HashMap::with_capacity(checkpoint.states.len()),
            draft: Draft::default(),
            sealed: Vec::new(),
            sealed_figures: (0, Vec::new()),
            metrics,
            measured_at: None,
        };
        for InstrumentState { coin, quote, applied, last_seq, state, bytes } in checkpoint.states {
            let idx = owned.insert(&coin, &quote, state);
            let member = &mut owned.instruments[idx];
            (member.applied, member.last_seq, member.state_bytes) = (applied, last_seq, bytes);
        }
        owned
    }

    /// Names that no instrument can bear still get their refusals stored under their own subject.
    fn insert(&mut self, coin: &str, quote: &str, state: O::State) -> usize {
        let instrument = Instrument::new(coin, quote).ok();
        self.instruments.push(Member {
            coin: coin.to_owned(),
            quote: quote.to_owned(),
            instrument,
            applied: 0,
            last_seq: 0,
            state,
            state_bytes: 0,
            provisional_at: None,
        });
        let idx = self.instruments.len() - 1;
        self.index.insert(format!("{coin}.{quote}"), idx);
        idx
    }

    fn attach(&mut self, info: &StreamInfo, pending: u64, accept_loss: bool) -> Result<(), Error> {
        let StreamInfo { state, .. } = info;
        if self.position > state.last_seq {
            let detail = format!("it ends at sequence {}, the position is {}", state.last_seq, self.position);
            return Err(wrong_log(O::STEP, detail));
        }
        let retention = Duration::from_nanos(info.max_age_ns());
        if !retention.is_zero() {
            self.frontier_age_max = FRONTIER_AGE_MAX.min(retention / 10);
        }
        self.check_hole(info, self.position, accept_loss)?;
        self.pending = pending;
        if pending == 0 {
            self.frontier = self.frontier.max(state.last_seq);
            self.verified = self.verified.max(self.frontier);
        }
        self.is_frontier_endangered = is_endangered(self.committed_frontier, info);
        Ok(())
    }

    /// Whether input that this partition has not seen can be gone: everything up to what the last look verified was
    /// seen, and whatever was applied since may have jumped over what was deleted meanwhile. `seen` is the position when
    /// the look began.
    fn check_hole(&mut self, info: &StreamInfo, seen: u64, accept_loss: bool) -> Result<(), Error> {
        let has_history = self.position > 0 || self.frontier > 0;
        // Trimming follows the commits closely, and goes no further. Limits of the server know no reader.
        let seen_to = if info.is_trimmed() { self.verified.max(self.frontier).max(seen) } else { self.verified };
        if has_history && info.begins() > seen_to + 1 {
            if !accept_loss {
                return Err(Error::Hole {
                    input: O::STEP.input.name().to_owned(),
                    partition: self.partition,
                    frontier: self.verified,
                    first: info.begins(),
                });
            }
            self.accept_loss(info.begins() - 1);
        }
        // What went before this partition existed is nobody's loss.
        let before = if has_history { 0 } else { info.begins().saturating_sub(1) };
        self.verified = self.verified.max(seen).max(before);
        Ok(())
    }

    /// Goes on behind input that is gone. Each instrument learns of it with its next message, also one that was read
    /// beyond the hole before it was noticed.
    fn accept_loss(&mut self, to: u64) {
        let (from, partition) = (self.verified + 1, self.partition);
        tracing::warn!(input = %O::STEP.input, partition, from, to, "input is lost, going on behind it");
        self.lost += to + 1 - from;
        self.lost_to = to.max(self.position);
        self.frontier = self.frontier.max(to);
        self.verified = self.verified.max(to);
        self.is_position_due = true;
    }

    fn apply(&mut self, delivery: Delivery) {
        self.pending = delivery.pending;
        if delivery.seq <= self.position {
            self.dropped += 1;
            return;
        }
        self.apply_from(delivery, 0);
    }

    /// Goes on with the message that waits.
    fn apply_held(&mut self) {
        if let Some(Held { delivery, lines_done, .. }) = self.held.take() {
            self.apply_from(delivery, lines_done);
        }
    }

    /// Applies a message of which so many lines are done. It counts, and its instrument's state with it, only when all of
    /// it is applied.
    fn apply_from(&mut self, delivery: Delivery, lines_done: u32) {
        let Some(subject) = StoredSubject::parse(&delivery.subject) else { return };
        let key = delivery.subject.splitn(4, '.').nth(3).unwrap_or_default();
        let idx = match self.index.get(key) {
            Some(&idx) => idx,
            None => self.insert(subject.coin, subject.quote, O::State::default()),
        };
        let member = &mut self.instruments[idx];
        let kind = O::STEP.kinds.iter().find(|kind: &&Kind| kind.token() == subject.kind);
        let is_known_schema = kind.is_some_and(|&kind| codec::is_known_schema(delivery.headers.as_ref(), kind));
        self.draft.outputs.select(idx);
        let input = Input {
            seq: delivery.seq,
            kind: subject.kind,
            instrument: member.instrument.as_ref(),
            is_known_schema,
            is_after_loss: member.applied > 0 && member.last_seq <= self.lost_to,
            payload: &delivery.payload,
            lines_done,
        };
        let applied = self.operator.apply(input, &mut member.state, &mut self.counts, &mut self.draft.outputs);
        if let Applied::UpTo { lines_done, ready } = applied {
            self.held = Some(Held { since: Instant::now(), delivery, lines_done, ready });
            self.has_waited = true;
            return;
        }
        member.applied += 1;
        member.last_seq = delivery.seq;
        self.applied += 1;
        self.position = delivery.seq;
        self.frontier = self.frontier.max(delivery.seq);
        if delivery.seq == self.verified + 1 {
            // Nothing fits between.
            self.verified = delivery.seq;
        }
        self.draft.inputs += 1;
        if self.draft.changed.insert(idx) {
            self.draft.order.push(idx);
            self.draft.state_bytes += member.state_bytes;
        }
    }

    /// Measures how far the instruments are and how much waits; returns the newest event time, in milliseconds since the
    /// epoch. `None` when there is none, or when it was asked a moment ago: it looks at every instrument.
    fn measure(&mut self) -> Option<i64> {
        if self.measured_at.is_some_and(|at| at.elapsed() < MEASURE) {
            return None;
        }
        self.measured_at = Some(Instant::now());
        self.metrics.lag(self.pending + self.draft.inputs);
        let watermarks = self.instruments.iter().map(|member| self.operator.watermark(&member.state));
        let watermarks = watermarks.filter(|&watermark| watermark > EventTime::MIN);
        let range = watermarks.map(|watermark| watermark.ms()).fold(None, |range, ms| match range {
            None => Some((ms, ms)),
            Some((oldest, newest)) => Some((ms.min(oldest), ms.max(newest))),
        });
        let (oldest, newest) = range?;
        self.metrics.watermarks(oldest, newest);
        Some(newest + self.operator.event_time().disorder.ms())
    }

    fn is_frontier_stale(&self) -> bool {
        self.is_frontier_endangered || self.committed_at.elapsed() >= self.frontier_age_max
    }

    /// Whether the draft should be sealed now: it holds something and nothing more is at hand, or it is full; or the
    /// frontier alone is worth it.
    fn is_due(&self, nothing_more: bool) -> bool {
        if self.held.as_ref().is_some_and(|held| held.lines_done > 0) {
            // Half a message has no position.
            false
        } else if self.draft.inputs > 0 {
            nothing_more || self.has_waited || self.draft.is_full()
        } else {
            let is_frontier_due = self.fence > 0 && self.frontier > self.committed_frontier && self.is_frontier_stale();
            is_frontier_due || self.is_position_due
        }
    }

    fn seal(&mut self) -> Part {
        let draft = std::mem::take(&mut self.draft);
        self.has_waited = false;
        let (output, partition) = (O::STEP.output, self.partition);
        let instruments = &self.instruments;
        let name_of = |idx: usize| (instruments[idx].coin.as_str(), instruments[idx].quote.as_str());
        let mut messages = draft.outputs.into_messages(output, partition, name_of);
        for &idx in &draft.order {
            let member = &mut self.instruments[idx];
            let payload = encode_state(member.applied, member.last_seq, &member.state);
            member.state_bytes = payload.len();
            let subject = subject::state(output, partition, &member.coin, &member.quote);
            messages.push(Outgoing { subject, payload, role: Role::State });
        }
        self.sealed = draft.order;
        self.sealed_figures = (self.position, O::figures(&self.counts));
        self.is_position_due = false;
        self.committed_frontier = self.frontier;
        self.is_frontier_endangered = false;
        let counts = serde_json::to_value(&self.counts).expect("counts are plain data");
        let position = Position {
            position: self.position,
            frontier: self.frontier,
            verified: self.verified,
            batch: String::new(),
            input_created: self.log.input_created.clone(),
            partitions: self.log.partitions,
            config: self.log.settings.clone(),
            states: self.instruments.iter().filter(|member| member.applied > 0).count() as u64,
            applied: self.applied,
            lost: self.lost,
            lost_to: self.lost_to,
            counts,
        };
        Part { partition, fence: self.fence, messages, position }
    }

    /// A commit is stored. When nothing newer was applied since, its open windows are shown.
    async fn confirm(&mut self, fence: u64, connection: &Connection) {
        assert!(fence > self.fence, "a commit lowered the fence from {} to {fence}", self.fence);
        self.fence = fence;
        self.committed_at = Instant::now();
        let (position, figures) = std::mem::take(&mut self.sealed_figures);
        self.metrics.stored(position, figures);
        let sealed = std::mem::take(&mut self.sealed);
        if self.pending > 0 || self.draft.inputs > 0 {
            return;
        }
        for idx in sealed {
            let member = &mut self.instruments[idx];
            if member.provisional_at.is_some_and(|at| at.elapsed() < PROVISIONAL) {
                continue;
            }
            member.provisional_at = Some(Instant::now());
            let Some(instrument) = &member.instrument else { continue };
            for candle in self.operator.provisional(instrument, &member.state) {
                let subject = subject::provisional(candle.window, &member.coin, &member.quote);
                // At most once by design: whoever watches gets the next one in a second.
                drop(connection.client().publish(subject, codec::single(&candle)).await);
            }
        }
    }
}
