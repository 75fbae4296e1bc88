//! A partition while it is owned: its states, and what was applied and is not committed yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use market::{Candle, EventTime, Instrument};
use tokio::time::Instant;

use crate::ahead::Open;
use crate::checkpoint::{Checkpoint, InstrumentState, encode_state};
use crate::commit_schedule::Turns;
use crate::lazy_state::Kept;
use crate::metrics::PartitionMetrics;
use crate::operator::{Applied, Figure, Input, Operator};
use crate::outputs::Outputs;
use crate::shown::Shown;
use crate::transaction::{BYTES_MAX, MESSAGES_MAX, Outgoing, Part, Role};
use crate::worker::{Log, wrong_log};
use bus::Connection;
use bus::Error;
use bus::codec;
use bus::protocol::{POSITION_VERSION, Position};
use bus::reader::Delivery;
use bus::subject::{self, Kind, Stored as StoredSubject};
use bus::topology::{StreamInfo, StreamState};

/// Messages that one input can add to a draft, at most: its lines are bounded, and so are the windows that it closes.
pub const INPUT_MESSAGES_MAX: usize = 64;
/// Bytes that one input can add to a draft, at most.
pub const INPUT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// So many inputs at most are applied without a commit: the next owner would apply them again.
const UNCOMMITTED_MAX: u64 = 1_000;
/// A partition with no more input to come than this has caught up.
const PENDING_MAX: u64 = 8;
/// How long results may wait for input that is there and not read yet: a replay goes in few large commits.
const GATHERING_MAX: Duration = Duration::from_millis(200);
/// A newer frontier alone is worth a commit when the stored one is this old.
const FRONTIER_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Gauges are brought up to date at most this often.
const MEASURE: Duration = Duration::from_secs(1);
/// Provisional candles of an instrument go out at most this often.
const PROVISIONAL: Duration = Duration::from_secs(1);

const _: () = assert!(INPUT_MESSAGES_MAX * 2 < MESSAGES_MAX && INPUT_BYTES_MAX * 2 < BYTES_MAX);

/// Whether a stored frontier lies in the older half of an input that deletes, or soon will because it is half full: a
/// quiet partition that starts from it could not tell what it has not seen from what is gone.
fn is_endangered(frontier: u64, info: &StreamInfo) -> bool {
    let StreamState { first_seq, last_seq, bytes, .. } = info.state;
    let deletes = first_seq > 1 || info.max_bytes().is_some_and(|limit| bytes > limit / 2);
    deletes && frontier < first_seq + last_seq.saturating_sub(first_seq) / 2
}

/// A partition while it is owned: everything that its next commit needs.
pub(crate) struct Owned<O: Operator> {
    operator: Arc<O>,
    partition: u32,
    log: Log,
    turns: Turns,
    /// Stream sequence of our last position.
    fence: u64,
    /// Results that are ahead of their commit.
    pub(crate) shown: Shown,
    /// Last input applied.
    pub(crate) position: u64,
    frontier: u64,
    /// Frontier of the last commit.
    committed_frontier: u64,
    committed_at: Instant,
    /// Position or frontier at the last look that found nothing missing.
    pub(crate) verified: u64,
    /// How old a stored frontier may get: well within the time that the input keeps messages.
    frontier_age_max: Duration,
    /// The stored frontier stands where the input will soon delete.
    is_frontier_endangered: bool,
    /// Inputs that still wait on the server.
    pub(crate) pending: u64,
    applied: u64,
    /// Input sequences that were lost and accepted as such.
    lost: u64,
    /// Whoever was read no further than this has a gap before its next message.
    lost_to: u64,
    /// Messages that were delivered again.
    pub(crate) dropped: u64,
    /// Whether the position alone is worth a commit.
    is_position_due: bool,
    /// A message that cannot be applied to its end yet.
    pub(crate) held: Option<Held>,
    /// What was waited for should not be waited for again: commit, however much more is at hand.
    has_waited: bool,
    counts: O::Counts,
    instruments: Vec<Member<O::State>>,
    /// By `coin.quote`, as subjects end.
    index: HashMap<String, usize>,
    pub(crate) draft: Draft,
    /// Whether the outstanding commit holds no results.
    pub(crate) is_sealed_silent: bool,
    /// Windows that were open when the outstanding commit was sealed.
    sealed_open: Vec<Open>,
    /// The counts and the position of the outstanding commit.
    sealed_figures: (u64, Vec<Figure>),
    metrics: PartitionMetrics,
    measured_at: Option<Instant>,
}

/// A message that waits for what its next line needs.
pub(crate) struct Held {
    /// From when on.
    pub(crate) since: Instant,
    delivery: Delivery,
    lines_done: u32,
    pub(crate) ready: BoxFuture<'static, ()>,
}

pub(crate) struct Member<S> {
    coin: String,
    quote: String,
    /// `None` for names that no instrument can bear.
    instrument: Option<Instrument>,
    applied: u64,
    /// The last input of it.
    last_seq: u64,
    state: Kept<S>,
    /// How far event time had come when the state was last encoded.
    watermark: EventTime,
    provisional_at: Option<Instant>,
}

/// What was applied since the last seal.
#[derive(Default)]
pub(crate) struct Draft {
    outputs: Outputs,
    changed: HashSet<usize>,
    /// In the order in which they changed.
    order: Vec<usize>,
    inputs: u64,
    /// Bytes of the changed states, as they were when they were last encoded.
    state_bytes: usize,
    /// When its first input was applied.
    began: Option<Instant>,
    /// Waits no longer.
    is_hurried: bool,
}

impl Draft {
    /// Lets it wait no longer.
    pub(crate) fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// Whether one more input might not fit. Checked before it is applied.
    pub(crate) fn is_full(&self) -> bool {
        let messages = self.outputs.messages_max() + self.order.len() + 1 + INPUT_MESSAGES_MAX;
        let bytes = self.outputs.bytes() + self.state_bytes + INPUT_BYTES_MAX;
        messages > MESSAGES_MAX || bytes > BYTES_MAX
    }
}

impl<O: Operator> Owned<O> {
    pub(crate) fn from_checkpoint(
        operator: Arc<O>,
        partition: u32,
        log: &Log,
        turns: Turns,
        checkpoint: Checkpoint<O::State, O::Counts>,
        metrics: PartitionMetrics,
    ) -> Self {
        let position = checkpoint.position.as_ref();
        let shown_from = match position.filter(|_| O::STEP.is_ahead) {
            Some(position) if position.ahead > 0 => position.ahead,
            Some(_) => checkpoint.fence,
            None => 0,
        };
        let mut owned = Self {
            operator,
            partition,
            log: log.clone(),
            turns,
            fence: checkpoint.fence,
            shown: Shown::behind(shown_from),
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
            is_sealed_silent: false,
            sealed_open: Vec::new(),
            sealed_figures: (0, Vec::new()),
            metrics,
            measured_at: None,
        };
        for InstrumentState { coin, quote, applied, last_seq, state, encoded } in checkpoint.states {
            let idx = owned.insert(&coin, &quote);
            let member = &mut owned.instruments[idx];
            (member.applied, member.last_seq) = (applied, last_seq);
            member.watermark = owned.operator.watermark(&state);
            member.state.rest(&encoded);
        }
        owned
    }

    /// Names that no instrument can bear still get their refusals stored under their own subject.
    fn insert(&mut self, coin: &str, quote: &str) -> usize {
        let instrument = Instrument::new(coin, quote).ok();
        self.instruments.push(Member {
            coin: coin.to_owned(),
            quote: quote.to_owned(),
            instrument,
            applied: 0,
            last_seq: 0,
            state: Kept::default(),
            watermark: EventTime::MIN,
            provisional_at: None,
        });
        let idx = self.instruments.len() - 1;
        self.index.insert(format!("{coin}.{quote}"), idx);
        idx
    }

    pub(crate) fn attach(&mut self, info: &StreamInfo, pending: u64, accept_loss: bool) -> Result<(), Error> {
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
    pub(crate) fn check_hole(&mut self, info: &StreamInfo, seen: u64, accept_loss: bool) -> Result<(), Error> {
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

    pub(crate) fn apply(&mut self, delivery: Delivery) {
        self.pending = delivery.pending;
        if delivery.seq <= self.position {
            self.dropped += 1;
            return;
        }
        self.apply_from(delivery, 0);
    }

    /// Goes on with the message that waits.
    pub(crate) fn apply_held(&mut self) {
        if let Some(Held { delivery, lines_done, .. }) = self.held.take() {
            self.apply_from(delivery, lines_done);
        }
    }

    /// Applies a message of which so many lines are done. It counts, and its instrument's state with it, only when all of
    /// it is applied.
    fn apply_from(&mut self, delivery: Delivery, lines_done: u32) {
        let Some(subject) = StoredSubject::parse(&delivery.subject) else { return };
        let key = subject::instrument_of(&delivery.subject).unwrap_or_default();
        let idx = match self.index.get(key) {
            Some(&idx) => idx,
            None => self.insert(subject.coin, subject.quote),
        };
        let Some(&kind) = O::STEP.kinds.iter().find(|kind: &&Kind| kind.token() == subject.kind) else {
            // FEED took other kinds once. No step knows them.
            self.note(idx, delivery.seq);
            return;
        };
        let member = &mut self.instruments[idx];
        let is_known_schema = codec::is_known_schema(delivery.headers.as_ref(), kind);
        // What is ahead of its commit already is not what the draft shows.
        let is_shown = self.shown.contains(delivery.seq);
        let mut known = Outputs::default();
        let outputs = if is_shown { &mut known } else { &mut self.draft.outputs };
        outputs.select(idx);
        let is_first = outputs.is_empty();
        let input = Input {
            seq: delivery.seq,
            stored_ms: delivery.stored_ms,
            kind: subject.kind,
            instrument: member.instrument.as_ref(),
            is_known_schema,
            is_after_loss: member.applied > 0 && member.last_seq <= self.lost_to,
            payload: &delivery.payload,
            lines_done,
        };
        let applied = self.operator.apply(input, member.state.at_hand(), &mut self.counts, outputs);
        if let Applied::UpTo { lines_done, ready } = applied {
            self.held = Some(Held { since: Instant::now(), delivery, lines_done, ready });
            self.has_waited = true;
            return;
        }
        self.note(idx, delivery.seq);
        if is_shown {
            self.show_ahead(idx, known);
        } else if is_first && lines_done == 0 && self.may_show_ahead() {
            let outputs = std::mem::take(&mut self.draft.outputs);
            self.show_ahead(idx, outputs);
        }
    }

    /// All of a message is applied to an instrument.
    fn note(&mut self, idx: usize, seq: u64) {
        let member = &mut self.instruments[idx];
        member.applied += 1;
        member.last_seq = seq;
        self.applied += 1;
        self.position = seq;
        self.frontier = self.frontier.max(seq);
        if seq == self.verified + 1 {
            // Nothing fits between.
            self.verified = seq;
        }
        self.draft.inputs += 1;
        let now = Instant::now();
        self.turns.note(now);
        self.draft.began.get_or_insert(now);
        if self.draft.changed.insert(idx) {
            self.draft.order.push(idx);
            self.draft.state_bytes += member.state.bytes();
        }
    }

    /// Whether what the last input has given, which is all that the draft shows, can be stored ahead of its commit: it is live
    /// and short, there is room, and the draft's turn has not come, which waits for no more of them.
    fn may_show_ahead(&self) -> bool {
        let messages = self.draft.outputs.short_messages();
        let has_room = messages.is_some_and(|messages| self.shown.has_room(messages, self.position));
        O::STEP.is_ahead && self.has_caught_up() && !self.is_its_turn() && has_room
    }

    /// Whether what was applied should be committed, though it shows nothing.
    fn is_its_turn(&self) -> bool {
        let has_come = |began| self.turns.next(self.partition, began) <= Instant::now();
        self.draft.inputs >= UNCOMMITTED_MAX || self.draft.began.is_some_and(has_come)
    }

    /// Whether next to no input is to come.
    fn has_caught_up(&self) -> bool {
        self.pending <= PENDING_MAX
    }

    /// Whether the draft is what came a moment ago, not the end of a replay.
    pub(crate) fn is_live(&self) -> bool {
        self.has_caught_up() && self.draft.outputs.short_messages().is_some()
    }

    /// Has what the last input has given stored ahead of its commit.
    fn show_ahead(&mut self, idx: usize, outputs: Outputs) {
        let instruments = &self.instruments;
        let name_of = |idx: usize| (instruments[idx].coin.as_str(), instruments[idx].quote.as_str());
        let messages = outputs.into_messages_of_input(O::STEP.output, self.partition, name_of);
        let open = self.open_windows(idx);
        self.shown.push(self.position, messages, open);
    }

    /// Messages of the input that wait, or are applied and in no commit.
    pub(crate) fn uncommitted(&self) -> u64 {
        self.pending + self.draft.inputs
    }

    /// Measures how far the instruments are and how much waits; returns the newest event time, in milliseconds since the
    /// epoch. `None` when there is none, or when it was asked a moment ago: it looks at every instrument.
    pub(crate) fn measure(&mut self) -> Option<i64> {
        if self.measured_at.is_some_and(|at| at.elapsed() < MEASURE) {
            return None;
        }
        self.measured_at = Some(Instant::now());
        self.metrics.lag(self.uncommitted());
        let watermark_of = |member: &Member<O::State>| {
            member.state.changing().map_or(member.watermark, |state| self.operator.watermark(state))
        };
        let watermarks = self.instruments.iter().map(watermark_of);
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

    /// Until when the draft waits for more, if it does: with nothing to show for its turn or until nothing comes, otherwise
    /// for input that is there already.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        let began = self.draft.began.filter(|_| !self.draft.is_hurried)?;
        let until = match (self.draft.outputs.is_empty(), self.pending > 0) {
            (true, _) => self.turns.next(self.partition, began).min(self.turns.quiet_at()),
            (false, true) => began + GATHERING_MAX,
            (false, false) => return None,
        };
        (Instant::now() < until).then_some(until)
    }

    /// Whether the draft should be sealed now: it holds something to show and nothing more is at hand, it has waited long
    /// enough for something to show, or it is full; it shows nothing and its turn has come, whatever more there is; or the
    /// frontier alone is worth it.
    pub(crate) fn is_due(&self, nothing_more: bool, waits_until: Option<Instant>) -> bool {
        if self.held.as_ref().is_some_and(|held| held.lines_done > 0) {
            // Half a message has no position.
            false
        } else if self.draft.inputs > 0 {
            let is_ready = nothing_more && waits_until.is_none() || self.has_waited || self.draft.is_full();
            is_ready || self.draft.outputs.is_empty() && self.is_its_turn()
        } else {
            let is_frontier_due = self.fence > 0 && self.frontier > self.committed_frontier && self.is_frontier_stale();
            is_frontier_due || self.is_position_due
        }
    }

    pub(crate) fn seal(&mut self) -> Part {
        let draft = std::mem::take(&mut self.draft);
        self.has_waited = false;
        let (output, partition) = (O::STEP.output, self.partition);
        let instruments = &self.instruments;
        let name_of = |idx: usize| (instruments[idx].coin.as_str(), instruments[idx].quote.as_str());
        let is_silent = draft.outputs.is_empty();
        let mut messages = draft.outputs.into_messages(output, partition, name_of);
        for &idx in &draft.order {
            let open = self.open_windows(idx);
            self.sealed_open.extend(open);
            let member = &mut self.instruments[idx];
            let state = member.state.at_hand();
            let payload = encode_state(member.applied, member.last_seq, state);
            member.watermark = self.operator.watermark(state);
            member.state.rest(&payload);
            let subject = subject::state(output, partition, &member.coin, &member.quote);
            messages.push(Outgoing { subject, payload, role: Role::State });
        }
        self.is_sealed_silent = is_silent;
        let ahead = match self.shown.from(self.position) {
            Some(from) => from,
            // While a commit without results is under way, results of later inputs may be stored before its position, but
            // behind all that is stored now.
            None if O::STEP.is_ahead && is_silent => self.fence.max(self.shown.stored_to()),
            None => 0,
        };
        if O::STEP.is_ahead && self.shown.owner().is_none() {
            let (subject, payload) = (subject::owner(output, partition), Bytes::from_static(b"{}"));
            messages.push(Outgoing { subject, payload, role: Role::State });
        }
        self.sealed_figures = (self.position, O::figures(&self.counts));
        self.is_position_due = false;
        self.committed_frontier = self.frontier;
        self.is_frontier_endangered = false;
        let counts = serde_json::to_value(&self.counts).expect("counts are plain data");
        let position = Position {
            version: POSITION_VERSION,
            position: self.position,
            frontier: self.frontier,
            verified: self.verified,
            batch: String::new(),
            log: self.log.id.clone(),
            partitions: self.log.partitions,
            config: self.log.settings.clone(),
            states: self.instruments.iter().filter(|member| member.applied > 0).count() as u64,
            applied: self.applied,
            lost: self.lost,
            lost_to: self.lost_to,
            ahead,
            counts,
        };
        Part { partition, fence: self.fence, messages, position }
    }

    /// A commit is stored: the windows are shown that were open when it was sealed.
    pub(crate) async fn confirm(&mut self, fence: u64, connection: &Connection) {
        assert!(fence > self.fence, "a commit lowered the fence from {} to {fence}", self.fence);
        self.fence = fence;
        if O::STEP.is_ahead && self.shown.owner().is_none() {
            // It was written down just before the position.
            self.shown.owned_at(fence - 1);
        }
        self.committed_at = Instant::now();
        let (position, figures) = std::mem::take(&mut self.sealed_figures);
        self.metrics.stored(position, figures);
        for open in std::mem::take(&mut self.sealed_open) {
            open.show(connection).await;
        }
    }

    /// The windows of an instrument that are open now, to be shown once all that was applied to it is stored. Empty when they
    /// were shown a moment ago, or much input is still to come.
    fn open_windows(&mut self, idx: usize) -> Vec<Open> {
        let has_caught_up = self.has_caught_up();
        let member = &mut self.instruments[idx];
        if !has_caught_up || member.provisional_at.is_some_and(|at| at.elapsed() < PROVISIONAL) {
            return Vec::new();
        }
        let Some(instrument) = &member.instrument else { return Vec::new() };
        member.provisional_at = Some(Instant::now());
        let candles = member.state.read(|state| self.operator.provisional(instrument, state));
        let (coin, quote) = (&member.coin, &member.quote);
        let open = |candle: Candle| Open {
            subject: subject::provisional(candle.window, coin, quote),
            payload: codec::single(&candle),
        };
        candles.into_iter().map(open).collect()
    }
}
