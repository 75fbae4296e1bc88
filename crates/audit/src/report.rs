//! What an audit found.

mod text;

use std::ops::AddAssign;

use bus::RecordKind;
use bus::stream::{STATS_WINDOWS, Stream};
use serde::Serialize;
use serde_json::Value;

use crate::compare::Compared;
use crate::rows::Row;

/// Most differences that are kept to be shown.
const SHOWN_MAX: usize = 20;

/// How many rows were found as they must be, and how many were not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows that must be there: equal + different + missing.
    pub checked: u64,
    /// Rows that are as they must be.
    pub equal: u64,
    /// Rows that are there with other values.
    pub different: u64,
    /// Rows that are not there.
    pub missing: u64,
    /// Rows that must not be there, or are there too often.
    pub extra: u64,
    /// Rows of which what is left of the streams cannot say what they must be.
    pub not_checkable: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.checked += more.checked;
        self.equal += more.equal;
        self.different += more.different;
        self.missing += more.missing;
        self.extra += more.extra;
        self.not_checkable += more.not_checkable;
    }
}

/// The counts of a kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindCounts {
    /// The stream that holds it.
    #[serde(serialize_with = "displayed")]
    pub stream: Stream,
    /// The kind.
    #[serde(serialize_with = "displayed")]
    pub kind: RecordKind,
    /// How it stands.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A row that is not as it must be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its kind.
    #[serde(serialize_with = "displayed")]
    pub kind: RecordKind,
    /// Its instrument, as `coin/quote`.
    pub instrument: String,
    /// Which row.
    pub row: String,
    /// What is wrong with it.
    pub outcome: Outcome,
    /// What it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has other values.
    Different,
    /// It is not there.
    Missing,
    /// It must not be there.
    Extra,
}

/// What an audit found: `{"windows":…,"equal":…,"different":…,"missing":…,"extra":…,"not_checkable":…,"records":…,
/// "records_equal":…,"feed_first":…,"feed_last":…,"feed_end":…,"kinds":[…],"differences":[…]}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Windows and rows of the profile that were computed again.
    pub windows: u64,
    /// Those of them that are as they must be.
    pub equal: u64,
    /// Rows of every kind with other values.
    pub different: u64,
    /// Rows of every kind that are not there.
    pub missing: u64,
    /// Rows of every kind that must not be there.
    pub extra: u64,
    /// Rows of every kind that cannot be checked.
    pub not_checkable: u64,
    /// Prices, late and refused records, heartbeats and gaps that were judged again.
    pub records: u64,
    /// Those of them that are as they must be.
    pub records_equal: u64,
    /// First sequence of FEED that was used.
    pub feed_first: u64,
    /// Last sequence of FEED that was used: what MARKET contains.
    pub feed_last: u64,
    /// Last sequence of FEED.
    pub feed_end: u64,
    /// Each kind by itself.
    pub kinds: Vec<KindCounts>,
    /// The first differences.
    pub differences: Vec<Difference>,
}

impl Default for Report {
    fn default() -> Self {
        let market = [
            RecordKind::Price,
            RecordKind::Late,
            RecordKind::Rejected,
            RecordKind::Heartbeat,
            RecordKind::Gap,
            RecordKind::Candle,
        ];
        let stats = STATS_WINDOWS.map(RecordKind::Stats).into_iter().chain([RecordKind::HourOfDay]);
        let kinds =
            market.map(|kind| (Stream::Market, kind)).into_iter().chain(stats.map(|kind| (Stream::Stats, kind)));
        let empty = |(stream, kind)| KindCounts { stream, kind, counts: Counts::default() };
        Self {
            windows: 0,
            equal: 0,
            different: 0,
            missing: 0,
            extra: 0,
            not_checkable: 0,
            records: 0,
            records_equal: 0,
            feed_first: 0,
            feed_last: 0,
            feed_end: 0,
            kinds: kinds.map(empty).collect(),
            differences: Vec::new(),
        }
    }
}

impl Report {
    /// Whether everything that could be checked is as it must be.
    pub fn is_clean(&self) -> bool {
        self.different + self.missing + self.extra == 0
    }

    /// Adds what was found of another instrument.
    pub(crate) fn add(&mut self, other: Self) {
        other.kinds.iter().for_each(|kind| self.count(kind.kind, &kind.counts));
        let room = SHOWN_MAX - self.differences.len();
        self.differences.extend(other.differences.into_iter().take(room));
    }

    /// Adds what the comparison of an instrument's rows of a kind came to.
    pub(crate) fn compared<R: Row>(&mut self, kind: RecordKind, instrument: &str, compared: &Compared<R>) {
        let Compared { equal, different, missing, extra, unreadable, not_checkable, .. } = compared;
        let counts = Counts {
            checked: equal + (different.len() + missing.len()) as u64,
            equal: *equal,
            different: different.len() as u64,
            missing: missing.len() as u64,
            extra: (extra.len() + unreadable.len()) as u64,
            not_checkable: *not_checkable,
        };
        self.count(kind, &counts);
        let mut show = |outcome, row: String, expected: Option<&R>, found: Option<&R>| {
            if self.differences.len() < SHOWN_MAX {
                let (instrument, [expected, found]) = (instrument.to_owned(), [expected, found].map(value));
                self.differences.push(Difference { kind, instrument, row, outcome, expected, found });
            }
        };
        different.iter().for_each(|(made, found)| show(Outcome::Different, made.name(), Some(made), Some(found)));
        missing.iter().for_each(|made| show(Outcome::Missing, made.row.name(), Some(&made.row), None));
        extra.iter().for_each(|row| show(Outcome::Extra, row.name(), None, Some(row)));
        unreadable.iter().for_each(|place| show(Outcome::Extra, format!("unreadable: {place}"), None, None));
    }

    fn count(&mut self, kind: RecordKind, counts: &Counts) {
        let is_window = matches!(kind, RecordKind::Candle | RecordKind::Stats(_) | RecordKind::HourOfDay);
        let (checked, equal) = match is_window {
            true => (&mut self.windows, &mut self.equal),
            false => (&mut self.records, &mut self.records_equal),
        };
        *checked += counts.checked;
        *equal += counts.equal;
        self.different += counts.different;
        self.missing += counts.missing;
        self.extra += counts.extra;
        self.not_checkable += counts.not_checkable;
        if let Some(known) = self.kinds.iter_mut().find(|known| known.kind == kind) {
            known.counts += *counts;
        }
    }
}

fn value<R: Row>(row: Option<&R>) -> Option<Value> {
    row.map(|row| serde_json::to_value(row).expect("rows are plain data"))
}

fn displayed<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
