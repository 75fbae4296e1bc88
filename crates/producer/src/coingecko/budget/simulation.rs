//! A simulated month for each plan, with random faults: calls stay within the budget and within each minute, and the
//! credits last until the end of the month.

use std::time::Duration;

use market::{EventTime, Span};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Limits, Month, Purpose, Spending, Verdict};
use crate::coingecko::agenda::{Action, Agenda};
use crate::coingecko::answer::{Class, Refusal};
use crate::coingecko::backoff;
use crate::coingecko::plan::ApiPlan;

/// 2026-06-01, of a month of 30 days.
const START: EventTime = EventTime(1_780_272_000_000);

/// A poller with the code of the service and an invented CoinGecko.
struct World {
    limits: Limits,
    least: Span,
    /// Requests of one poll.
    requests: u64,
    instruments: usize,
    /// Share of refused requests.
    fault: f64,
    random: StdRng,
    now: EventTime,
    started: EventTime,
    agenda: Agenda,
    spending: Spending,
    failures: u32,
    /// Requests that each filling still has to send.
    fillings: Vec<u32>,
    calls: Vec<EventTime>,
    polls: Vec<EventTime>,
}

impl World {
    fn new(plan: ApiPlan, requests: u64, fault: f64, seed: u64) -> Self {
        let instruments = 250 * requests as usize;
        Self {
            limits: plan.limits(),
            least: plan.update(),
            requests,
            instruments,
            fault,
            random: StdRng::seed_from_u64(seed),
            now: START,
            started: START,
            agenda: Agenda::default(),
            spending: Spending::new(START),
            failures: 0,
            fillings: vec![0; instruments],
            calls: Vec::new(),
            polls: Vec::new(),
        }
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis((self.now - self.started).ms().unsigned_abs())
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now + Span(i64::try_from(duration.as_millis()).unwrap().max(1));
    }

    /// Runs to this time.
    fn run(&mut self, end: EventTime) {
        while self.now < end {
            match self.agenda.next(self.uptime(), true) {
                Action::Poll => self.poll(),
                Action::Fill(instrument_idx) => self.fill(instrument_idx),
                Action::GiveUp(instrument_idx) => self.agenda.filled(instrument_idx),
                Action::Wait(wait) => self.pass(wait),
            }
            if self.random.random_bool(0.001) {
                self.restart();
            }
        }
    }

    /// Judges and records a call, as the ledger does.
    fn call(&mut self, purpose: Purpose) -> Verdict {
        self.spending = self.spending.clone().at(self.now);
        let verdict = self.spending.judge(&self.limits, purpose, self.now);
        if verdict == Verdict::Go {
            self.spending.record(purpose, self.now);
            self.calls.push(self.now);
            let answer_ms = self.random.random_range(50..3_000);
            self.pass(Duration::from_millis(answer_ms));
        }
        verdict
    }

    fn poll(&mut self) {
        let started = self.uptime();
        self.polls.push(self.now);
        let mut request = 0;
        while request < self.requests {
            match self.call(Purpose::Poll) {
                Verdict::Go => request += 1,
                Verdict::Minute(wait) => self.pass(Duration::from_millis(wait.ms().unsigned_abs())),
                Verdict::Month(until) => {
                    let rest = Duration::from_millis((until - self.now).ms().unsigned_abs());
                    return self.agenda.unpaid(self.uptime(), rest);
                }
            }
            if self.random.random_bool(self.fault) {
                self.failures += 1;
                let pause = backoff::pause(&refusal(&mut self.random), self.failures, self.random.random()).unwrap();
                let pause = Span(i64::try_from(pause.as_millis()).unwrap());
                let pause = self.spending.retry(&self.limits, self.now, self.failures, request, pause);
                return self.agenda.poll_refused(self.uptime(), Duration::from_millis(pause.ms().unsigned_abs()));
            }
        }
        self.failures = 0;
        let interval = self.spending.interval(&self.limits, self.now, self.requests, self.least);
        self.agenda.polled(started, self.uptime(), Duration::from_millis(interval.ms().unsigned_abs()));
        if self.random.random_bool(self.fault / 10.0) {
            self.begin_fillings();
        }
    }

    /// An outage has ended: some instruments have a hole.
    fn begin_fillings(&mut self) {
        for instrument_idx in 0..self.random.random_range(0..self.instruments.min(50)) {
            self.agenda.filled(instrument_idx);
            self.agenda.fill(instrument_idx, self.uptime(), Duration::from_secs(60));
            self.fillings[instrument_idx] = self.random.random_range(1..4);
        }
    }

    fn fill(&mut self, instrument_idx: usize) {
        match self.call(Purpose::Fill) {
            Verdict::Go => self.fillings[instrument_idx] -= 1,
            Verdict::Minute(wait) => {
                let wait = Duration::from_millis(wait.ms().unsigned_abs());
                return self.agenda.delay_fill(instrument_idx, self.uptime(), wait);
            }
            Verdict::Month(_) => return self.agenda.filled(instrument_idx),
        }
        if self.fillings[instrument_idx] == 0 {
            self.agenda.filled(instrument_idx);
        } else if self.random.random_bool(self.fault) {
            self.agenda.pause(self.uptime(), Duration::from_secs(15));
        }
    }

    /// kill -9 and a new start: only the spending stays.
    fn restart(&mut self) {
        (self.agenda, self.failures) = (Agenda::default(), 0);
        self.pass(Duration::from_millis(300));
        self.started = self.now;
    }
}

fn refusal(random: &mut StdRng) -> Refusal {
    let class = [Class::RateLimited, Class::Upstream, Class::Unreachable][random.random_range(0..3)];
    let retry_after = random.random_bool(0.3).then(|| Duration::from_secs(random.random_range(0..200)));
    Refusal { class, status: None, code: None, detail: String::new(), is_named: false, retry_after }
}

/// Checks a month: calls within the credits and within each minute.
fn check(world: &World) {
    if let Some(credits) = world.limits.credits {
        assert!(world.calls.len() as u64 <= credits, "{} of {credits}", world.calls.len());
    }
    let most = world.limits.per_minute as usize;
    for pair in world.calls.windows(most + 1) {
        assert!(pair[most] - pair[0] >= Span::MINUTE, "{} calls within a minute from {}", most + 1, pair[0]);
    }
}

fn month(plan: ApiPlan, requests: u64, fault: f64, seed: u64) -> World {
    let mut world = World::new(plan, requests, fault, seed);
    let end = Month::of(START).end();
    world.run(end);
    world.calls.retain(|call| *call < end);
    check(&world);
    world
}

/// Returns the time from the last poll to the end of the month.
fn silence(world: &World) -> Span {
    Month::of(START).end() - *world.polls.last().unwrap()
}

#[test]
fn a_demo_month_has_a_price_every_five_minutes() {
    let world = month(ApiPlan::Demo, 1, 0.0, 1);
    assert!((8_900..=10_000).contains(&world.calls.len()), "{}", world.calls.len());
    assert!(silence(&world) < Span::minutes(6), "{:?}", silence(&world));
    let longest = world.polls.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < Span::minutes(6), "{longest}");
}

#[test]
fn a_paid_month_is_faster_and_lasts_too() {
    let world = month(ApiPlan::Pro, 1, 0.0, 2);
    assert!((89_000..=100_000).contains(&world.calls.len()), "{}", world.calls.len());
    assert!(silence(&world) < Span::MINUTE, "{:?}", silence(&world));
}

#[test]
fn a_keyless_month_polls_as_often_as_prices_change() {
    let world = month(ApiPlan::Keyless, 1, 0.0, 3);
    assert!((42_000..=43_500).contains(&world.calls.len()), "{}", world.calls.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn no_month_with_faults_exceeds_its_budget(
        plan in prop_oneof![Just(ApiPlan::Keyless), Just(ApiPlan::Demo), Just(ApiPlan::Pro)],
        requests in 1_u64..6,
        fault in 0.0..0.4,
        seed in any::<u64>(),
    ) {
        let world = month(plan, requests, fault, seed);
        // Most polls of several requests fail then, and each failure takes its share of the credits.
        prop_assert!(silence(&world) < Span(6 * Span::HOUR.ms()), "{:?}", silence(&world));
    }
}
