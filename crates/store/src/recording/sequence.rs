//! Judgement of rows by their neighbors: one row per time and id, in ascending order, without single rows far from all
//! others.

use std::collections::VecDeque;

use market::Span;

use super::row::{RecordingRow, RowRefusal};
use super::rules::Conflict;

/// Verdict on a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RowVerdict {
    /// The row counts.
    Accepted(RecordingRow),
    /// An earlier row has the same identity.
    Duplicate {
        /// Whether the two have different values.
        conflict: bool,
    },
    /// The two have different values, and conflicts are to be refused.
    Conflict(RecordingRow, RecordingRow),
    /// The row does not count, for this reason.
    Refused(RecordingRow, RowRefusal),
}

/// Judge of one instrument's rows in event-time order.
///
/// A row is *alone* when it is more than `step_max` after the row before it and the next row does not follow within
/// `step_max`, as after a mistyped year. The first row is alone when the second is that far away and a third confirms
/// the second. A row that is alone is refused as a jump.
#[derive(Debug)]
pub(crate) struct Sequence {
    step_max: Span,
    conflict: Conflict,
    /// The newest row. A row of the same identity may replace it.
    newest: Option<RecordingRow>,
    anchor: Anchor,
    /// A row that is alone unless the next row follows it closely.
    doubtful: Option<RecordingRow>,
    verdicts: VecDeque<RowVerdict>,
}

/// The row from which the distance of the next one is measured.
#[derive(Debug, Clone, Copy)]
enum Anchor {
    None,
    /// The first row, which no other row has confirmed yet.
    First(RecordingRow),
    /// An accepted row.
    Accepted(RecordingRow),
}

impl Sequence {
    /// Returns a judge with this largest step and this rule for conflicts.
    pub(crate) fn new(step_max: Span, conflict: Conflict) -> Self {
        Self { step_max, conflict, newest: None, anchor: Anchor::None, doubtful: None, verdicts: VecDeque::new() }
    }

    /// Adds the next row in the order of time, id, file and line.
    pub(crate) fn push(&mut self, row: RecordingRow) {
        match self.newest {
            Some(newest) if row.event < newest.event => {
                self.verdicts.push_back(RowVerdict::Refused(row, RowRefusal::OutOfOrder));
            }
            Some(newest) if row.identity() == newest.identity() => self.push_again(newest, row),
            Some(newest) => {
                self.newest = Some(row);
                self.advance(newest);
            }
            None => self.newest = Some(row),
        }
    }

    /// Adds a duplicate whose outcome depends on the row that it repeats.
    pub(crate) fn push_known(&mut self) {
        self.verdicts.push_back(RowVerdict::Duplicate { conflict: false });
    }

    /// Ends the recording: a row in doubt stays alone, and a first row without a second counts.
    pub(crate) fn finish(&mut self) {
        if let Some(newest) = self.newest.take() {
            self.advance(newest);
        }
        if let Anchor::First(first) = self.anchor {
            self.accept(first);
        }
        if let Some(lone) = self.doubtful.take() {
            self.verdicts.push_back(RowVerdict::Refused(lone, RowRefusal::Jump));
        }
    }

    /// Returns the next verdict that no later row can change.
    pub(crate) fn next(&mut self) -> Option<RowVerdict> {
        self.verdicts.pop_front()
    }

    fn push_again(&mut self, newest: RecordingRow, row: RecordingRow) {
        let conflict = !row.agrees_with(&newest);
        if conflict && self.conflict == Conflict::Refuse {
            self.verdicts.push_back(RowVerdict::Conflict(newest, row));
            return;
        }
        self.verdicts.push_back(RowVerdict::Duplicate { conflict });
        if conflict && self.conflict == Conflict::Last {
            self.newest = Some(row);
        }
    }

    fn advance(&mut self, row: RecordingRow) {
        if let Some(doubtful) = self.doubtful.take() {
            if self.follows(doubtful, row) {
                if let Anchor::First(lone) = self.anchor {
                    self.verdicts.push_back(RowVerdict::Refused(lone, RowRefusal::Jump));
                }
                self.accept(doubtful);
                self.accept(row);
            } else {
                self.verdicts.push_back(RowVerdict::Refused(doubtful, RowRefusal::Jump));
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

    fn follows(&self, before: RecordingRow, row: RecordingRow) -> bool {
        row.event - before.event <= self.step_max
    }

    fn accept(&mut self, row: RecordingRow) {
        self.anchor = Anchor::Accepted(row);
        self.verdicts.push_back(RowVerdict::Accepted(row));
    }
}

#[cfg(test)]
mod tests {
    use market::EventTime;

    use super::*;

    /// Returns the verdicts on rows given as (day, close), in order.
    fn judge(conflict: Conflict, rows: &[(i64, f64)]) -> Vec<String> {
        let mut sequence = Sequence::new(Span(30 * Span::DAY.ms()), conflict);
        for (line, &(day, close)) in (2_u32..).zip(rows) {
            let event = EventTime(day * Span::DAY.ms());
            let (volume, id, is_point, complete) = (None, None, false, None);
            sequence.push(RecordingRow {
                event,
                open: close,
                high: close,
                low: close,
                close,
                volume,
                quote_volume: None,
                id,
                is_point,
                complete,
                is_behind_jump: false,
                line,
                file: 0,
            });
        }
        sequence.finish();
        let day = |row: RecordingRow| row.event.ms() / Span::DAY.ms();
        let words = |verdict| match verdict {
            RowVerdict::Accepted(row) => format!("{}={}", day(row), row.close),
            RowVerdict::Duplicate { conflict: false } => "duplicate".to_owned(),
            RowVerdict::Duplicate { conflict: true } => "conflict".to_owned(),
            RowVerdict::Conflict(one, other) => format!("line {} or line {}", one.line, other.line),
            RowVerdict::Refused(row, reason) => format!("{} {}", day(row), reason.as_str()),
        };
        std::iter::from_fn(|| sequence.next()).map(words).collect()
    }

    fn check(rows: &[(i64, f64)], expected: &[&str]) {
        assert_eq!(judge(Conflict::Last, rows), expected, "{rows:?}");
    }

    #[test]
    fn of_rows_of_one_time_the_chosen_one_counts() {
        let rows = [(1, 5.0), (1, 5.0), (2, 6.0), (2, 7.0), (2, 8.0)];
        let check =
            |conflict: Conflict, expected: &[&str]| assert_eq!(judge(conflict, &rows), expected, "{conflict:?}");
        check(Conflict::Last, &["duplicate", "conflict", "conflict", "1=5", "2=8"]);
        check(Conflict::First, &["duplicate", "conflict", "conflict", "1=5", "2=6"]);
        check(Conflict::Refuse, &["duplicate", "line 4 or line 5", "line 4 or line 6", "1=5", "2=6"]);
    }

    #[test]
    fn a_row_of_a_file_that_changed_meanwhile_is_out_of_order() {
        check(&[(1, 5.0), (3, 5.0), (2, 5.0), (4, 5.0)], &["2 out-of-order", "1=5", "3=5", "4=5"]);
    }

    #[test]
    fn a_row_far_ahead_counts_only_when_the_next_follows_it() {
        check(&[(1, 5.0), (2, 5.0), (40, 5.0), (41, 5.0)], &["1=5", "2=5", "40=5", "41=5"]);
        check(&[(1, 5.0), (2, 5.0), (40, 5.0), (90, 5.0), (91, 5.0)], &["1=5", "2=5", "40 jump", "90=5", "91=5"]);
        check(&[(1, 5.0), (2, 5.0), (9_999, 5.0)], &["1=5", "2=5", "9999 jump"]);
        check(&[(1, 5.0), (32, 5.0)], &["1=5", "32 jump"]);
        check(&[(1, 5.0), (31, 5.0)], &["1=5", "31=5"]);
    }

    #[test]
    fn a_lone_first_row_is_refused_once_others_agree() {
        check(&[(0, 5.0), (18_000, 5.0), (18_001, 5.0)], &["0 jump", "18000=5", "18001=5"]);
        check(
            &[(0, 5.0), (18_000, 5.0), (19_000, 5.0), (19_001, 5.0)],
            &["18000 jump", "0 jump", "19000=5", "19001=5"],
        );
        check(&[(7, 5.0)], &["7=5"]);
        check(&[], &[]);
    }
}
