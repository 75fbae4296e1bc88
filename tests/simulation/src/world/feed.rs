//! The published messages: ticks, heartbeats and gaps of a few instruments, most of them valid, in order and in time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::random::Random;

/// Instruments by coin and quote. The last one is not a valid instrument.
pub(crate) const NAMES: [(&str, &str); 5] =
    [("bitcoin", "usd"), ("ethereum", "usd"), ("solana", "eur"), ("dogecoin", "usd"), ("Odd!", "usd")];
const MINUTE_MS: i64 = 60_000;

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its subject.
    pub subject: String,
    /// Its lines.
    pub payload: String,
    /// The pause before it.
    pub pause: Duration,
}

/// Draws random messages.
pub(crate) struct Feed {
    random: Random,
    /// The latest event time of each instrument.
    event_ms: [i64; NAMES.len()],
    /// Message ids so far.
    ids: u64,
    /// The last line of each instrument, to be repeated.
    said: [Option<Value>; NAMES.len()],
    is_burst: bool,
}

impl Feed {
    /// Messages about the days before `now_ms`.
    pub(crate) fn new(random: Random, now_ms: i64) -> Self {
        let event_ms = [now_ms - 4 * 1_440 * MINUTE_MS; NAMES.len()];
        Self { random, event_ms, ids: 0, said: Default::default(), is_burst: false }
    }

    /// The next message.
    pub(crate) fn next(&mut self, now_ms: i64) -> Published {
        if self.random.chance(150) {
            self.is_burst = !self.is_burst;
        }
        let pause = if self.is_burst { self.random.within(1..140) } else { self.random.within(50..900) };
        let one = if self.random.chance(30) { NAMES.len() - 1 } else { self.random.index(NAMES.len() - 1) };
        let (kind, lines) = match self.random.below(100) {
            0..5 => ("heartbeat", 1),
            5..7 => ("gap", 1),
            7..80 => ("tick", 1),
            _ => ("tick", 2 + self.random.index(4)),
        };
        let lines: Vec<String> = (0..lines).map(|_| self.line(one, kind, now_ms)).collect();
        self.message(one, kind, lines.join("\n"), pause)
    }

    /// The last messages of an instrument: a price, and the end of the recording.
    pub(crate) fn end(&mut self, one: usize, now_ms: i64) -> [Published; 2] {
        let tick = self.tick(one, now_ms).to_string();
        let (coin, quote) = NAMES[one];
        let event_ms = self.event_ms[one];
        let flush = json!({ "coin": coin, "quote": quote, "event_ms": event_ms, "ingest_ms": now_ms, "flush": true });
        [self.message(one, "tick", tick, 5), self.message(one, "heartbeat", flush.to_string(), 5)]
    }

    fn message(&self, one: usize, kind: &str, payload: String, pause_ms: u64) -> Published {
        let (coin, quote) = NAMES[one];
        Published { subject: format!("feed.{kind}.{coin}.{quote}"), payload, pause: Duration::from_millis(pause_ms) }
    }

    fn line(&mut self, one: usize, kind: &str, now_ms: i64) -> String {
        let (coin, quote) = NAMES[one];
        let event_ms = self.event_ms[one];
        match kind {
            "gap" => json!({ "coin": coin, "quote": quote, "from_ms": event_ms - 1_000, "to_ms": event_ms + 1_000,
                "cause": "rate-limited" })
            .to_string(),
            "heartbeat" => {
                self.event_ms[one] = (event_ms + self.random.within(0..200_000) as i64).min(now_ms);
                json!({ "coin": coin, "quote": quote, "event_ms": self.event_ms[one], "complete_ms": 60_000,
                    "ingest_ms": now_ms })
                .to_string()
            }
            _ => match (self.random.below(100), &self.said[one]) {
                // The same line again, under another message id.
                (0..6, Some(said)) => said.to_string(),
                (6, _) => "{\"coin\":".to_owned(),
                (7, _) => {
                    json!({ "coin": "other", "quote": quote, "event_ms": event_ms, "close": 1.0, "ingest_ms": now_ms })
                        .to_string()
                }
                _ => self.tick(one, now_ms).to_string(),
            },
        }
    }

    fn tick(&mut self, one: usize, now_ms: i64) -> Value {
        let (coin, quote) = NAMES[one];
        let step_ms = match self.random.below(100) {
            0..70 => self.random.within(200..8_000),
            70..95 => self.random.within(8_000..90_000),
            95..99 => self.random.within(90_000..1_200_000),
            _ => self.random.within(1_200_000..20_000_000),
        };
        let newest = (self.event_ms[one] + step_ms as i64).min(now_ms);
        let event_ms = match self.random.below(100) {
            // Out of order, late within bounds, and too late.
            0..6 => self.event_ms[one] - self.random.within(0..5_000) as i64,
            6..10 => self.event_ms[one] - self.random.within(5_000..300_000) as i64,
            10..12 => self.event_ms[one] - self.random.within(300_000..3_000_000) as i64,
            _ => newest,
        };
        self.event_ms[one] = self.event_ms[one].max(event_ms);
        self.ids += 1;
        let close = self.random.within(1..1_000_000) as f64 / 100.0;
        let mut tick =
            json!({ "coin": coin, "quote": quote, "event_ms": event_ms, "close": close, "ingest_ms": now_ms });
        match self.random.below(10) {
            0 => {
                tick["grain_ms"] = json!([1_000, 60_000, 300_000][self.random.index(3)]);
                tick["high"] = json!(close + 1.5);
                tick["volume"] = json!(self.random.within(0..10_000) as f64 / 8.0);
            }
            1..4 => tick["id"] = json!(self.ids),
            4 => tick["complete_ms"] = json!(self.random.within(0..90_000)),
            _ => {}
        }
        if !self.ids.is_multiple_of(8) {
            tick["quote_volume"] = json!(close * (self.ids % 5) as f64);
        }
        if self.ids.is_multiple_of(3) {
            tick["filled"] = json!(true);
        }
        self.said[one] = Some(tick.clone());
        tick
    }
}
