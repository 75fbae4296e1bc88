//! Rows that must be there against rows that are.

use std::cmp::Ordering;

use crate::checkable_range::Horizon;
use crate::judge::Made;
use crate::rows::Row;

/// A row that is stored.
#[derive(Debug, Clone)]
pub(crate) struct Found<R> {
    pub(crate) row: R,
    /// Whether the stream still has all that was committed with it.
    pub(crate) is_whole: bool,
}

/// One table of one instrument, from both sides.
#[derive(Debug)]
pub(crate) struct Table<R> {
    /// What must be there.
    pub(crate) made: Vec<Made<R>>,
    /// What is there, in stream order.
    pub(crate) found: Vec<Found<R>>,
    /// What is there and is no such row, by place.
    pub(crate) unreadable: Vec<String>,
}

/// What a comparison came to.
#[derive(Debug)]
pub(crate) struct Compared<R> {
    pub(crate) equal: u64,
    /// (what must be there, what is).
    pub(crate) different: Vec<(R, R)>,
    pub(crate) missing: Vec<Made<R>>,
    pub(crate) extra: Vec<R>,
    pub(crate) unreadable: Vec<String>,
    pub(crate) not_checkable: u64,
    /// The earliest line whose row is there together with all that was committed with it.
    pub(crate) whole_since: Option<usize>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { made: Vec::new(), found: Vec::new(), unreadable: Vec::new() }
    }
}

impl<R: Row> Table<R> {
    /// Compares both sides, as far as what is left of FEED decides them.
    pub(crate) fn compare(self, horizon: &Horizon) -> Compared<R> {
        let Self { mut made, mut found, unreadable } = self;
        made.sort_by(|left, right| left.row.by_key(&right.row));
        found.sort_by(|left, right| left.row.by_key(&right.row));
        let (found, surplus) = newest(found);
        let mut compared = Compared {
            equal: 0,
            different: Vec::new(),
            missing: Vec::new(),
            extra: Vec::new(),
            unreadable,
            not_checkable: 0,
            whole_since: None,
        };
        surplus.into_iter().for_each(|row| compared.extra(row, horizon));
        let (mut made, mut found) = (made.into_iter().peekable(), found.into_iter().peekable());
        loop {
            let order = match (made.peek(), found.peek()) {
                (Some(made), Some(found)) => made.row.by_key(&found.row),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return compared,
            };
            let made = made.next_if(|_| order.is_le());
            let found = found.next_if(|_| order.is_ge());
            match (made, found) {
                (Some(made), Some(found)) => compared.pair(made, found, horizon),
                (Some(made), None) if made.row.is_checkable(horizon) => compared.missing.push(made),
                (None, Some(found)) => compared.extra(found.row, horizon),
                _ => compared.not_checkable += 1,
            }
        }
    }
}

impl<R: Row> Compared<R> {
    fn pair(&mut self, made: Made<R>, found: Found<R>, horizon: &Horizon) {
        if found.is_whole {
            self.whole_since = Some(self.whole_since.map_or(made.at, |since| since.min(made.at)));
        }
        if !made.row.is_checkable(horizon) {
            self.not_checkable += 1;
        } else if made.row == found.row {
            self.equal += 1;
        } else {
            self.different.push((made.row, found.row));
        }
    }

    fn extra(&mut self, row: R, horizon: &Horizon) {
        if row.is_checkable(horizon) && !row.may_be_of_lost(horizon) {
            self.extra.push(row);
        } else {
            self.not_checkable += 1;
        }
    }

    /// Takes it that rows made by lines before `line` were trimmed away with their commits: they are not missing.
    pub(crate) fn forgive_before(&mut self, line: usize) {
        let missing = self.missing.len();
        self.missing.retain(|made| made.at >= line);
        self.not_checkable += (missing - self.missing.len()) as u64;
    }
}

/// Of rows that are stored anew when they change, the newest; and those that are no newer than the one before them.
fn newest<R: Row>(rows: Vec<Found<R>>) -> (Vec<Found<R>>, Vec<R>) {
    let mut newest: Vec<Found<R>> = Vec::with_capacity(rows.len());
    let mut surplus = Vec::new();
    for row in rows {
        let before = newest.pop_if(|before| row.row.generation().is_some() && row.row.by_key(&before.row).is_eq());
        match before {
            // Readers take what was stored last: so does this.
            Some(before) if !before.row.may_become(&row.row) => surplus.push(before.row),
            _ => {}
        }
        newest.push(row);
    }
    (newest, surplus)
}
