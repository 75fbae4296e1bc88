//! The life of the live source: one task asks, the other publishes, and neither waits for the other.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bus::lease::LeaderLease;
use bus::publish::FeedMessage;
use bus::{Error, NatsArgs, RecordKind};
use futures::{StreamExt, TryStreamExt};
use market::{EventTime, Instrument};
use rand::RngExt;
use service::{BEAT, Code, Freshness, Health, Shutdown, WithCode};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::answer::{Class, Refusal};
use super::buffer::{Outbox, TICKS_MAX};
use super::client::Client;
use super::markets::Quote;
use super::observer::{End, Observed, Observer, Poll};
use super::readiness::Readiness;
use super::{COINS_MAX, Config, SOURCE, backoff};
use crate::batch_publisher::Lanes;
use crate::clock::now_ms;
use crate::feed::{self, ASKED_MAX, Feed};
use crate::metrics::ProducerMetrics;

/// How long a stopping producer waits for NATS to take what it has.
const DRAIN: Duration = Duration::from_secs(3);

/// Polls CoinGecko into FEED until shutdown, while no other producer does. Outages of either side are waited for.
///
/// # Errors
/// Bad flags, FEED of another form, missing permission.
pub async fn run(config: Config, nats: &NatsArgs, health: &Health, shutdown: &Shutdown) -> anyhow::Result<()> {
    let client = Client::new(&config.api).exit_code(Code::BadConfig)?;
    let Some(connection) = feed::connect(nats, health, shutdown).await? else { return Ok(()) };
    let ttl = config.lease_ttl;
    while let Some(mut seat) = LeaderLease::take(&connection, &group(), ttl, health, shutdown).await? {
        health.not_ready("waiting for the first answer of CoinGecko");
        tokio::select! {
            polled = poll_into(&connection, &config, &client, health, shutdown) => {
                seat.leave().await;
                polled?;
                // Refused for good: another one may have a better key. This one says why it is not ready, until stopped.
                shutdown.requested().await;
                return Ok(());
            }
            // What was polled and not published yet, the other one has asked for itself.
            lost = seat.lost() => lost?,
        }
        tracing::warn!("another producer has taken over, standing by");
    }
    Ok(())
}

/// Producers of one source take turns: together they would ask twice as often as the source allows.
fn group() -> String {
    format!("producer.{SOURCE}")
}

/// What the two tasks share.
struct Waiting {
    outbox: Mutex<Outbox>,
    news: Notify,
}

impl Waiting {
    fn with<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> T {
        act(&mut self.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn poll_into(
    feed: &impl Feed,
    config: &Config,
    client: &Client,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let ask = async |instrument| End::of(instrument, feed).await;
    let ends = futures::stream::iter(&config.instruments).map(ask).buffered(ASKED_MAX).try_collect();
    let ends: Vec<End> = tokio::select! {
        ends = ends => ends?,
        () = shutdown.requested() => return Ok(()),
    };
    let newest = ends.iter().filter_map(|end| Some(end.last.as_ref()?.event)).max();
    health.data(newest.map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
    let started_ms = now_ms(SystemTime::now());
    let observer = Observer::new(ends, config.step, config.source_delay, started_ms);
    let readiness = Readiness { interval: config.step, started_ms };
    let waiting = Waiting { outbox: Mutex::new(Outbox::new(&config.instruments, TICKS_MAX)), news: Notify::new() };
    let (count, finish) = (config.instruments.len(), Shutdown::new());
    let metrics = ProducerMetrics::new(health.metrics());
    let mut poller =
        Poller { config, client, observer, readiness, waiting: &waiting, health, metrics: metrics.clone(), dropped: 0 };
    let polling = async {
        poller.run(shutdown).await;
        finish.request();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        published = publish(feed, count, &waiting, health, &metrics, &finish) => published,
        () = polling => {
            tracing::error!(ticks = waiting.with(|outbox| outbox.ticks()), "stopped before NATS took what was waiting");
            Ok(())
        }
    }
}

/// Publishes what waits, until told to finish and nothing waits.
async fn publish(
    feed: &impl Feed,
    coins: usize,
    waiting: &Waiting,
    health: &Health,
    metrics: &ProducerMetrics,
    finish: &Shutdown,
) -> Result<(), Error> {
    let mut lanes = Lanes::new(feed, coins, metrics);
    let pulse = health.pulse("publishing");
    let mut beat = tokio::time::interval(BEAT);
    let mut newest = None;
    loop {
        pulse.beat();
        waiting.with(|outbox| {
            let ready: Vec<usize> = outbox.waiting().collect();
            for lane in ready {
                if lanes.is_free(lane)
                    && let Some(message) = outbox.take(lane)
                {
                    let newest = newest_tick(&message);
                    lanes.launch(lane, vec![message], newest);
                }
            }
            metrics.waiting.set(outbox.ticks() as i64);
        });
        if finish.is_requested() && lanes.is_idle() {
            return Ok(());
        }
        tokio::select! {
            stored = lanes.next() => {
                let stored = stored?.note;
                if stored > newest {
                    newest = stored;
                    health.data(newest.map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
                }
            }
            _ = beat.tick() => {}
            () = waiting.news.notified() => {}
            () = finish.requested(), if !finish.is_requested() => {}
        }
    }
}

/// Event time of the newest tick of a message, if it holds any.
fn newest_tick(message: &FeedMessage) -> Option<EventTime> {
    let is_ticks = message.kind == RecordKind::Tick;
    // It was stored just now.
    let tick = is_ticks.then(|| feed::ticks_in_time(&message.payload, i64::MAX).last()).flatten()?;
    Some(EventTime(tick.event_ms))
}

struct Poller<'a> {
    config: &'a Config,
    client: &'a Client,
    observer: Observer,
    readiness: Readiness,
    waiting: &'a Waiting,
    health: &'a Health,
    metrics: ProducerMetrics,
    /// Dropped ticks that were reported.
    dropped: u64,
}

impl Poller<'_> {
    /// Polls until shutdown, or until asking again cannot help.
    async fn run(&mut self, shutdown: &Shutdown) {
        let mut interval = tokio::time::interval(self.config.interval);
        // A slow answer delays the next poll: polls never pile up.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0;
        let pulse = self.health.pulse("polling");
        loop {
            let polled = tokio::select! {
                polled = pulse.during(async { interval.tick().await; self.poll().await }) => polled,
                () = shutdown.requested() => return,
            };
            let Err(refusal) = polled else {
                if failures > 0 {
                    tracing::info!(failures, "CoinGecko answers again");
                }
                failures = 0;
                self.judge(None);
                continue;
            };
            failures += 1;
            self.metrics.refused(refusal.class.as_str(), 1);
            let Some(pause) = backoff::pause(&refusal, failures, rand::rng().random()) else {
                tracing::error!("{refusal}; not asking again until restarted");
                self.health.not_ready(refusal.to_string());
                return;
            };
            tracing::warn!(failures, pause_s = pause.as_secs(), "{refusal}");
            tokio::select! {
                () = pulse.during(self.rest(pause, &refusal)) => interval.reset_immediately(),
                () = shutdown.requested() => return,
            }
        }
    }

    /// Waits after a refusal, and says so when the source has been useless for too long meanwhile.
    async fn rest(&self, pause: Duration, refusal: &Refusal) {
        let end = tokio::time::Instant::now() + pause;
        self.judge(Some(refusal));
        while let Some(spare) = self.readiness.spare_time(&self.observer, now_ms(SystemTime::now()))
            && tokio::time::Instant::now() + spare < end
        {
            tokio::time::sleep(spare).await;
            self.judge(Some(refusal));
        }
        tokio::time::sleep_until(end).await;
    }

    /// Says whether the source is useful. `refusal` is what it said instead of an answer.
    fn judge(&self, refusal: Option<&Refusal>) {
        let is_wrong = refusal.filter(|refusal| refusal.class == Class::Request);
        let checked = match is_wrong {
            // Asking again for the same does not help.
            Some(refusal) => Err(refusal.to_string()),
            None => self.readiness.check(&self.observer, now_ms(SystemTime::now()), refusal),
        };
        match checked {
            Ok(()) => self.health.ready(),
            Err(reason) => self.health.not_ready(reason),
        }
    }

    /// Asks once about every coin: one request, or one after the other for more coins than a request takes.
    async fn poll(&mut self) -> Result<(), Refusal> {
        let count = self.config.instruments.len();
        for first in (0..count).step_by(COINS_MAX) {
            let lanes = first..count.min(first + COINS_MAX);
            let instruments = &self.config.instruments[lanes.clone()];
            let coins: Vec<&str> = instruments.iter().map(|instrument| instrument.coin()).collect();
            let asked = Instant::now();
            let answer = self.client.markets(instruments[0].quote(), &coins).await;
            self.metrics.seconds.observe(asked.elapsed().as_secs_f64());
            match answer {
                Ok(list) => {
                    let poll = Poll { answered_ms: now_ms(SystemTime::now()), date: list.date };
                    self.take(lanes, &list.quotes, poll);
                }
                Err(refusal) => {
                    let (cause, now_ms) = (refusal.class.as_str(), now_ms(SystemTime::now()));
                    (first..count).for_each(|lane| self.observer.failed(lane, cause, now_ms));
                    return Err(refusal);
                }
            }
        }
        tracing::debug!(counts = ?self.observer.counts, "polled");
        Ok(())
    }

    fn take(&mut self, lanes: Range<usize>, quotes: &HashMap<String, Quote>, poll: Poll) {
        for observed in self.observer.answered(lanes, quotes, poll) {
            let lane = observed.lane;
            if let Some(trouble) = observed.trouble {
                self.metrics.refused(trouble.cause(), 1);
            }
            report(self.observer.instrument(lane), &observed);
            self.waiting.with(|outbox| observed.records.into_iter().for_each(|record| outbox.push(lane, record)));
        }
        self.waiting.news.notify_one();
        let dropped = self.waiting.with(|outbox| outbox.dropped);
        if dropped > self.dropped {
            self.metrics.dropped.inc_by(dropped - self.dropped);
            tracing::error!(ticks = dropped - self.dropped, "dropped the oldest ticks: NATS has been away too long");
            self.dropped = dropped;
        }
    }
}

/// Once for each change, not with every poll.
fn report(instrument: &Instrument, observed: &Observed) {
    match observed.trouble {
        _ if !observed.is_news => {}
        Some(trouble) => tracing::warn!(%instrument, cause = trouble.cause(), "{}", trouble.explain(instrument)),
        None => tracing::info!(%instrument, "CoinGecko has a usable price again"),
    }
}
