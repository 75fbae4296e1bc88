//! The rows that are compared: what MARKET and STATS hold, line by line, in a form of the audit's own.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::checkable_range::Horizon;

/// A row of a table, which is stored once, or anew with every revision.
pub(crate) trait Row: PartialEq + Serialize {
    /// Orders rows by what makes two of them the same row.
    fn by_key(&self, other: &Self) -> Ordering;

    /// For rows that are stored anew when they change: what rises each time. `None` for rows that are stored once.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Whether `next`, which was stored after this row and has its key, may take its place.
    fn may_become(&self, next: &Self) -> bool {
        self.generation() < next.generation()
    }

    /// Whether what is left of FEED says what this row must be.
    fn is_checkable(&self, horizon: &Horizon) -> bool;

    /// Whether the row, when nothing left of FEED explains it, may come from what is lost. Rows that name their FEED
    /// message or stand at a certain time may not.
    fn may_be_of_lost(&self, _: &Horizon) -> bool {
        false
    }

    /// The row as a person would name it within its table and instrument.
    fn name(&self) -> String;
}

const MINUTE_MS: i64 = 60_000;

/// Event time, the source's number, and the length of a bar.
pub(crate) type Identity = (i64, Option<u64>, Option<i64>);

/// An accepted tick.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Price {
    pub(crate) feed_seq: u64,
    pub(crate) event_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grain_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) complete_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume: Option<f64>,
}

impl Price {
    /// What makes two ticks of an instrument the same tick; open and close follow this order.
    pub(crate) fn identity(&self) -> Identity {
        (self.event_ms, self.id, self.grain_ms)
    }

    /// Whether the window counts it: a bar of more than a minute must lie in it whole.
    pub(crate) fn counts_before(&self, end_ms: i64) -> bool {
        match self.grain_ms {
            Some(grain_ms) if grain_ms > MINUTE_MS => self.event_ms + grain_ms <= end_ms,
            _ => self.event_ms < end_ms,
        }
    }
}

/// A tick that came too late.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Late {
    #[serde(flatten)]
    pub(crate) price: Price,
    pub(crate) line: u32,
    pub(crate) late_ms: i64,
}

/// A record that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) feed_seq: u64,
    pub(crate) line: u32,
    pub(crate) reason: String,
    pub(crate) head: String,
}

/// A heartbeat that was passed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Heartbeat {
    pub(crate) event_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) complete_ms: Option<i64>,
    pub(crate) ingest_ms: i64,
    pub(crate) flush: bool,
}

/// A gap that was passed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Gap {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) cause: String,
}

/// A final candle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Candle {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) average: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume_count: Option<u64>,
    pub(crate) count: u64,
    pub(crate) coverage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grain_ms: Option<i64>,
    pub(crate) revision: u64,
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// A row of the hour-of-day profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HourOfDay {
    pub(crate) hour: u8,
    pub(crate) average: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

impl Row for Price {
    fn by_key(&self, other: &Self) -> Ordering {
        (self.feed_seq, self.identity()).cmp(&(other.feed_seq, other.identity()))
    }

    fn is_checkable(&self, horizon: &Horizon) -> bool {
        horizon.is_certain(self.event_ms)
    }

    fn name(&self) -> String {
        format!("{} of FEED message {}", time(self.event_ms), self.feed_seq)
    }
}

impl Row for Late {
    fn by_key(&self, other: &Self) -> Ordering {
        (self.price.feed_seq, self.line).cmp(&(other.price.feed_seq, other.line))
    }

    fn is_checkable(&self, horizon: &Horizon) -> bool {
        self.price.is_checkable(horizon)
    }

    fn name(&self) -> String {
        format!("line {} of FEED message {}", self.line, self.price.feed_seq)
    }
}

impl Row for Rejected {
    fn by_key(&self, other: &Self) -> Ordering {
        (self.feed_seq, self.line).cmp(&(other.feed_seq, other.line))
    }

    fn is_checkable(&self, horizon: &Horizon) -> bool {
        self.feed_seq >= horizon.first_seq
    }

    fn name(&self) -> String {
        format!("line {} of FEED message {}", self.line, self.feed_seq)
    }
}

impl Row for Heartbeat {
    fn by_key(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.event_ms, row.ingest_ms, row.flush, row.complete_ms);
        key(self).cmp(&key(other))
    }

    /// It is passed on whatever came before.
    fn is_checkable(&self, _: &Horizon) -> bool {
        true
    }

    fn may_be_of_lost(&self, horizon: &Horizon) -> bool {
        !horizon.is_whole()
    }

    fn name(&self) -> String {
        time(self.event_ms)
    }
}

impl Row for Gap {
    fn by_key(&self, other: &Self) -> Ordering {
        let times = (self.from_ms, self.to_ms).cmp(&(other.from_ms, other.to_ms));
        times.then_with(|| self.cause.cmp(&other.cause))
    }

    /// It is passed on whatever came before.
    fn is_checkable(&self, _: &Horizon) -> bool {
        true
    }

    fn may_be_of_lost(&self, horizon: &Horizon) -> bool {
        !horizon.is_whole()
    }

    fn name(&self) -> String {
        format!("{} to {}", time(self.from_ms), time(self.to_ms))
    }
}

impl Row for Candle {
    fn by_key(&self, other: &Self) -> Ordering {
        self.start_ms.cmp(&other.start_ms)
    }

    fn generation(&self) -> Option<u64> {
        Some(self.revision)
    }

    fn is_checkable(&self, horizon: &Horizon) -> bool {
        horizon.is_certain(self.start_ms)
    }

    fn name(&self) -> String {
        time(self.start_ms)
    }
}

impl Row for HourOfDay {
    fn by_key(&self, other: &Self) -> Ordering {
        self.hour.cmp(&other.hour)
    }

    /// Every new row of an hour holds more ticks, or is the same.
    fn generation(&self) -> Option<u64> {
        Some(self.count)
    }

    /// A bar that crosses the end of its hour counts in the hour's window alone, which issues the row of the hour again.
    fn may_become(&self, next: &Self) -> bool {
        self.count < next.count || self == next
    }

    fn is_checkable(&self, horizon: &Horizon) -> bool {
        horizon.is_whole()
    }

    fn name(&self) -> String {
        format!("hour {}", self.hour)
    }
}

fn time(ms: i64) -> String {
    market::EventTime(ms).to_rfc3339()
}
