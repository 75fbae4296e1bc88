//! External sort of one file's rows by time, in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use market::EventTime;

use super::row::RecordingRow;

/// Bytes of a row in a temporary file: seven numbers of 8 bytes, the id, the line, and flags of the present fields.
const ROW_BYTES: usize = 69;
const HAS_VOLUME: u8 = 1;
const HAS_ID: u8 = 2;
const IS_POINT: u8 = 4;
const HAS_QUOTE_VOLUME: u8 = 8;
/// Rows that are read ahead of each run at a time, at least.
const AHEAD_MIN: usize = 16;

/// Sort key of a row: its time, its trade id, and its line.
type SortKey = (EventTime, Option<u64>, u32);

/// Order of two rows of one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOrder {
    /// The earlier line comes first.
    Forward,
    /// The later line comes first: trades of a file with the newest row first.
    Backward,
}

impl LineOrder {
    fn key(self, row: &RecordingRow) -> SortKey {
        let line = match self {
            Self::Forward => row.line,
            Self::Backward => u32::MAX - row.line,
        };
        (row.event, row.id, line)
    }
}

/// Sorter of rows in any order. At most `rows_max` are in memory; the others are in sorted runs in a temporary file.
pub(crate) struct Sorter {
    line_order: LineOrder,
    rows_max: usize,
    rows: Vec<RecordingRow>,
    spill: Option<Spill>,
}

/// Sorted runs in a temporary file, one after the other.
struct Spill {
    file: BufWriter<File>,
    rows: u64,
    runs: Vec<SpilledRun>,
}

/// A sorted run in a temporary file.
#[derive(Debug, Clone, Copy)]
struct SpilledRun {
    /// Index of its first row.
    from: u64,
    /// Sort keys of its first and its last row.
    first: SortKey,
    last: SortKey,
}

impl Sorter {
    /// Returns a sorter with this number of rows in memory, at least one.
    pub(crate) fn new(line_order: LineOrder, rows_max: usize) -> Self {
        Self { line_order, rows_max: rows_max.max(1), rows: Vec::new(), spill: None }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The temporary file cannot be created or written.
    pub(crate) fn push(&mut self, row: RecordingRow) -> io::Result<()> {
        if self.rows.len() == self.rows_max {
            self.spill()?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// Returns all rows in order.
    ///
    /// # Errors
    /// The temporary file cannot be written or read.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        if self.spill.is_none() {
            let line_order = self.line_order;
            self.rows.sort_unstable_by_key(|row| Reverse(line_order.key(row)));
            return Ok(Sorted::Held(self.rows));
        }
        self.spill()?;
        let Some(Spill { file, rows, runs }) = self.spill else { return Ok(Sorted::Held(Vec::new())) };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Sorted::Merged(Merge::new(file, self.line_order, rows, &runs, self.rows_max)))
    }

    /// Writes the rows in memory to the temporary file: it extends the last run, or begins another one.
    fn spill(&mut self) -> io::Result<()> {
        let line_order = self.line_order;
        self.rows.sort_unstable_by_key(|row| line_order.key(row));
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return Ok(()) };
        let (first, last) = (line_order.key(first), line_order.key(last));
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { file: BufWriter::new(tempfile::tempfile()?), rows: 0, runs: Vec::new() }),
        };
        match spill.runs.last_mut() {
            // A file that is nearly in order becomes one long run.
            Some(run) if run.last <= first => run.last = last,
            _ => spill.runs.push(SpilledRun { from: spill.rows, first, last }),
        }
        for row in self.rows.drain(..) {
            spill.file.write_all(&encode(&row))?;
            spill.rows += 1;
        }
        Ok(())
    }
}

/// Sorted rows.
pub(crate) enum Sorted {
    /// All rows in memory, in reverse order.
    Held(Vec<RecordingRow>),
    /// Rows from a temporary file.
    Merged(Merge),
}

impl Sorted {
    /// Returns the next row and sets its file to `file`.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<RecordingRow>> {
        match self {
            Self::Held(rows) => Ok(rows.pop()),
            Self::Merged(merge) => merge.next(),
        }
    }
}

/// Merge of the runs in a temporary file.
pub(crate) struct Merge {
    file: File,
    line_order: LineOrder,
    runs: Vec<Run>,
    /// First rows of the runs that have not begun. The next run is at the end: those of a file with the newest row first
    /// follow each other and are merged with no other one.
    waiting: Vec<(SortKey, usize)>,
    next: BinaryHeap<Reverse<(SortKey, usize)>>,
    ahead: usize,
}

/// Remaining rows of a run in the file, and the rows read ahead, in reverse order.
struct Run {
    from: u64,
    to: u64,
    read: Vec<RecordingRow>,
}

impl Merge {
    fn new(file: File, line_order: LineOrder, rows: u64, spilled: &[SpilledRun], rows_max: usize) -> Self {
        let ends = spilled.iter().skip(1).map(|run| run.from).chain([rows]);
        let runs: Vec<Run> =
            spilled.iter().zip(ends).map(|(run, to)| Run { from: run.from, to, read: Vec::new() }).collect();
        let mut waiting: Vec<(SortKey, usize)> = spilled.iter().map(|run| run.first).zip(0..).collect();
        waiting.sort_unstable_by_key(|first| Reverse(*first));
        let ahead = (rows_max / runs.len().max(1)).max(AHEAD_MIN);
        Self { file, line_order, runs, waiting, next: BinaryHeap::new(), ahead }
    }

    fn next(&mut self) -> io::Result<Option<RecordingRow>> {
        while let Some(&(first, idx)) = self.waiting.last() {
            if self.next.peek().is_some_and(|Reverse((next, _))| *next < first) {
                break;
            }
            self.waiting.pop();
            self.add_head(idx)?;
        }
        let Some(Reverse((_, idx))) = self.next.pop() else { return Ok(None) };
        let row = self.runs[idx].read.pop();
        self.add_head(idx)?;
        Ok(row)
    }

    /// Adds the first row of a run to the merge, if it has one.
    fn add_head(&mut self, idx: usize) -> io::Result<()> {
        let run = &mut self.runs[idx];
        if run.read.is_empty() {
            run.fill(&self.file, self.ahead)?;
        }
        if let Some(first) = run.read.last() {
            self.next.push(Reverse((self.line_order.key(first), idx)));
        }
        Ok(())
    }
}

impl Run {
    fn fill(&mut self, file: &File, rows_max: usize) -> io::Result<()> {
        let count = (self.to - self.from).min(rows_max as u64);
        let mut bytes = vec![0; count as usize * ROW_BYTES];
        file.read_exact_at(&mut bytes, self.from * ROW_BYTES as u64)?;
        self.from += count;
        let rows = bytes.as_chunks::<ROW_BYTES>().0.iter().rev().map(decode);
        self.read.extend(rows);
        Ok(())
    }
}

fn encode(row: &RecordingRow) -> [u8; ROW_BYTES] {
    let RecordingRow { event, open, high, low, close, volume, quote_volume, id, is_point, line, .. } = row;
    let mut bytes = [0; ROW_BYTES];
    let amounts = [*open, *high, *low, *close, volume.unwrap_or_default(), quote_volume.unwrap_or_default()];
    bytes[..8].copy_from_slice(&event.ms().to_le_bytes());
    bytes[8..56].copy_from_slice(amounts.map(f64::to_le_bytes).as_flattened());
    bytes[56..64].copy_from_slice(&id.unwrap_or_default().to_le_bytes());
    bytes[64..68].copy_from_slice(&line.to_le_bytes());
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    bytes[68] = flag(volume.is_some(), HAS_VOLUME)
        | flag(quote_volume.is_some(), HAS_QUOTE_VOLUME)
        | flag(id.is_some(), HAS_ID)
        | flag(*is_point, IS_POINT);
    bytes
}

/// Decodes a row without its file, which all rows share.
fn decode(bytes: &[u8; ROW_BYTES]) -> RecordingRow {
    let word = |idx: usize| std::array::from_fn::<u8, 8, _>(|at| bytes[idx * 8 + at]);
    let number = |idx: usize| f64::from_le_bytes(word(idx));
    let has = |flag: u8| bytes[68] & flag != 0;
    RecordingRow {
        event: EventTime(i64::from_le_bytes(word(0))),
        open: number(1),
        high: number(2),
        low: number(3),
        close: number(4),
        volume: has(HAS_VOLUME).then(|| number(5)),
        quote_volume: has(HAS_QUOTE_VOLUME).then(|| number(6)),
        id: has(HAS_ID).then(|| u64::from_le_bytes(word(7))),
        is_point: has(IS_POINT),
        complete: None,
        is_behind_jump: false,
        line: u32::from_le_bytes([bytes[64], bytes[65], bytes[66], bytes[67]]),
        file: 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(event: i64, line: u32) -> RecordingRow {
        let close = 100.0 + f64::from(line);
        let volume = (!line.is_multiple_of(3)).then_some(f64::from(line) / 7.0);
        let quote_volume = line.is_multiple_of(7).then_some(f64::from(line) * 3.0);
        let id = line.is_multiple_of(5).then_some(u64::from(line % 2));
        let event = EventTime(event);
        let is_point = line.is_multiple_of(4);
        RecordingRow {
            event,
            open: close - 0.5,
            high: close + 1.0,
            low: close - 1.0,
            close,
            volume,
            quote_volume,
            id,
            is_point,
            complete: None,
            is_behind_jump: false,
            line,
            file: 0,
        }
    }

    fn sorted(line_order: LineOrder, rows_max: usize, rows: &[RecordingRow]) -> Vec<RecordingRow> {
        let mut sorter = Sorter::new(line_order, rows_max);
        rows.iter().for_each(|row| sorter.push(*row).unwrap());
        let mut sorted = sorter.finish().unwrap();
        std::iter::from_fn(|| sorted.next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn any_permutation_gives_the_same_rows(
            events in prop::collection::vec(0_i64..50, 0..200),
            rows_max in 0_usize..250,
            line_order in prop_oneof![Just(LineOrder::Forward), Just(LineOrder::Backward)],
            seed in any::<u64>(),
        ) {
            let rows: Vec<RecordingRow> = (2..).zip(&events).map(|(line, &event)| row(event, line)).collect();
            let mut expected = rows.clone();
            expected.sort_by_key(|row| line_order.key(row));
            let mut shuffled = rows;
            shuffled.sort_by_key(|row| u64::from(row.line).wrapping_mul(seed | 1).rotate_left(17));
            prop_assert_eq!(sorted(line_order, rows_max, &shuffled), expected);
        }
    }

    #[test]
    fn a_file_nearly_in_order_is_one_run() {
        let mut sorter = Sorter::new(LineOrder::Forward, 10);
        for minute in 0..1_000_i64 {
            sorter.push(row(minute ^ 1, 2 + minute as u32)).unwrap();
        }
        assert_eq!(sorter.spill.as_ref().map(|spill| spill.runs.len()), Some(1));
    }
}
