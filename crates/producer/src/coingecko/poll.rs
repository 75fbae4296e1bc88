//! The CoinGecko service: `poller` polls and fills, the other half publishes, and neither waits for the other.

use std::time::{Duration, SystemTime};

use bus::lease::LeaderLease;
use bus::publish::FeedMessage;
use bus::retry::wait_for;
use bus::stream::BUDGETS_STREAM;
use bus::topology::stream_info;
use bus::{Connection, Error, NatsArgs, RecordKind};
use futures::{StreamExt, TryStreamExt};
use market::EventTime;
use service::{BEAT, Code, Freshness, Health, Shutdown, StatusLine, WithCode};

use super::client::Client;
use super::config::{PollingConfig, SOURCE};
use super::ledger::{Account, Ledger};
use super::observer::{FeedEnd, Observer};
use super::poller::{Poller, PollerParts};
use super::shared_buffer::SharedBuffer;
use crate::batch_publisher::BatchPublisher;
use crate::clock::now_ms;
use crate::feed::{self, ASKED_MAX, Feed};
use crate::metrics::{BudgetMetrics, ProducerMetrics};

/// Time that a stopping producer waits until NATS has stored the buffer, at most.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Polls CoinGecko into FEED until shutdown, as long as this instance holds the leader lease. It waits through outages
/// of both sides. On a terminal `status` shows the last price, the next poll and the credits.
///
/// # Errors
/// Bad flags, a FEED with other settings, or a missing permission.
pub async fn run(
    config: PollingConfig,
    nats: &NatsArgs,
    status: Option<StatusLine>,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let client = Client::new(&config.api).exit_code(Code::BadConfig)?;
    let Some(connection) = feed::connect(nats, health, shutdown).await? else { return Ok(()) };
    if wait_for(|| stream_info(&connection, BUDGETS_STREAM), health, shutdown).await?.is_none() {
        return Ok(());
    }
    let ttl = config.lease_ttl;
    while let Some(mut lease) = LeaderLease::take(&connection, &group(), ttl, health, shutdown).await? {
        health.not_ready("waiting for the first answer of CoinGecko");
        tokio::select! {
            polled = poll_into(&connection, &config, &client, status.as_ref(), health, shutdown) => {
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
pub(crate) fn group() -> String {
    format!("producer.{SOURCE}")
}

async fn poll_into(
    connection: &Connection,
    config: &PollingConfig,
    client: &Client,
    status: Option<&StatusLine>,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let ask = async |instrument| FeedEnd::of(instrument, connection).await;
    let ends = futures::stream::iter(&config.instruments).map(ask).buffered(ASKED_MAX).try_collect();
    let ends: Vec<FeedEnd> = tokio::select! {
        ends = ends => ends?,
        () = shutdown.requested() => return Ok(()),
    };
    let newest = ends.iter().filter_map(|end| Some(end.last.as_ref()?.event)).max();
    health.data(newest.map_or(Freshness::Awaited, |event| Freshness::Newest(event.ms())));
    let started_ms = now_ms(SystemTime::now());
    let account = Account { connection, name: config.api.account() };
    let mut ledger = tokio::select! {
        ledger = Ledger::open(account, config.api.limits(), EventTime(started_ms)) => ledger?,
        () = shutdown.requested() => return Ok(()),
    };
    let interval = ledger.interval(EventTime(started_ms), config.requests(), config.interval);
    let shared = SharedBuffer::new(&config.instruments);
    let (count, finish) = (config.instruments.len(), Shutdown::new());
    let metrics = ProducerMetrics::new(health.metrics());
    let mut poller = Poller::new(PollerParts {
        config,
        client,
        ledger,
        observer: Observer::new(ends, interval, config.source_delay, started_ms),
        interval,
        shared: &shared,
        health,
        metrics: metrics.clone(),
        budget_metrics: BudgetMetrics::new(health.metrics()),
        status,
        started_ms,
    });
    let polling = async {
        poller.run(shutdown).await?;
        finish.request();
        tokio::time::sleep(DRAIN_MAX).await;
        Ok(())
    };
    tokio::select! {
        published = publish(connection, count, &shared, health, &metrics, &finish) => published,
        polled = polling => {
            if polled.is_ok() {
                tracing::error!(ticks = shared.with(|buffer| buffer.ticks()), "shut down with unpublished ticks");
            }
            polled
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
