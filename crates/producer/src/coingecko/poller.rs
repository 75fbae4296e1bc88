//! The poller: it asks for prices, fills the time before them, and keeps within the budget. `agenda` says what is next.

mod filling;
mod reporting;

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant, SystemTime};

use bus::Error;
use market::{EventTime, Span};
use rand::RngExt;
use service::{Health, Shutdown, StatusLine};

use self::reporting::LastPrice;
use super::agenda::{Action, Agenda};
use super::answer::Refusal;
use super::backoff;
use super::budget::{Purpose, Verdict};
use super::client::Client;
use super::config::{COINS_MAX, PollingConfig};
use super::filler::Filler;
use super::ledger::{Ledger, Store, UNRECORDED_RETRY};
use super::limits_of_key;
use super::markets::Quote;
use super::observer::{Observer, Poll};
use super::plan::ApiPlan;
use super::readiness::SourceReadiness;
use super::shared_buffer::SharedBuffer;
use crate::clock::now_ms;
use crate::metrics::{BudgetMetrics, ProducerMetrics};

/// Time between two questions for limits and spent credits of a paid plan.
const USAGE_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// The log says an interval that differs from the one before by more than one part in so many.
const SAID_PART: i64 = 10;
/// Ticks in the buffer beyond which no history is fetched: a year of it must fit beside them.
const FILLING_TICKS_MAX: usize = 500;
/// Time after which the poller looks whether the buffer has room again.
const ROOM_EVERY: Duration = Duration::from_millis(500);

/// Resources of a poller.
pub(crate) struct PollerParts<'a, S> {
    pub(crate) config: &'a PollingConfig,
    pub(crate) client: &'a Client,
    pub(crate) ledger: Ledger<S>,
    pub(crate) observer: Observer,
    /// Time between two polls until the first answer.
    pub(crate) interval: Span,
    pub(crate) shared: &'a SharedBuffer,
    pub(crate) health: &'a Health,
    pub(crate) metrics: ProducerMetrics,
    pub(crate) budget_metrics: BudgetMetrics,
    /// The line of a terminal.
    pub(crate) status: Option<&'a StatusLine>,
    /// Start of the poller by the local clock.
    pub(crate) started_ms: i64,
}

/// The poller of one account.
pub(crate) struct Poller<'a, S> {
    parts: PollerParts<'a, S>,
    agenda: Agenda,
    filler: Filler,
    readiness: SourceReadiness,
    /// Origin of the agenda's times.
    origin: Instant,
    /// Refused polls in a row.
    failures: u32,
    /// The last answer, if it was a refusal.
    refusal: Option<Refusal>,
    /// Why the last call for prices was not made, if it was not.
    unpaid: Option<Unpaid>,
    /// Interval that the log said last.
    said: Option<Span>,
    /// Time of the next question for limits.
    usage_at: Duration,
    /// The last price, for the terminal.
    last_price: Option<LastPrice>,
    /// Dropped ticks that are already reported.
    dropped: u64,
}

/// Result of a poll.
enum Polled {
    Answered,
    /// The poll took this many calls.
    Refused(Refusal, u64),
    Unpaid(Unpaid),
}

/// Reason why a call was not made.
#[derive(Debug, Clone, Copy)]
enum Unpaid {
    /// The credits are spent until this time.
    Spent(EventTime),
    /// NATS is away and cannot record its credit.
    Unrecorded,
}

impl Unpaid {
    /// Returns the cause of the resulting gap.
    fn cause(self) -> &'static str {
        match self {
            Self::Spent(_) => "budget-spent",
            Self::Unrecorded => "nats-away",
        }
    }

    /// Returns the time after which the call may be possible again.
    fn rest(self) -> Duration {
        match self {
            Self::Spent(until) => Duration::from_millis((until - wall_time()).ms().max(0).unsigned_abs()),
            Self::Unrecorded => UNRECORDED_RETRY,
        }
    }
}

impl<'a, S: Store> Poller<'a, S> {
    /// Creates a poller that polls at once.
    pub(crate) fn new(parts: PollerParts<'a, S>) -> Self {
        let readiness = SourceReadiness { interval: parts.interval, started_ms: parts.started_ms };
        Self {
            agenda: Agenda::default(),
            filler: Filler::new(parts.config.filling),
            readiness,
            origin: Instant::now(),
            failures: 0,
            refusal: None,
            unpaid: None,
            said: None,
            usage_at: Duration::ZERO,
            last_price: None,
            dropped: 0,
            parts,
        }
    }

    /// Polls until shutdown, or until asking again cannot help.
    ///
    /// # Errors
    /// The budget cannot be kept in NATS, and waiting does not help.
    pub(crate) async fn run(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let pulse = self.parts.health.pulse("polling");
        loop {
            tokio::select! {
                worked = pulse.during(self.work()) => if worked?.is_break() { return Ok(()) },
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    async fn work(&mut self) -> Result<ControlFlow<()>, Error> {
        let has_room = self.parts.shared.with(|buffer| buffer.ticks()) < FILLING_TICKS_MAX;
        match self.agenda.next(self.uptime(), has_room) {
            Action::Poll => return self.poll().await,
            Action::Fill(instrument_idx) => self.fill(instrument_idx).await?,
            Action::GiveUp(instrument_idx) => self.finish(instrument_idx, "it took too long"),
            Action::Wait(wait) => self.wait(if has_room { wait } else { wait.min(ROOM_EVERY) }).await,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Polls once and sets the time of the next poll. Breaks if asking again cannot help.
    async fn poll(&mut self) -> Result<ControlFlow<()>, Error> {
        let started = self.uptime();
        self.ask_usage().await?;
        match self.ask_all().await? {
            Polled::Answered => {
                if self.failures > 0 {
                    tracing::info!(failures = self.failures, "CoinGecko answers again");
                }
                (self.failures, self.refusal) = (0, None);
                self.pace(started);
            }
            Polled::Refused(refusal, calls) => return Ok(self.refused(refusal, calls)),
            Polled::Unpaid(unpaid) => self.agenda.unpaid(self.uptime(), unpaid.rest()),
        }
        self.report_readiness();
        Ok(ControlFlow::Continue(()))
    }

    /// Sets the interval with which the credits last, and the next poll.
    fn pace(&mut self, started: Duration) {
        let PollerParts { config, ledger, .. } = &mut self.parts;
        let interval = ledger.interval(wall_time(), config.requests(), config.interval);
        self.parts.budget_metrics.interval_s.set(interval.ms() as f64 / 1_000.0);
        self.parts.observer.set_interval(interval);
        self.readiness.interval = interval;
        let is_other = self.said.is_none_or(|said| (interval.ms() - said.ms()).abs() * SAID_PART > said.ms());
        if is_other {
            self.said = Some(interval);
            self.say_pace(interval);
        }
        let interval = Duration::from_millis(interval.ms().unsigned_abs());
        self.agenda.polled(started, self.uptime(), interval);
    }

    /// Waits after a refusal, longer with each one. Breaks if asking again cannot help.
    fn refused(&mut self, refusal: Refusal, calls: u64) -> ControlFlow<()> {
        self.failures += 1;
        let Some(pause) = backoff::pause(&refusal, self.failures, rand::rng().random()) else {
            tracing::error!("{refusal}; no further requests until a restart");
            self.parts.health.not_ready(refusal.to_string());
            return ControlFlow::Break(());
        };
        let ledger = &self.parts.ledger;
        let (now, pause) = (wall_time(), Span(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)));
        let pause = ledger.spending(now).retry(ledger.limits(), now, self.failures, calls, pause);
        let pause = Duration::from_millis(pause.ms().unsigned_abs());
        tracing::warn!(failures = self.failures, pause_s = pause.as_secs(), "{refusal}");
        self.agenda.poll_refused(self.uptime(), pause);
        self.refusal = Some(refusal);
        self.report_readiness();
        ControlFlow::Continue(())
    }

    /// Requests all coins: one request, or several in sequence for more coins than one takes.
    async fn ask_all(&mut self) -> Result<Polled, Error> {
        let config = self.parts.config;
        let count = config.instruments.len();
        for (calls, first) in (1..).zip((0..count).step_by(COINS_MAX)) {
            if let Some(unpaid) = self.spend_for_poll().await? {
                self.fail(first..count, unpaid.cause());
                return Ok(Polled::Unpaid(unpaid));
            }
            let range = first..count.min(first + COINS_MAX);
            let instruments = &config.instruments[range.clone()];
            let coins: Vec<&str> = instruments.iter().map(|instrument| instrument.coin()).collect();
            let asked = Instant::now();
            let answer = self.parts.client.markets(instruments[0].quote(), &coins).await;
            self.parts.metrics.seconds.observe(asked.elapsed().as_secs_f64());
            match answer {
                Ok(list) => {
                    let poll = Poll { answered_ms: now_ms(SystemTime::now()), date: list.date };
                    self.take(range, &list.quotes, poll);
                }
                Err(refusal) => {
                    self.parts.metrics.refused(refusal.class.as_str(), 1);
                    self.fail(first..count, refusal.class.as_str());
                    return Ok(Polled::Refused(refusal, calls));
                }
            }
        }
        tracing::debug!(counts = ?self.parts.observer.counts, "polled");
        Ok(Polled::Answered)
    }

    /// Records a call for prices, and waits until the minute has room for it. Returns why it must not be made, if so.
    async fn spend_for_poll(&mut self) -> Result<Option<Unpaid>, Error> {
        let unpaid = loop {
            match self.parts.ledger.spend(Purpose::Poll, wall_time()).await? {
                Some(Verdict::Go) => break None,
                Some(Verdict::Minute(wait)) => {
                    tokio::time::sleep(Duration::from_millis(wait.ms().max(0).unsigned_abs())).await;
                }
                Some(Verdict::Month(until)) => break Some(Unpaid::Spent(until)),
                None => break Some(Unpaid::Unrecorded),
            }
        };
        match (std::mem::replace(&mut self.unpaid, unpaid), unpaid) {
            (Some(Unpaid::Spent(_)), None) => tracing::info!("CoinGecko is asked again: there are credits"),
            (Some(Unpaid::Spent(_)), Some(Unpaid::Spent(_))) => {}
            (_, Some(Unpaid::Spent(until))) => tracing::warn!("{}", self.spent_words(until)),
            // The ledger says when it records calls again.
            _ => {}
        }
        if unpaid.is_none() {
            self.called("poll");
        }
        Ok(unpaid)
    }

    /// Asks for limits and spent credits of a paid plan, now and then. Without an answer the table counts.
    async fn ask_usage(&mut self) -> Result<(), Error> {
        let api = &self.parts.config.api;
        if api.plan == ApiPlan::Pro
            && self.uptime() >= self.usage_at
            && limits_of_key::ask(&mut self.parts.ledger, self.parts.client, api, wall_time()).await?
        {
            self.usage_at = self.uptime() + USAGE_EVERY;
            self.called("poll");
        }
        Ok(())
    }

    fn fail(&mut self, instruments: Range<usize>, cause: &'static str) {
        let now_ms = now_ms(SystemTime::now());
        instruments.for_each(|instrument_idx| self.parts.observer.failed(instrument_idx, cause, now_ms));
    }

    fn take(&mut self, range: Range<usize>, quotes: &HashMap<String, Quote>, poll: Poll) {
        for observed in self.parts.observer.answered(range, quotes, poll) {
            self.report(&observed);
            self.accept(observed.instrument_idx, observed.hole, observed.records, poll);
        }
        self.pushed();
    }

    fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Returns the time by the local clock.
fn wall_time() -> EventTime {
    EventTime(now_ms(SystemTime::now()))
}
