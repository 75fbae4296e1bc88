//! Report of an audit.

mod text;

use std::ops::AddAssign;

use bus::RecordKind;
use bus::stream::{STATS_WINDOWS, Stream};
use serde::Serialize;
use serde_json::Value;

use crate::compare::Compared;
use crate::rows::Row;

/// Most differences that are listed.
const SHOWN_MAX: usize = 20;

/// Numbers of rows by result of their comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ComparisonCounts {
    /// Expected rows: equal + different + missing.
    pub checked: u64,
    /// Rows equal to the expected ones.
    pub equal: u64,
    /// Stored rows with other values.
    pub different: u64,
    /// Expected rows that are not stored.
    pub missing: u64,
    /// Stored rows that are not expected, or stored too often.
    pub extra: u64,
    /// Rows that the retained part of the streams does not determine.
    pub not_checkable: u64,
}

impl AddAssign for ComparisonCounts {
    fn add_assign(&mut self, more: Self) {
        self.checked += more.checked;
        self.equal += more.equal;
        self.different += more.different;
        self.missing += more.missing;
        self.extra += more.extra;
        self.not_checkable += more.not_checkable;
    }
}

/// The counts of one record kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindComparison {
    /// The stream of the rows.
    #[serde(serialize_with = "displayed")]
    pub stream: Stream,
    /// The record kind.
    #[serde(serialize_with = "displayed")]
    pub kind: RecordKind,
    /// The counts.
    #[serde(flatten)]
    pub counts: ComparisonCounts,
}

/// A row that differs from the expected one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowDifference {
    /// The record kind.
    #[serde(serialize_with = "displayed")]
    pub kind: RecordKind,
    /// The instrument, as `coin/quote`.
    pub instrument: String,
    /// The name of the row.
    pub row: String,
    /// The kind of mismatch.
    pub outcome: Mismatch,
    /// The expected row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// The stored row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
}

/// Kinds of mismatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mismatch {
    /// Stored with other values.
    Different,
    /// Expected but not stored.
    Missing,
    /// Stored but not expected.
    Extra,
}

/// Report of an audit: `{"windows":…,"equal":…,"different":…,"missing":…,"extra":…,"not_checkable":…,"records":…,
/// "records_equal":…,"feed_first":…,"feed_last":…,"feed_end":…,"kinds":[…],"differences":[…]}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditReport {
    /// Recomputed windows and rows of the profile.
    pub windows: u64,
    /// Those equal to the stored ones.
    pub equal: u64,
    /// Rows of every kind with other values.
    pub different: u64,
    /// Expected rows of every kind that are not stored.
    pub missing: u64,
    /// Stored rows of every kind that are not expected.
    pub extra: u64,
    /// Rows of every kind that cannot be checked.
    pub not_checkable: u64,
    /// Recomputed prices, late and refused records, heartbeats and gaps.
    pub records: u64,
    /// Those equal to the stored ones.
    pub records_equal: u64,
    /// First sequence of FEED used.
    pub feed_first: u64,
    /// Last sequence of FEED used: the last that MARKET contains.
    pub feed_last: u64,
    /// Last sequence of FEED.
    pub feed_end: u64,
    /// The counts of each kind.
    pub kinds: Vec<KindComparison>,
    /// The first differences.
    pub differences: Vec<RowDifference>,
}

impl Default for AuditReport {
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
        let empty = |(stream, kind)| KindComparison { stream, kind, counts: ComparisonCounts::default() };
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

impl AuditReport {
    /// Whether every checkable row is as expected.
    pub fn is_clean(&self) -> bool {
        self.different + self.missing + self.extra == 0
    }

    /// Adds the report of another instrument.
    pub(crate) fn add(&mut self, other: Self) {
        other.kinds.iter().for_each(|kind| self.count(kind.kind, &kind.counts));
        let room = SHOWN_MAX - self.differences.len();
        self.differences.extend(other.differences.into_iter().take(room));
    }

    /// Adds the comparison of one kind of rows of an instrument.
    pub(crate) fn compared<R: Row>(&mut self, kind: RecordKind, instrument: &str, compared: &Compared<R>) {
        let Compared { equal, different, missing, extra, unreadable, not_checkable, .. } = compared;
        let counts = ComparisonCounts {
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
                self.differences.push(RowDifference { kind, instrument, row, outcome, expected, found });
            }
        };
        different
            .iter()
            .for_each(|(wanted, found)| show(Mismatch::Different, wanted.name(), Some(wanted), Some(found)));
        missing.iter().for_each(|wanted| show(Mismatch::Missing, wanted.row.name(), Some(&wanted.row), None));
        extra.iter().for_each(|row| show(Mismatch::Extra, row.name(), None, Some(row)));
        unreadable.iter().for_each(|place| show(Mismatch::Extra, format!("unreadable: {place}"), None, None));
    }

    fn count(&mut self, kind: RecordKind, counts: &ComparisonCounts) {
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
