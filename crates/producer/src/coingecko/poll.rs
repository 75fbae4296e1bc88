//! The CoinGecko service: one task polls, the other publishes, and neither waits for the other.

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
use super::backoff;
use super::buffer::{BoundedBuffer, TICKS_MAX};
use super::client::Client;
use super::config::{COINS_MAX, PollingConfig, SOURCE};
use super::markets::Quote;
use super::observer::{FeedEnd, ObservedCoin, Observer, Poll};
use super::readiness::SourceReadiness;
use crate::batch_publisher::BatchPublisher;
use crate::clock::now_ms;
use crate::feed::{self, ASKED_MAX, Feed};
use crate::metrics::ProducerMetrics;

/// Time that a stopping producer waits until NATS has stored the buffer, at most.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Polls CoinGecko into FEED until shutdown, as long as this instance holds the leader lease. It waits through outages
/// of both sides.
///
/// # Errors
/// Bad flags, a FEED with other settings, or a missing permission.
pub async fn run(config: PollingConfig, nats: &NatsArgs, health: &Health, shutdown: &Shutdown) -> anyhow::Result<()> {
    let client = Client::new(&config.api).exit_code(Code::BadConfig)?;
    let Some(connection) = feed::connect(nats, health, shutdown).await? else { return Ok(()) };
    let ttl = config.lease_ttl;
    while let Some(mut lease) = LeaderLease::take(&connection, &group(), ttl, health, shutdown).await? {
        health.not_ready("waiting for the first answer of CoinGecko");
        tokio::select! {
            polled = poll_into(&connection, &config, &client, health, shutdown) => {
                lease.leave().await;
                polled?;
                // CoinGecko refuses this configuration for good. Another instance may have a better key, so this one
                // releases the lease and stays not ready until it is stopped.
                shutdown.requested().await;
                return Ok(());
            }
            // The new leader polls for itself, so unpublished records are dropped.
            lost = lease.lost() => lost?,
        }
        tracing::warn!("another producer has taken over, standing by");
    }
    Ok(())
}

/// Name of the leader lease. Two polling producers would exceed the rate limit of the source.
fn group() -> String {
    format!("producer.{SOURCE}")
}

/// Buffer that the two tasks share.
struct SharedBuffer {
    buffer: Mutex<BoundedBuffer>,
    pushed: Notify,
}

impl SharedBuffer {
    fn with<T>(&self, act: impl FnOnce(&mut BoundedBuffer) -> T) -> T {
        act(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn poll_into(
    feed: &impl Feed,
    config: &PollingConfig,
    client: &Client,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let ask = async |instrument| FeedEnd::of(instrument, feed).await;
    let ends = futures::stream::iter(&config.instruments).map(ask).buffered(ASKED_MAX).try_collect();
    let ends: Vec<FeedEnd> = tokio::select! {
        ends = ends => ends?,
        () = shutdown.requested() => return Ok(()),
    };
    let newest = ends.iter().filter_map(|end| Some(end.last.as_ref()?.event)).max();
    health.data(newest.map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
    let started_ms = now_ms(SystemTime::now());
    let observer = Observer::new(ends, config.step, config.source_delay, started_ms);
    let readiness = SourceReadiness { interval: config.step, started_ms };
    let shared =
        SharedBuffer { buffer: Mutex::new(BoundedBuffer::new(&config.instruments, TICKS_MAX)), pushed: Notify::new() };
    let (count, finish) = (config.instruments.len(), Shutdown::new());
    let metrics = ProducerMetrics::new(health.metrics());
    let mut poller =
        Poller { config, client, observer, readiness, shared: &shared, health, metrics: metrics.clone(), dropped: 0 };
    let polling = async {
        poller.run(shutdown).await;
        finish.request();
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        published = publish(feed, count, &shared, health, &metrics, &finish) => published,
        () = polling => {
            tracing::error!(ticks = shared.with(|buffer| buffer.ticks()), "shut down with unpublished ticks");
            Ok(())
        }
    }
}

/// Publishes the buffer, until it is told to finish and the buffer is empty.
async fn publish(
    feed: &impl Feed,
    coins: usize,
    shared: &SharedBuffer,
    health: &Health,
    metrics: &ProducerMetrics,
    finish: &Shutdown,
) -> Result<(), Error> {
    let mut publisher = BatchPublisher::new(feed, coins, metrics);
    let pulse = health.pulse("publishing");
    let mut beat = tokio::time::interval(BEAT);
    let mut newest = None;
    loop {
        pulse.beat();
        shared.with(|buffer| {
            let ready: Vec<usize> = buffer.waiting().collect();
            for instrument_idx in ready {
                if publisher.is_free(instrument_idx)
                    && let Some(message) = buffer.take(instrument_idx)
                {
                    let newest = newest_tick(&message);
                    publisher.submit(instrument_idx, vec![message], newest);
                }
            }
            metrics.waiting.set(buffer.ticks() as i64);
        });
        if finish.is_requested() && publisher.is_idle() {
            return Ok(());
        }
        tokio::select! {
            stored = publisher.next_stored() => {
                let stored = stored?.context;
                if stored > newest {
                    newest = stored;
                    health.data(newest.map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
                }
            }
            _ = beat.tick() => {}
            () = shared.pushed.notified() => {}
            () = finish.requested(), if !finish.is_requested() => {}
        }
    }
}

/// Returns the event time of the newest tick in a message, if it holds ticks.
fn newest_tick(message: &FeedMessage) -> Option<EventTime> {
    let is_ticks = message.kind == RecordKind::Tick;
    // The message was stored just now, so no tick counts as from the future.
    let tick = is_ticks.then(|| feed::ticks_in_time(&message.payload, i64::MAX).last()).flatten()?;
    Some(EventTime(tick.event_ms))
}

struct Poller<'a> {
    config: &'a PollingConfig,
    client: &'a Client,
    observer: Observer,
    readiness: SourceReadiness,
    shared: &'a SharedBuffer,
    health: &'a Health,
    metrics: ProducerMetrics,
    /// Dropped ticks that are already reported.
    dropped: u64,
}

impl Poller<'_> {
    /// Polls until shutdown, or until asking again cannot help.
    async fn run(&mut self, shutdown: &Shutdown) {
        let mut interval = tokio::time::interval(self.config.interval);
        // A slow answer delays the next poll, so that polls do not pile up.
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
                self.report_readiness(None);
                continue;
            };
            failures += 1;
            self.metrics.refused(refusal.class.as_str(), 1);
            let Some(pause) = backoff::pause(&refusal, failures, rand::rng().random()) else {
                tracing::error!("{refusal}; no further requests until a restart");
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

    /// Waits after a refusal, and updates readiness when a coin becomes silent for too long meanwhile.
    async fn rest(&self, pause: Duration, refusal: &Refusal) {
        let end = tokio::time::Instant::now() + pause;
        self.report_readiness(Some(refusal));
        while let Some(spare) = self.readiness.spare_time(&self.observer, now_ms(SystemTime::now()))
            && tokio::time::Instant::now() + spare < end
        {
            tokio::time::sleep(spare).await;
            self.report_readiness(Some(refusal));
        }
        tokio::time::sleep_until(end).await;
    }

    /// Sets the readiness. `refusal` is the last answer, if it was one.
    fn report_readiness(&self, refusal: Option<&Refusal>) {
        let is_wrong = refusal.filter(|refusal| refusal.class == Class::Request);
        let checked = match is_wrong {
            // The same request would be refused again.
            Some(refusal) => Err(refusal.to_string()),
            None => self.readiness.check(&self.observer, now_ms(SystemTime::now()), refusal),
        };
        match checked {
            Ok(()) => self.health.ready(),
            Err(reason) => self.health.not_ready(reason),
        }
    }

    /// Requests all coins: one request, or several in sequence for more coins than one takes.
    async fn poll(&mut self) -> Result<(), Refusal> {
        let count = self.config.instruments.len();
        for first in (0..count).step_by(COINS_MAX) {
            let range = first..count.min(first + COINS_MAX);
            let instruments = &self.config.instruments[range.clone()];
            let coins: Vec<&str> = instruments.iter().map(|instrument| instrument.coin()).collect();
            let asked = Instant::now();
            let answer = self.client.markets(instruments[0].quote(), &coins).await;
            self.metrics.seconds.observe(asked.elapsed().as_secs_f64());
            match answer {
                Ok(list) => {
                    let poll = Poll { answered_ms: now_ms(SystemTime::now()), date: list.date };
                    self.take(range, &list.quotes, poll);
                }
                Err(refusal) => {
                    let (cause, now_ms) = (refusal.class.as_str(), now_ms(SystemTime::now()));
                    (first..count).for_each(|instrument_idx| self.observer.failed(instrument_idx, cause, now_ms));
                    return Err(refusal);
                }
            }
        }
        tracing::debug!(counts = ?self.observer.counts, "polled");
        Ok(())
    }

    fn take(&mut self, range: Range<usize>, quotes: &HashMap<String, Quote>, poll: Poll) {
        for observed in self.observer.answered(range, quotes, poll) {
            let instrument_idx = observed.instrument_idx;
            if let Some(quote_error) = observed.quote_error {
                self.metrics.refused(quote_error.cause(), 1);
            }
            report(self.observer.instrument(instrument_idx), &observed);
            self.shared
                .with(|buffer| observed.records.into_iter().for_each(|record| buffer.push(instrument_idx, record)));
        }
        self.shared.pushed.notify_one();
        let dropped = self.shared.with(|buffer| buffer.dropped);
        if dropped > self.dropped {
            self.metrics.dropped.inc_by(dropped - self.dropped);
            tracing::error!(
                ticks = dropped - self.dropped,
                "dropped the oldest ticks: the NATS outage filled the buffer"
            );
            self.dropped = dropped;
        }
    }
}

/// Logs an error or its end once, not with every poll.
fn report(instrument: &Instrument, observed: &ObservedCoin) {
    match observed.quote_error {
        _ if !observed.is_news => {}
        Some(quote_error) => {
            tracing::warn!(%instrument, cause = quote_error.cause(), "{}", quote_error.explain(instrument))
        }
        None => tracing::info!(%instrument, "CoinGecko has a usable price again"),
    }
}
