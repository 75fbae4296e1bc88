//! Ids for trades that have none: their position within their instant, so that all of them count.

use std::collections::HashMap;

use market::EventTime;

use super::row::RecordingRow;

/// Assigns ids to the trades of one instrument, in event-time order. An id depends only on the rows of its instant, so
/// that a second reading assigns the same ids.
///
/// Files may overlap. When several files hold an instant, each distinct trade counts as often as in the file that has
/// it most often.
#[derive(Debug)]
pub(crate) struct Numbering {
    has_several_files: bool,
    event: EventTime,
    next: u64,
    file: u32,
    /// The trades of the current instant, by price and volume.
    known: HashMap<(u64, Option<u64>), Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Occurrences in the file that has it most often.
    most: u64,
    /// Occurrences in the file that is being read.
    here: u64,
}

impl Numbering {
    /// Returns the numbering for this number of files.
    pub(crate) fn of_files(files: usize) -> Self {
        Self { has_several_files: files > 1, event: EventTime::MIN, next: 0, file: 0, known: HashMap::new() }
    }

    /// Returns the trade with its id, or `None` when another file already gave it.
    pub(crate) fn number(&mut self, row: RecordingRow) -> Option<RecordingRow> {
        if row.event != self.event {
            (self.event, self.next, self.file) = (row.event, 0, row.file);
            self.known.clear();
        }
        if self.has_several_files && self.is_known(&row) {
            return None;
        }
        let id = Some(self.next);
        self.next += 1;
        Some(RecordingRow { id, ..row })
    }

    fn is_known(&mut self, row: &RecordingRow) -> bool {
        if row.file != self.file {
            self.file = row.file;
            self.known.values_mut().for_each(|known| known.here = 0);
        }
        let known = self.known.entry((row.close.to_bits(), row.volume.map(f64::to_bits))).or_default();
        known.here += 1;
        let is_known = known.here <= known.most;
        known.most = known.most.max(known.here);
        is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the ids of trades given as (time, price, file).
    fn check(files: usize, trades: &[(i64, f64, u32)], expected: &[Option<u64>]) {
        let mut numbering = Numbering::of_files(files);
        let number = |&(event, close, file): &(i64, f64, u32)| {
            let (event, open, high, low) = (EventTime(event), close, close, close);
            let row = RecordingRow {
                event,
                open,
                high,
                low,
                close,
                volume: None,
                quote_volume: None,
                id: None,
                is_point: true,
                complete: None,
                is_behind_jump: false,
                line: 2,
                file,
            };
            numbering.number(row).and_then(|row| row.id)
        };
        assert_eq!(trades.iter().map(number).collect::<Vec<_>>(), expected, "{trades:?}");
    }

    #[test]
    fn a_trade_gets_its_position_within_the_instant_as_id() {
        check(1, &[(1, 5.0, 0), (1, 5.0, 0), (1, 6.0, 0), (2, 5.0, 0)], &[Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn trades_that_two_files_share_count_once() {
        let whole = [(1, 5.0, 0), (1, 5.0, 0), (1, 6.0, 0)];
        let check_second = |second: &[f64], expected: &[Option<u64>]| {
            let trades: Vec<_> = whole.into_iter().chain(second.iter().map(|&price| (1, price, 1))).collect();
            check(2, &trades, &[&[Some(0), Some(1), Some(2)], expected].concat());
        };
        check_second(&[5.0, 5.0, 6.0], &[None, None, None]);
        check_second(&[5.0, 6.0], &[None, None]);
        check_second(&[6.0, 7.0], &[None, Some(3)]);
        check_second(&[5.0, 5.0, 5.0], &[None, None, Some(3)]);
    }
}
