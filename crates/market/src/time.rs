//! Event time and spans of it, in whole milliseconds, UTC.

use std::fmt;
use std::ops::{Add, Sub};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// An instant of event time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

/// A length of event time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl EventTime {
    /// Before every observation: the watermark before the first one.
    pub const MIN: Self = Self(i64::MIN);
    /// Earliest accepted event time: 2009-01-01. The first block of the first coin was made two days later, so no coin
    /// has an earlier price.
    pub const EARLIEST: Self = Self(1_230_768_000_000);
    /// Latest accepted event time: the last millisecond of the year 9999, where RFC 3339 ends.
    pub const LATEST: Self = Self(253_402_300_799_999);

    /// Returns milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Returns the instant as a UTC calendar time; 1970-01-01 for instants outside the calendar.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// Returns the UTC hour of the day, 0 to 23.
    pub fn hour_of_day(self) -> u8 {
        (self.0.rem_euclid(Span::DAY.0) / Span::HOUR.0) as u8
    }

    /// Returns the latest multiple of `span` since the epoch that is not after this instant.
    pub fn floor(self, span: Span) -> Self {
        Self(self.0 - self.0.rem_euclid(span.0))
    }

    /// Returns this instant moved back, at least [`EventTime::MIN`].
    pub fn saturating_sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// Shows the instant as RFC 3339 in UTC with `Z`; with milliseconds only when they are not 0.
    pub fn to_rfc3339(self) -> String {
        self.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }
}

impl Span {
    /// One second.
    pub const SECOND: Self = Self(1_000);
    /// One minute.
    pub const MINUTE: Self = Self(60_000);
    /// One hour.
    pub const HOUR: Self = Self(3_600_000);
    /// One day of 24 hours.
    pub const DAY: Self = Self(86_400_000);

    /// Returns milliseconds.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Returns a span of `count` minutes.
    pub const fn minutes(count: i64) -> Self {
        Self(count * Self::MINUTE.0)
    }

    /// Returns a span of `count` seconds.
    pub const fn seconds(count: i64) -> Self {
        Self(count * Self::SECOND.0)
    }
}

impl Add<Span> for EventTime {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0 + span.0)
    }
}

impl Sub for EventTime {
    type Output = Span;
    fn sub(self, other: Self) -> Span {
        Span(self.0 - other.0)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_a_z() {
        assert_eq!(EventTime(1_583_020_800_000).to_rfc3339(), "2020-03-01T00:00:00Z");
        assert_eq!(EventTime(1_583_020_800_250).to_rfc3339(), "2020-03-01T00:00:00.250Z");
    }

    #[test]
    fn floor_goes_down_before_the_epoch_too() {
        assert_eq!(EventTime(-1).floor(Span::MINUTE), EventTime(-60_000));
        assert_eq!(EventTime(-1).hour_of_day(), 23);
    }
}
