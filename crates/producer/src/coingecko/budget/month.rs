//! Calendar months in UTC, after which CoinGecko's credits begin anew.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate};
use market::EventTime;
use serde::{Deserialize, Serialize};

/// A calendar month in UTC, as `2026-12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Month {
    year: i32,
    /// From 1 to 12.
    month: u32,
}

impl Month {
    /// Returns the month of a time.
    pub(crate) fn of(time: EventTime) -> Self {
        let date = time.to_utc();
        Self { year: date.year(), month: date.month() }
    }

    /// Returns the first instant of the next month.
    pub(crate) fn end(self) -> EventTime {
        let (year, month) = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        let first = NaiveDate::from_ymd_opt(year, month, 1).and_then(|first| first.and_hms_opt(0, 0, 0));
        first.map_or(EventTime::LATEST, |first| EventTime(first.and_utc().timestamp_millis()))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl TryFrom<String> for Month {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let first = DateTime::parse_from_rfc3339(&format!("{text}-01T00:00:00Z"));
        let first = first.map_err(|_| format!("{text:?} is not a month such as 2026-12"))?;
        Ok(Self { year: first.year(), month: first.month() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let end = |time: &str| {
            let time = DateTime::parse_from_rfc3339(time).unwrap();
            let month = Month::of(EventTime(time.timestamp_millis()));
            (month.to_string(), month.end().to_rfc3339())
        };
        let is = |month: &str, end: &str| (month.to_owned(), end.to_owned());
        assert_eq!(end("2026-12-31T23:59:59.999Z"), is("2026-12", "2027-01-01T00:00:00Z"));
        assert_eq!(end("2028-02-29T12:00:00Z"), is("2028-02", "2028-03-01T00:00:00Z"));
        assert_eq!(end("2026-12-31T23:30:00-01:00"), is("2027-01", "2027-02-01T00:00:00Z"));
    }

    #[test]
    fn a_month_reads_as_it_is_written() {
        assert_eq!(Month::try_from("2026-12".to_owned()).unwrap().to_string(), "2026-12");
        for bad in ["", "2026", "2026-13", "2026-1", "2026-12-01"] {
            assert!(Month::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
