//! FEED in memory, for tests, with queries for its contents.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::publish::{FeedMessage, Receipt};
use bus::{Error, RecordKind, codec};
use market::gap::GapLine;
use market::heartbeat::HeartbeatLine;
use market::tick::TickLine;
use market::{EventTime, Instrument, Span};

use crate::feed::{Certified, Feed, Flush, LastTick, gaps, ticks_in_time};

/// A minute in milliseconds.
pub(crate) const MINUTE: i64 = 60_000;
/// 2020-01-01T00:00Z, from which tests count minutes.
pub(crate) const START: i64 = 1_577_836_800_000;

/// Returns the time this many minutes after the start, in milliseconds.
pub(crate) fn at(minute: i64) -> i64 {
    START + minute * MINUTE
}

fn minute(ms: i64) -> i64 {
    (ms - START) / MINUTE
}

/// FEED in memory. It fails after `breaks_after` messages: the last one is stored, but its sender gets an error.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) messages: Mutex<Vec<FeedMessage>>,
    /// Number of messages in each publish.
    pub(crate) publishes: Mutex<Vec<usize>>,
    pub(crate) is_publishing: AtomicBool,
    pub(crate) breaks_after: Option<usize>,
    /// Time at which all messages were stored; `None` for a time after all ingest times.
    pub(crate) stored_ms: Option<i64>,
}

impl Memory {
    fn store(&self, message: &FeedMessage) -> Result<Receipt, Error> {
        let mut messages = self.messages.lock().unwrap();
        if self.breaks_after.is_some_and(|count| messages.len() >= count) {
            return Err(broken());
        }
        let known = messages.iter().position(|known| known.id == message.id);
        if known.is_none() {
            messages.push(message.clone());
        }
        if self.breaks_after == Some(messages.len()) {
            return Err(broken());
        }
        let seq = known.map_or(messages.len(), |idx| idx + 1) as u64;
        Ok(Receipt { seq, duplicate: known.is_some() })
    }

    fn lines<T>(&self, kind: RecordKind, read: impl Fn(&[u8]) -> T) -> Vec<T> {
        let messages = self.messages.lock().unwrap();
        let of_kind = messages.iter().filter(|message| message.kind == kind);
        of_kind.flat_map(|message| codec::lines(&message.payload).map(|(_, line)| read(line))).collect()
    }

    /// Returns all ticks in the order of FEED, with the ingest time set to 0.
    pub(crate) fn ticks(&self) -> Vec<TickLine<'static>> {
        self.lines(RecordKind::Tick, |line| {
            let tick: TickLine<'_> = serde_json::from_slice(line).unwrap();
            let (coin, quote) = (tick.coin.into_owned().into(), tick.quote.into_owned().into());
            TickLine { coin, quote, source: Some("recording".into()), ingest_ms: 0, ..tick }
        })
    }

    /// Returns the minutes of all ticks.
    pub(crate) fn minutes(&self) -> Vec<i64> {
        self.ticks().iter().map(|tick| minute(tick.event_ms)).collect()
    }

    /// Returns all gaps as (from, to) in minutes.
    pub(crate) fn gaps(&self) -> Vec<(i64, i64)> {
        self.lines(RecordKind::Gap, |line| {
            let gap: GapLine<'_> = serde_json::from_slice(line).unwrap();
            assert_eq!(gap.cause, "missing-in-recording");
            (minute(gap.from_ms), minute(gap.to_ms))
        })
    }

    /// Returns the minutes of all flushes.
    pub(crate) fn flushes(&self) -> Vec<i64> {
        self.lines(RecordKind::Heartbeat, |line| {
            let heartbeat: HeartbeatLine<'_> = serde_json::from_slice(line).unwrap();
            assert!(heartbeat.flush, "a recording sends no other heartbeats");
            minute(heartbeat.event_ms)
        })
    }

    fn stored_ms(&self) -> i64 {
        self.stored_ms.unwrap_or(i64::MAX)
    }

    /// Returns an instrument's messages of a kind with their sequences, the newest first.
    fn newest(&self, kind: RecordKind, instrument: &Instrument) -> Vec<(u64, FeedMessage)> {
        let messages = self.messages.lock().unwrap();
        let numbered = (1..).zip(messages.iter());
        let found = numbered.filter(|(_, message)| message.kind == kind && message.instrument == *instrument);
        let mut found: Vec<_> = found.map(|(seq, message)| (seq, message.clone())).collect();
        found.reverse();
        found
    }
}

fn broken() -> Error {
    Error::Unreadable { what: "FEED".to_owned(), detail: "broken by the test".to_owned() }
}

impl Feed for Memory {
    async fn publish(&self, messages: &[FeedMessage]) -> Result<Vec<Receipt>, Error> {
        assert!(!self.is_publishing.swap(true, Ordering::SeqCst), "two publishes under way");
        tokio::task::yield_now().await;
        self.is_publishing.store(false, Ordering::SeqCst);
        self.publishes.lock().unwrap().push(messages.len());
        messages.iter().map(|message| self.store(message)).collect()
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.messages.lock().unwrap().is_empty())
    }

    async fn last_tick(&self, instrument: &Instrument) -> Result<Option<LastTick>, Error> {
        let last = |(seq, message): &(u64, FeedMessage)| {
            let tick = ticks_in_time(&message.payload, self.stored_ms()).last()?;
            let (event, grain) = (EventTime(tick.event_ms), tick.grain_ms.map(Span));
            Some(LastTick { event, grain, number: tick.id, seq: *seq, id: Some(message.id.clone()) })
        };
        Ok(self.newest(RecordKind::Tick, instrument).iter().find_map(last))
    }

    async fn gaps_after(&self, instrument: &Instrument, seq: u64) -> Result<Vec<(EventTime, EventTime)>, Error> {
        let newest = self.newest(RecordKind::Gap, instrument);
        Ok(newest.first().filter(|(at, _)| *at > seq).map(|(_, message)| gaps(&message.payload)).unwrap_or_default())
    }

    async fn first_event(&self, instrument: &Instrument) -> Result<EventTime, Error> {
        let newest = self.newest(RecordKind::Tick, instrument);
        let first = |(_, message): &(u64, FeedMessage)| {
            ticks_in_time(&message.payload, self.stored_ms()).next().map(|tick| EventTime(tick.event_ms))
        };
        Ok(newest.iter().rev().find_map(first).unwrap())
    }

    async fn last_flush(&self, instrument: &Instrument) -> Result<Option<Flush>, Error> {
        Ok(self.newest(RecordKind::Heartbeat, instrument).first().map(|(seq, message)| {
            let heartbeat: HeartbeatLine<'_> = serde_json::from_slice(&message.payload).unwrap();
            Flush { event: heartbeat.event(), seq: *seq }
        }))
    }

    async fn last_certified(&self, instrument: &Instrument) -> Result<Option<Certified>, Error> {
        let newest = self.newest(RecordKind::Heartbeat, instrument);
        Ok(newest.first().and_then(|(_, message)| Certified::of(&message.payload)))
    }
}
