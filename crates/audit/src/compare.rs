//! Comparison of the expected rows with the stored rows.

use std::cmp::Ordering;

use crate::checkable_range::CheckableRange;
use crate::judge::Expected;
use crate::rows::Row;

/// A stored row.
#[derive(Debug, Clone)]
pub(crate) struct Found<R> {
    pub(crate) row: R,
    /// Whether the stream still holds every message of the row's commit.
    pub(crate) has_whole_commit: bool,
}

/// One table of one instrument: expected and stored rows.
#[derive(Debug)]
pub(crate) struct Table<R> {
    /// The expected rows.
    pub(crate) expected: Vec<Expected<R>>,
    /// The stored rows, in stream order.
    pub(crate) found: Vec<Found<R>>,
    /// Positions of stored lines that are no such row.
    pub(crate) unreadable: Vec<String>,
}

/// Result of a comparison.
#[derive(Debug)]
pub(crate) struct Compared<R> {
    pub(crate) equal: u64,
    /// Pairs of expected and stored row.
    pub(crate) different: Vec<(R, R)>,
    pub(crate) missing: Vec<Expected<R>>,
    pub(crate) extra: Vec<R>,
    pub(crate) unreadable: Vec<String>,
    pub(crate) not_checkable: u64,
    /// The earliest line whose row is stored and whose commit is complete.
    pub(crate) complete_since: Option<usize>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { expected: Vec::new(), found: Vec::new(), unreadable: Vec::new() }
    }
}

impl<R: Row> Table<R> {
    /// Compares both sides as far as the retained part of FEED determines them.
    pub(crate) fn compare(self, range: &CheckableRange) -> Compared<R> {
        let Self { mut expected, mut found, unreadable } = self;
        expected.sort_by(|left, right| left.row.by_key(&right.row));
        found.sort_by(|left, right| left.row.by_key(&right.row));
        let (found, surplus) = newest(found);
        let mut compared = Compared {
            equal: 0,
            different: Vec::new(),
            missing: Vec::new(),
            extra: Vec::new(),
            unreadable,
            not_checkable: 0,
            complete_since: None,
        };
        surplus.into_iter().for_each(|row| compared.extra(row, range));
        let (mut expected, mut found) = (expected.into_iter().peekable(), found.into_iter().peekable());
        loop {
            let order = match (expected.peek(), found.peek()) {
                (Some(expected), Some(found)) => expected.row.by_key(&found.row),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return compared,
            };
            let expected = expected.next_if(|_| order.is_le());
            let found = found.next_if(|_| order.is_ge());
            match (expected, found) {
                (Some(expected), Some(found)) => compared.pair(expected, found, range),
                (Some(expected), None) if expected.row.is_checkable(range) => compared.missing.push(expected),
                (None, Some(found)) => compared.extra(found.row, range),
                _ => compared.not_checkable += 1,
            }
        }
    }
}

impl<R: Row> Compared<R> {
    fn pair(&mut self, expected: Expected<R>, found: Found<R>, range: &CheckableRange) {
        if found.has_whole_commit {
            self.complete_since = Some(self.complete_since.map_or(expected.at, |since| since.min(expected.at)));
        }
        if !expected.row.is_checkable(range) {
            self.not_checkable += 1;
        } else if expected.row == found.row {
            self.equal += 1;
        } else {
            self.different.push((expected.row, found.row));
        }
    }

    fn extra(&mut self, row: R, range: &CheckableRange) {
        if row.is_checkable(range) && !row.may_be_of_lost(range) {
            self.extra.push(row);
        } else {
            self.not_checkable += 1;
        }
    }

    /// Counts missing rows of lines before `line` as not checkable: trimming removed them with their commits.
    pub(crate) fn exclude_before(&mut self, line: usize) {
        let missing = self.missing.len();
        self.missing.retain(|expected| expected.at >= line);
        self.not_checkable += (missing - self.missing.len()) as u64;
    }
}

/// Returns the newest row of each key for rows that are stored anew when they change, and the rows that are not newer
/// than their predecessor.
fn newest<R: Row>(rows: Vec<Found<R>>) -> (Vec<Found<R>>, Vec<R>) {
    let mut newest: Vec<Found<R>> = Vec::with_capacity(rows.len());
    let mut surplus = Vec::new();
    for row in rows {
        let before = newest.pop_if(|before| row.row.generation().is_some() && row.row.by_key(&before.row).is_eq());
        match before {
            // Readers take the row stored last, and so does the audit.
            Some(before) if !before.row.may_become(&row.row) => surplus.push(before.row),
            _ => {}
        }
        newest.push(row);
    }
    (newest, surplus)
}
