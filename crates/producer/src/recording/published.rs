//! The messages that a replay added to FEED, with the file and line of each tick.

use bus::RecordKind;
use bus::publish::Receipt;
use store::recording::RecordingRow;

/// Messages that are kept, at most: 32 MiB.
const MESSAGES_MAX: usize = 2 << 20;
/// Runs of rows that are kept, at most: 12 MiB. Rows in the order of their file are one run per message.
const RUNS_MAX: usize = 1 << 20;

/// Consecutive lines of one file, forward or backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowRun {
    file: u32,
    first: u32,
    last: u32,
}

impl RowRun {
    fn len(self) -> u32 {
        self.first.abs_diff(self.last) + 1
    }

    fn line(self, offset: u32) -> u32 {
        if self.first <= self.last { self.first + offset } else { self.first - offset }
    }

    /// Extends the run by a row, if it is the next line in the run's direction. The second row decides the direction.
    fn take(&mut self, row: &RecordingRow) -> bool {
        let goes_on = match self.first.cmp(&self.last) {
            std::cmp::Ordering::Equal => self.last.abs_diff(row.line) == 1,
            std::cmp::Ordering::Less => self.last.checked_add(1) == Some(row.line),
            std::cmp::Ordering::Greater => self.last.checked_sub(1) == Some(row.line),
        };
        let is_next = self.file == row.file && goes_on;
        if is_next {
            self.last = row.line;
        }
        is_next
    }
}

/// Rows of one message, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowRuns(Vec<RowRun>);

impl RowRuns {
    /// Adds the next row.
    pub(crate) fn push(&mut self, row: &RecordingRow) {
        if !self.0.last_mut().is_some_and(|run| run.take(row)) {
            self.0.push(RowRun { file: row.file, first: row.line, last: row.line });
        }
    }
}

/// A message that FEED has stored.
#[derive(Debug, Clone, Copy)]
struct Message {
    seq: u64,
    /// Number of ticks; 0 for a gap or a flush.
    ticks: u32,
    /// Index of its first run, if its rows are kept.
    first_run: Option<u32>,
    /// Index of the instrument in the replay.
    instrument_idx: u32,
}

/// Messages that one replay added to FEED, without those that FEED had before.
#[derive(Debug, Default)]
pub(crate) struct PublishedMessages {
    /// FEED's last sequence before the first publish.
    begin: u64,
    messages: Vec<Message>,
    runs: Vec<RowRun>,
    /// Whether there were more messages than are kept.
    pub(crate) is_incomplete: bool,
}

impl PublishedMessages {
    /// Returns an empty set, for a FEED that ends at sequence `begin`.
    pub(crate) fn new(begin: u64) -> Self {
        Self { begin, ..Self::default() }
    }

    /// Adds a message; `rows` are those of its ticks.
    pub(crate) fn add(&mut self, instrument_idx: usize, kind: RecordKind, receipt: Receipt, rows: &RowRuns) {
        if receipt.seq <= self.begin {
            return;
        }
        if self.messages.len() >= MESSAGES_MAX {
            self.is_incomplete = true;
            return;
        }
        let (mut ticks, mut first_run) = (0, None);
        if kind == RecordKind::Tick {
            ticks = rows.0.iter().map(|run| run.len()).sum();
            if self.runs.len() + rows.0.len() <= RUNS_MAX {
                first_run = Some(self.runs.len() as u32);
                self.runs.extend(&rows.0);
            }
        }
        self.messages.push(Message { seq: receipt.seq, ticks, first_run, instrument_idx: instrument_idx as u32 });
    }

    /// Sorts the messages by sequence when all are added. A message that was sent twice is kept once.
    pub(crate) fn finish(&mut self) {
        self.messages.sort_by_key(|message| message.seq);
        self.messages.dedup_by_key(|message| message.seq);
    }

    /// Whether the replay added nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns FEED's last sequence before the replay.
    pub(crate) fn begin(&self) -> u64 {
        self.begin
    }

    /// Returns the number of ticks in all messages.
    pub(crate) fn ticks(&self) -> u64 {
        self.messages.iter().map(|message| u64::from(message.ticks)).sum()
    }

    /// Returns the instrument index and the sequence of each message.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (usize, u64)> {
        self.messages.iter().map(|message| (message.instrument_idx as usize, message.seq))
    }

    /// Returns the number of ticks in the message of this sequence; `None` for a message that is not of this replay.
    pub(crate) fn ticks_of(&self, seq: u64) -> Option<u32> {
        self.find(seq).map(|message| message.ticks)
    }

    /// Returns the instrument index, file index and line of a tick, by the sequence of its message and its index there.
    pub(crate) fn row_of(&self, seq: u64, tick: u32) -> Option<(usize, u32, u32)> {
        let message = self.find(seq)?;
        let mut offset = tick;
        for run in self.runs.get(message.first_run? as usize..)? {
            if offset < run.len() {
                return (tick < message.ticks).then(|| (message.instrument_idx as usize, run.file, run.line(offset)));
            }
            offset -= run.len();
        }
        None
    }

    fn find(&self, seq: u64) -> Option<&Message> {
        self.messages.binary_search_by_key(&seq, |message| message.seq).ok().map(|idx| &self.messages[idx])
    }
}

#[cfg(test)]
mod tests {
    use market::EventTime;

    use super::*;

    fn row(file: u32, line: u32) -> RecordingRow {
        RecordingRow {
            event: EventTime(0),
            open: 1.0,
            high: 1.0,
            low: 1.0,
            close: 1.0,
            volume: None,
            quote_volume: None,
            id: None,
            is_point: false,
            complete: None,
            is_behind_jump: false,
            line,
            file,
        }
    }

    /// Returns the runs of one message's rows, given as (file, line).
    fn runs(rows: &[(u32, u32)]) -> RowRuns {
        let mut runs = RowRuns::default();
        rows.iter().for_each(|&(file, line)| runs.push(&row(file, line)));
        runs
    }

    fn receipt(seq: u64) -> Receipt {
        Receipt { seq, duplicate: false }
    }

    #[test]
    fn each_tick_is_found_in_its_file() {
        let check = |rows: &[(u32, u32)], stretches: usize| {
            let mut sent = PublishedMessages::new(10);
            sent.add(3, RecordKind::Gap, receipt(11), &runs(rows));
            sent.add(3, RecordKind::Tick, receipt(12), &runs(rows));
            sent.finish();
            for (tick, &(file, line)) in (0..).zip(rows) {
                assert_eq!(sent.row_of(12, tick), Some((3, file, line)), "{rows:?}");
            }
            assert_eq!(sent.row_of(12, rows.len() as u32), None, "{rows:?}");
            assert_eq!((sent.row_of(11, 0), sent.ticks_of(11), sent.ticks()), (None, Some(0), rows.len() as u64));
            assert_eq!(sent.runs.len(), stretches, "{rows:?}");
        };
        check(&[(0, 2), (0, 3), (0, 4)], 1);
        check(&[(0, 4), (0, 3), (0, 2)], 1);
        check(&[(0, 2), (0, 3), (0, 2)], 2);
        check(&[(0, 2), (0, 4), (1, 5), (1, 6), (1, 7), (0, 8)], 4);
    }

    #[test]
    fn messages_that_feed_had_before_are_not_included() {
        let mut sent = PublishedMessages::new(10);
        sent.add(0, RecordKind::Tick, Receipt { seq: 10, duplicate: true }, &runs(&[(0, 2)]));
        assert!(sent.is_empty());
        // The answer to the first attempt was lost, and the second attempt was a duplicate.
        sent.add(0, RecordKind::Tick, receipt(11), &runs(&[(0, 3)]));
        sent.add(0, RecordKind::Tick, Receipt { seq: 11, duplicate: true }, &runs(&[(0, 3)]));
        sent.finish();
        assert_eq!((sent.ticks(), sent.row_of(11, 0)), (1, Some((0, 0, 3))));
    }
}
