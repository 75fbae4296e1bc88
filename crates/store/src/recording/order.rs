//! Rows put in order within a bounded buffer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::row::Row;

/// Gives back the oldest of the rows that it holds; rows of one instant in the order in which they came.
///
/// Recordings are in order or nearly so: what comes in order waits in a queue, where it costs nothing, and only what
/// comes late goes through a heap.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    in_order: VecDeque<Row>,
    late: BinaryHeap<Reverse<Late>>,
}

impl Reorder {
    /// Takes a row, which must stand behind all earlier rows of its file.
    pub(crate) fn push(&mut self, row: Row) {
        if self.in_order.back().is_some_and(|last| row.event < last.event) {
            self.late.push(Reverse(Late(row)));
        } else {
            self.in_order.push_back(row);
        }
    }

    /// The oldest row.
    pub(crate) fn peek(&self) -> Option<&Row> {
        if self.is_late_next() { self.late.peek().map(|Reverse(Late(row))| row) } else { self.in_order.front() }
    }

    /// Removes the oldest row.
    pub(crate) fn pop(&mut self) -> Option<Row> {
        if self.is_late_next() { self.late.pop().map(|Reverse(Late(row))| row) } else { self.in_order.pop_front() }
    }

    /// Rows that it holds.
    pub(crate) fn len(&self) -> usize {
        self.in_order.len() + self.late.len()
    }

    fn is_late_next(&self) -> bool {
        let Some(Reverse(Late(late))) = self.late.peek() else { return false };
        self.in_order.front().is_none_or(|first| place(late) < place(first))
    }
}

fn place(row: &Row) -> (i64, u32) {
    (row.event.ms(), row.line)
}

/// A row, ordered by its event time and then its place in the file.
#[derive(Debug)]
struct Late(Row);

impl Ord for Late {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        place(&self.0).cmp(&place(&other.0))
    }
}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        place(&self.0) == place(&other.0)
    }
}

impl Eq for Late {}

#[cfg(test)]
mod tests {
    use market::EventTime;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_out_by_time_and_then_by_place(events in prop::collection::vec(0_i64..50, 0..200)) {
            let mut reorder = Reorder::default();
            let mut expected = Vec::new();
            for (line, &event) in (0_u32..).zip(&events) {
                let event = EventTime(event);
                reorder.push(Row { event, open: 1.0, high: 1.0, low: 1.0, close: 1.0, volume: None, line, file: 0 });
                expected.push((event.ms(), line));
            }
            expected.sort_unstable();
            prop_assert_eq!(reorder.len(), expected.len());
            let mut found = Vec::new();
            while let Some(next) = reorder.peek().copied() {
                prop_assert_eq!(reorder.pop(), Some(next));
                found.push(place(&next));
            }
            prop_assert_eq!(found, expected);
        }
    }
}
