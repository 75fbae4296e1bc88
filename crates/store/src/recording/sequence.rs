//! Which rows of an ordered recording count: one for each instant, never back, no lone row far from all others.

use std::collections::VecDeque;

use market::Span;

use super::row::{Refusal, Row};

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// It counts.
    Accepted(Row),
    /// There was a row of its instant; the first wins.
    Duplicate {
        /// Whether the two say different things.
        conflict: bool,
    },
    /// It does not count, for this reason.
    Refused(Row, Refusal),
}

/// Judges the rows of one instrument in event-time order.
///
/// A row is *alone* when it is more than `step_max` from the row before it and the next row does not follow it within
/// `step_max`: a mistyped year, a time of 0. The first row is alone when the second is that far away and a third
/// confirms the second. Lone rows are refused as jumps.
#[derive(Debug)]
pub(crate) struct Sequence {
    step_max: Span,
    newest: Option<Row>,
    anchor: Anchor,
    /// A row that is alone unless the next one follows it.
    doubtful: Option<Row>,
    verdicts: VecDeque<Verdict>,
}

/// The row that the next one is measured from.
#[derive(Debug, Clone, Copy)]
enum Anchor {
    None,
    /// The first row, which nothing confirms yet.
    First(Row),
    /// An accepted row.
    Accepted(Row),
}

impl Sequence {
    /// Judges by this largest step.
    pub(crate) fn new(step_max: Span) -> Self {
        Self { step_max, newest: None, anchor: Anchor::None, doubtful: None, verdicts: VecDeque::new() }
    }

    /// Takes the next row in the order in which the reorder buffer gave it.
    pub(crate) fn push(&mut self, row: Row) {
        match self.newest {
            Some(newest) if row.event < newest.event => {
                self.verdicts.push_back(Verdict::Refused(row, Refusal::OutOfOrder))
            }
            Some(newest) if row.event == newest.event => {
                self.verdicts.push_back(Verdict::Duplicate { conflict: !row.agrees_with(&newest) });
            }
            _ => {
                self.newest = Some(row);
                self.advance(row);
            }
        }
    }

    /// Ends the recording: a row in doubt stays alone, and a first row without a second counts.
    pub(crate) fn finish(&mut self) {
        if let Anchor::First(first) = self.anchor {
            self.accept(first);
        }
        if let Some(lone) = self.doubtful.take() {
            self.verdicts.push_back(Verdict::Refused(lone, Refusal::Jump));
        }
    }

    /// The next verdict that is certain.
    pub(crate) fn next(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    fn advance(&mut self, row: Row) {
        if let Some(doubtful) = self.doubtful.take() {
            if self.follows(doubtful, row) {
                if let Anchor::First(lone) = self.anchor {
                    self.verdicts.push_back(Verdict::Refused(lone, Refusal::Jump));
                }
                self.accept(doubtful);
                self.accept(row);
            } else {
                self.verdicts.push_back(Verdict::Refused(doubtful, Refusal::Jump));
                self.doubtful = Some(row);
            }
            return;
        }
        match self.anchor {
            Anchor::None => self.anchor = Anchor::First(row),
            Anchor::First(before) if self.follows(before, row) => {
                self.accept(before);
                self.accept(row);
            }
            Anchor::Accepted(before) if self.follows(before, row) => self.accept(row),
            Anchor::First(_) | Anchor::Accepted(_) => self.doubtful = Some(row),
        }
    }

    fn follows(&self, before: Row, row: Row) -> bool {
        row.event - before.event <= self.step_max
    }

    fn accept(&mut self, row: Row) {
        self.anchor = Anchor::Accepted(row);
        self.verdicts.push_back(Verdict::Accepted(row));
    }
}

#[cfg(test)]
mod tests {
    use market::EventTime;

    use super::*;

    /// Rows as (day, close) and verdicts as words, in order.
    fn check(rows: &[(i64, f64)], expected: &[&str]) {
        let mut sequence = Sequence::new(Span(30 * Span::DAY.ms()));
        for (line, &(day, close)) in (2_u32..).zip(rows) {
            let event = EventTime(day * Span::DAY.ms());
            sequence.push(Row { event, open: close, high: close, low: close, close, volume: None, line, file: 0 });
        }
        sequence.finish();
        let verdicts: Vec<String> = std::iter::from_fn(|| sequence.next())
            .map(|verdict| match verdict {
                Verdict::Accepted(row) => format!("{}", row.event.ms() / Span::DAY.ms()),
                Verdict::Duplicate { conflict: false } => "duplicate".to_owned(),
                Verdict::Duplicate { conflict: true } => "conflict".to_owned(),
                Verdict::Refused(row, reason) => format!("{} {}", row.event.ms() / Span::DAY.ms(), reason.as_str()),
            })
            .collect();
        assert_eq!(verdicts, expected, "{rows:?}");
    }

    #[test]
    fn the_first_row_of_an_instant_wins() {
        check(&[(1, 5.0), (1, 5.0), (2, 6.0), (2, 7.0)], &["duplicate", "1", "2", "conflict"]);
    }

    #[test]
    fn what_comes_behind_the_buffer_is_out_of_order() {
        check(&[(1, 5.0), (3, 5.0), (2, 5.0), (4, 5.0)], &["1", "3", "2 out-of-order", "4"]);
    }

    #[test]
    fn a_row_far_ahead_counts_only_when_the_next_follows_it() {
        check(&[(1, 5.0), (2, 5.0), (40, 5.0), (41, 5.0)], &["1", "2", "40", "41"]);
        check(&[(1, 5.0), (2, 5.0), (40, 5.0), (90, 5.0), (91, 5.0)], &["1", "2", "40 jump", "90", "91"]);
        check(&[(1, 5.0), (2, 5.0), (9_999, 5.0)], &["1", "2", "9999 jump"]);
        check(&[(1, 5.0), (32, 5.0)], &["1", "32 jump"]);
        check(&[(1, 5.0), (31, 5.0)], &["1", "31"]);
    }

    #[test]
    fn a_lone_first_row_is_refused_once_others_agree() {
        check(&[(0, 5.0), (18_000, 5.0), (18_001, 5.0)], &["0 jump", "18000", "18001"]);
        check(&[(0, 5.0), (18_000, 5.0), (19_000, 5.0), (19_001, 5.0)], &["18000 jump", "0 jump", "19000", "19001"]);
        check(&[(7, 5.0)], &["7"]);
        check(&[], &[]);
    }
}
