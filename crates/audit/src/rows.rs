//! Rows compared by the audit: lines of MARKET and STATS as types of its own.

use std::cmp::Ordering;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::checkable_range::CheckableRange;

/// A row of a table. Rows are stored once, or anew with every revision.
pub(crate) trait Row: PartialEq + Serialize {
    /// Orders rows by their key within the table.
    fn by_key(&self, other: &Self) -> Ordering;

    /// A number that rises with each new version of the row; `None` for rows that are stored once.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Whether `next`, stored after this row with the same key, may replace it.
    fn may_become(&self, next: &Self) -> bool {
        self.generation() < next.generation()
    }

    /// Whether the retained part of FEED determines this row.
    fn is_checkable(&self, range: &CheckableRange) -> bool;

    /// Whether an unexpected row may result from a lost record. Rows that name their FEED message or have a determined
    /// time cannot.
    fn may_be_of_lost(&self, _: &CheckableRange) -> bool {
        false
    }

    /// Name of the row within its table and instrument, for the report.
    fn name(&self) -> String;
}

const MINUTE_MS: i64 = 60_000;

/// Event time, the source's id, and the length of a bar.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quote_volume: Option<f64>,
    #[serde(skip_serializing_if = "Not::not")]
    pub(crate) filled: bool,
}

impl Price {
    /// Identity of a tick within its instrument; open and close of a candle follow this order.
    pub(crate) fn identity(&self) -> Identity {
        (self.event_ms, self.id, self.grain_ms)
    }

    /// Whether a window that ends at `end_ms` counts the tick: a bar of more than a minute must lie in it completely.
    pub(crate) fn counts_before(&self, end_ms: i64) -> bool {
        match self.grain_ms {
            Some(grain_ms) if grain_ms > MINUTE_MS => self.event_ms + grain_ms <= end_ms,
            _ => self.event_ms < end_ms,
        }
    }
}

/// A tick beyond the allowed lateness.
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

/// A forwarded heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Heartbeat {
    pub(crate) event_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) complete_ms: Option<i64>,
    pub(crate) ingest_ms: i64,
    pub(crate) flush: bool,
}

/// A forwarded gap.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quote_volume: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vwap: Option<f64>,
    pub(crate) count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filled: Option<u64>,
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

    fn is_checkable(&self, range: &CheckableRange) -> bool {
        range.is_certain(self.event_ms)
    }

    fn name(&self) -> String {
        format!("{} of FEED message {}", time(self.event_ms), self.feed_seq)
    }
}

impl Row for Late {
    fn by_key(&self, other: &Self) -> Ordering {
        (self.price.feed_seq, self.line).cmp(&(other.price.feed_seq, other.line))
    }

    fn is_checkable(&self, range: &CheckableRange) -> bool {
        self.price.is_checkable(range)
    }

    fn name(&self) -> String {
        format!("line {} of FEED message {}", self.line, self.price.feed_seq)
    }
}

impl Row for Rejected {
    fn by_key(&self, other: &Self) -> Ordering {
        (self.feed_seq, self.line).cmp(&(other.feed_seq, other.line))
    }

    fn is_checkable(&self, range: &CheckableRange) -> bool {
        self.feed_seq >= range.first_seq
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

    /// Heartbeats are forwarded regardless of earlier records.
    fn is_checkable(&self, _: &CheckableRange) -> bool {
        true
    }

    fn may_be_of_lost(&self, range: &CheckableRange) -> bool {
        !range.is_complete()
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

    /// Gaps are forwarded regardless of earlier records.
    fn is_checkable(&self, _: &CheckableRange) -> bool {
        true
    }

    fn may_be_of_lost(&self, range: &CheckableRange) -> bool {
        !range.is_complete()
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

    fn is_checkable(&self, range: &CheckableRange) -> bool {
        range.is_certain(self.start_ms)
    }

    fn name(&self) -> String {
        time(self.start_ms)
    }
}

impl Row for HourOfDay {
    fn by_key(&self, other: &Self) -> Ordering {
        self.hour.cmp(&other.hour)
    }

    /// Every new row of an hour holds more ticks, or is identical.
    fn generation(&self) -> Option<u64> {
        Some(self.count)
    }

    /// A bar that crosses the end of its hour does not count in the profile, but its candle issues the row of the hour
    /// again.
    fn may_become(&self, next: &Self) -> bool {
        self.count < next.count || self == next
    }

    fn is_checkable(&self, range: &CheckableRange) -> bool {
        range.is_complete()
    }

    fn name(&self) -> String {
        format!("hour {}", self.hour)
    }
}

fn time(ms: i64) -> String {
    market::EventTime(ms).to_rfc3339()
}
