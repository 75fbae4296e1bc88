//! A live feed and its viewer: the time from the instant at which a tick is due to leave for FEED until the viewer has
//! its price, and from the tick that closes a minute until the viewer has the minute's final candle.
//!
//! The feed is an open loop: each tick leaves when it is due, independent of earlier ones, and its time counts from
//! then. One tick is one message. There are as many instruments as ticks per second, so each has one per second. Event
//! time may pass faster than the clock, so that minutes close often. The viewer has no password.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_nats::{Client, Subscriber};
use bus::{Connection, NatsArgs, codec, publish};
use bytes::Bytes;
use futures::StreamExt;
use market::{Instrument, Span, Window};
use pipeline_tests::ticks;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::pipeline::Pipeline;
use super::times::Times;

/// 2023-01-01.
const FIRST_MS: i64 = 1_672_531_200_000;
/// Disorder bound of the shipped settings.
const DISORDER_MS: i64 = 5_000;
/// A result that has not arrived after this long is lost.
const LOST: Duration = Duration::from_secs(10);

/// When each tick is due, and its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Ticks per second, and instruments.
    pub(super) rate: u64,
    /// Speed of event time relative to the clock.
    pub(super) speed: u64,
    /// Warm-up ticks before the first run.
    pub(super) warm: u64,
    /// Ticks of one run.
    pub(super) run: u64,
    pub(super) runs: usize,
}

/// Arrival times of all results of a feed, relative to when their tick was due.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// By tick: time until FEED confirmed it.
    pub(super) stored: Vec<Option<Duration>>,
    /// By tick: time until its price arrived.
    pub(super) prices: Vec<Option<Duration>>,
    /// The ticks that close a minute, with the time until its candle arrived.
    pub(super) candles: Vec<(u64, Duration)>,
}

/// Feeds and listens until everything has arrived or nothing arrives any more. `beside` receives the time at which the
/// first tick is due.
///
/// # Errors
/// FEED refuses a tick, or a result arrives twice.
pub(super) async fn feed(
    pipeline: &Pipeline,
    schedule: Schedule,
    beside: impl FnOnce(Instant),
) -> anyhow::Result<Arrivals> {
    let url = pipeline.base.server.url();
    let viewer = Connection::open(&NatsArgs::at(url), None).await?;
    let mut listener = Listener::new(viewer.client(), schedule).await?;
    let producer = pipeline.base.server.connect("producer").await;
    let handle = Handle::current();
    // A moment in the future, so that the first tick is not late.
    let start = Instant::now() + Duration::from_millis(100);
    beside(start);
    let sending = tokio::task::spawn_blocking(move || send(schedule, start, &producer, &handle));
    let mut arrivals = listener.listen(start).await?;
    arrivals.stored = vec![None; schedule.ticks() as usize];
    for (number, stored) in sending.await?.join_all().await {
        arrivals.stored[number as usize] = Some(stored?);
    }
    Ok(arrivals)
}

/// Sends each tick when it is due, without waiting for answers. The runtime's timers are too coarse for that: they
/// count whole milliseconds.
fn send(
    schedule: Schedule,
    start: Instant,
    producer: &Connection,
    runtime: &Handle,
) -> JoinSet<(u64, Result<Duration, bus::Error>)> {
    let instruments: Vec<Instrument> = (0..schedule.rate).map(instrument).collect();
    let mut sent = JoinSet::new();
    for number in 0..schedule.ticks() {
        let message = ticks::tick(&instruments[(number % schedule.rate) as usize], schedule.event_ms(number));
        let due = start + schedule.due(number);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let producer = producer.clone();
        let publish = async move {
            let stored = publish::publish(&producer, &message).await;
            (number, stored.map(|_| due.elapsed()))
        };
        sent.spawn_on(publish, runtime);
    }
    sent
}

fn instrument(number: u64) -> Instrument {
    Instrument::new(&format!("coin-{number}"), "usd").expect("a valid name")
}

/// A viewer that records arrival times.
struct Listener {
    schedule: Schedule,
    prices: Subscriber,
    candles: Subscriber,
    numbers: HashMap<String, u64>,
}

/// The decoded part of a price.
#[derive(Deserialize)]
struct PriceSeen {
    coin: String,
    event_ms: i64,
}

/// The decoded part of a candle.
#[derive(Deserialize)]
struct CandleSeen {
    coin: String,
    start_ms: i64,
    revision: u32,
}

impl Listener {
    async fn new(viewer: &Client, schedule: Schedule) -> anyhow::Result<Self> {
        let prices = viewer.subscribe("live.price.>").await?;
        let candles = viewer.subscribe("live.candle-1m.>").await?;
        viewer.flush().await?;
        let numbers = (0..schedule.rate).map(|number| (instrument(number).coin().to_owned(), number)).collect();
        Ok(Self { schedule, prices, candles, numbers })
    }

    async fn listen(&mut self, start: Instant) -> anyhow::Result<Arrivals> {
        let schedule = self.schedule;
        let mut arrivals = Arrivals { prices: vec![None; schedule.ticks() as usize], ..Arrivals::default() };
        let (mut prices_left, mut candles_left) = (schedule.ticks(), schedule.candles());
        while prices_left > 0 || candles_left > 0 {
            let next = async {
                tokio::select! {
                    message = self.prices.next() => (true, message),
                    message = self.candles.next() => (false, message),
                }
            };
            let is_over = start.elapsed() > schedule.due(schedule.ticks());
            let (is_price, message) = match tokio::time::timeout(LOST, next).await {
                Ok(next) => next,
                Err(_) if is_over => break,
                Err(_) => continue,
            };
            let (at, message) = (Instant::now(), message.context("the subscription has ended")?);
            // A step that catches up stores results in bulk, compressed.
            let (_, payload) = codec::decode(message.headers, message.payload);
            let after = |number| at.saturating_duration_since(start + schedule.due(number));
            if is_price {
                for number in self.prices_of(&payload)? {
                    let first = arrivals.prices[number as usize].replace(after(number));
                    ensure!(first.is_none(), "the price of tick {number} came twice");
                    prices_left -= 1;
                }
            } else {
                for number in self.closing_of(&payload)? {
                    arrivals.candles.push((number, after(number)));
                    candles_left -= 1;
                }
            }
        }
        Ok(arrivals)
    }

    /// The ticks of these prices.
    fn prices_of(&self, payload: &Bytes) -> anyhow::Result<Vec<u64>> {
        let number = |line| {
            let seen: PriceSeen = serde_json::from_slice(line)?;
            let number = self.schedule.number_at(seen.event_ms);
            ensure!(
                self.numbers.get(&seen.coin) == Some(&(number % self.schedule.rate)),
                "a tick of another: {number}"
            );
            Ok(number)
        };
        codec::lines(payload).map(|(_, line)| number(line)).collect()
    }

    /// The ticks that closed these candles.
    fn closing_of(&self, payload: &Bytes) -> anyhow::Result<Vec<u64>> {
        let number = |line| {
            let seen: CandleSeen = serde_json::from_slice(line)?;
            ensure!(seen.revision == 1, "a candle was revised");
            let instrument = *self.numbers.get(&seen.coin).context("a candle of another")?;
            Ok(self.schedule.closing(instrument, seen.start_ms))
        };
        codec::lines(payload).map(|(_, line)| number(line)).collect()
    }
}

impl Schedule {
    pub(super) fn ticks(self) -> u64 {
        self.warm + self.run * self.runs as u64
    }

    /// Event time between two ticks.
    fn step_ms(self) -> i64 {
        (1_000 * self.speed / self.rate) as i64
    }

    /// When a tick is due, from the start.
    pub(super) fn due(self, number: u64) -> Duration {
        Duration::from_nanos(number * 1_000_000_000 / self.rate)
    }

    fn event_ms(self, number: u64) -> i64 {
        FIRST_MS + number as i64 * self.step_ms()
    }

    pub(super) fn number_at(self, event_ms: i64) -> u64 {
        ((event_ms - FIRST_MS) / self.step_ms()) as u64
    }

    /// The first tick of an instrument with which the watermark reaches the end of the minute starting then.
    fn closing(self, instrument: u64, start_ms: i64) -> u64 {
        let after_ms = start_ms + Window::Minute.size().ms() + DISORDER_MS - FIRST_MS;
        let first = (after_ms as u64).div_ceil(self.step_ms() as u64);
        first + (instrument + self.rate - first % self.rate) % self.rate
    }

    /// Checks that every result of the feed has arrived.
    ///
    /// # Errors
    /// The missing results.
    pub(super) fn check_complete(self, arrivals: &Arrivals) -> anyhow::Result<()> {
        let prices = arrivals.prices.iter().filter(|price| price.is_none()).count();
        let candles = self.candles() - arrivals.candles.len() as u64;
        ensure!(prices == 0 && candles == 0, "{prices} prices and {candles} candles did not come");
        Ok(())
    }

    /// Number of candles that the whole feed closes: every instrument has ticks in every minute.
    fn candles(self) -> u64 {
        let minutes = |instrument: u64| {
            let starts = (0..).map(move |minute: i64| FIRST_MS + minute * Span::MINUTE.ms());
            starts.take_while(move |&start_ms| self.closing(instrument, start_ms) < self.ticks()).count() as u64
        };
        (0..self.rate).map(minutes).sum()
    }

    /// The run of a tick; `None` for warm-up ticks.
    pub(super) fn run_of(self, number: u64) -> Option<usize> {
        Some((number.checked_sub(self.warm)? / self.run) as usize)
    }

    /// The times of one run's ticks.
    pub(super) fn of_run(self, run: usize, all: impl Iterator<Item = (u64, Duration)>) -> Times {
        all.filter(|(number, _)| self.run_of(*number) == Some(run)).map(|(_, time)| time).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_closes_at_the_first_tick_beyond_the_disorder_bound() {
        let schedule = Schedule { rate: 10, speed: 15, warm: 0, run: 200, runs: 1 };
        for instrument in 0..schedule.rate {
            for start_ms in [FIRST_MS, FIRST_MS + 120_000] {
                let end_ms = start_ms + 60_000;
                let is_behind = |number: u64| schedule.event_ms(number) - DISORDER_MS >= end_ms;
                let own = (0..).filter(|number| number % schedule.rate == instrument);
                let closing = schedule.closing(instrument, start_ms);
                assert_eq!(own.clone().find(|&number| is_behind(number)), Some(closing), "{instrument} {start_ms}");
            }
        }
        // 20 ticks each, 15 s apart: the last one closes 4 minutes, 285 s plus 5 s of disorder after the first.
        assert_eq!(schedule.candles(), 40);
    }

    #[test]
    fn a_tick_is_known_by_its_time_and_counts_after_warm_up() {
        let schedule = Schedule { rate: 1_000, speed: 15, warm: 1_000, run: 500, runs: 2 };
        assert_eq!((schedule.ticks(), schedule.number_at(schedule.event_ms(1_234))), (2_000, 1_234));
        assert_eq!(
            [0, 999, 1_000, 1_499, 1_999].map(|number| schedule.run_of(number)),
            [None, None, Some(0), Some(0), Some(1)]
        );
        assert_eq!(schedule.due(1_500), Duration::from_millis(1_500));
    }
}
