//! The rows of one instrument, from all its files, in order and judged.

use std::collections::VecDeque;

use market::{EventTime, Span};

use super::file::{Input, Rows, Unusable};
use super::order::Reorder;
use super::row::Row;
use super::sequence::{Sequence, Verdict};
use super::tally::{Rejects, Tally};

/// How rows are put in order and judged.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Rows that each open file may hold back to put them in order.
    pub reorder_rows: usize,
    /// A lone row further than this from its neighbours is refused.
    pub step_max: Span,
}

/// Reads the files of one instrument as one recording.
pub struct Track {
    rules: Rules,
    inputs: Vec<Input>,
    /// Files that are not open yet, the one that starts first at the front.
    waiting: VecDeque<Waiting>,
    open: Vec<OpenFile>,
    sequence: Sequence,
    is_finished: bool,
    /// Where a file broke off: the recording ends there, whatever other files hold after it.
    cut: Option<Unusable>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    file: usize,
    start: EventTime,
}

struct OpenFile {
    file: usize,
    rows: Option<Rows>,
    reorder: Reorder,
    cut: Option<Unusable>,
}

impl Track {
    /// A recording of these files, each with the time of its first row.
    pub fn new(inputs: Vec<(Input, Option<EventTime>)>, rules: Rules) -> Self {
        let (inputs, starts): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        let start_of =
            |(file, start): (usize, Option<EventTime>)| Waiting { file, start: start.unwrap_or(EventTime::MIN) };
        let mut waiting: Vec<Waiting> = starts.into_iter().enumerate().map(start_of).collect();
        waiting.sort_by_key(|waiting| (waiting.start, waiting.file));
        let sequence = Sequence::new(rules.step_max);
        Self { rules, inputs, waiting: waiting.into(), open: Vec::new(), sequence, is_finished: false, cut: None }
    }

    /// The next row that counts. All others are counted and kept.
    pub fn next(&mut self, tally: &mut Tally, rejects: &mut Rejects) -> Option<Row> {
        loop {
            match self.sequence.next() {
                Some(Verdict::Accepted(row)) => {
                    tally.count_accepted(row.event);
                    return Some(row);
                }
                Some(Verdict::Duplicate { conflict }) => {
                    tally.duplicates += 1;
                    tally.conflicts += u64::from(conflict);
                }
                Some(Verdict::Refused(row, reason)) => {
                    tally.count_rejected(reason);
                    rejects.keep(self.inputs[row.file as usize].name(), row.line, reason, row.text().as_bytes());
                }
                None if self.is_finished || rejects.has_failed() => return None,
                None => self.feed_sequence(tally, rejects),
            }
        }
    }

    /// Where it broke off, once [`Track::next`] has returned `None`.
    pub fn cut(&self) -> Option<&Unusable> {
        self.cut.as_ref()
    }

    fn feed_sequence(&mut self, tally: &mut Tally, rejects: &mut Rejects) {
        match self.next_in_order(tally, rejects) {
            Ok(Some(row)) => self.sequence.push(row),
            end => {
                self.cut = end.err();
                self.is_finished = true;
                self.open.clear();
                self.sequence.finish();
            }
        }
    }

    /// The oldest row of all files. A file is opened when its start is reached, so that years of daily files need few
    /// open ones.
    fn next_in_order(&mut self, tally: &mut Tally, rejects: &mut Rejects) -> Result<Option<Row>, Unusable> {
        loop {
            let mut oldest: Option<(EventTime, usize, usize)> = None;
            for (idx, open) in self.open.iter_mut().enumerate() {
                open.fill(&self.inputs[open.file], self.rules.reorder_rows, tally, rejects);
                if let Some(row) = open.reorder.peek() {
                    let place = (row.event, open.file, idx);
                    oldest = Some(oldest.map_or(place, |oldest| oldest.min(place)));
                } else if let Some(cut) = open.cut.take() {
                    return Err(cut);
                }
            }
            match (oldest, self.waiting.front().copied()) {
                (None, None) => return Ok(None),
                (Some((event, _, idx)), waiting) if waiting.is_none_or(|waiting| waiting.start > event) => {
                    return Ok(self.open[idx].reorder.pop());
                }
                (_, waiting) => self.open_file(waiting)?,
            }
        }
    }

    fn open_file(&mut self, waiting: Option<Waiting>) -> Result<(), Unusable> {
        // Files that are read to their end have nothing left to say.
        self.open.retain(|open| open.rows.is_some() || open.reorder.len() > 0);
        let Some(Waiting { file, .. }) = waiting else { return Ok(()) };
        self.waiting.pop_front();
        let rows = Some(self.inputs[file].rows()?);
        self.open.push(OpenFile { file, rows, reorder: Reorder::default(), cut: None });
        Ok(())
    }
}

impl OpenFile {
    /// Reads until the reorder buffer is full or the file ends.
    fn fill(&mut self, input: &Input, rows_max: usize, tally: &mut Tally, rejects: &mut Rejects) {
        while let Some(rows) = self.rows.as_mut().filter(|_| self.reorder.len() <= rows_max) {
            let line = match rows.next_line() {
                Ok(Some(line)) => line,
                end => {
                    self.cut = end.err();
                    self.rows = None;
                    return;
                }
            };
            tally.rows += 1;
            match line.row(self.file as u32) {
                Ok(row) => self.reorder.push(row),
                Err(reason) => {
                    tally.count_rejected(reason);
                    rejects.keep(input.name(), line.number, reason, line.text);
                    if rejects.has_failed() {
                        self.rows = None;
                    }
                }
            }
        }
    }
}
