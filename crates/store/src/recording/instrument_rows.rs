//! The rows of one instrument from all its files, in event-time order and judged.

use std::collections::VecDeque;

use market::validate::GRAIN_MAX;
use market::{EventTime, Instrument, Span};

use super::counts::{Rejects, RowCounts};
use super::file::RecordingFile;
use super::layout::LayoutWords;
use super::numbering::Numbering;
use super::row::{RecordingRow, RowRefusal};
use super::rows::Rows;
use super::rules::{Conflict, Judge, RowShape, Rules};
use super::sequence::{RowVerdict, Sequence};
use super::shape::{are_many, shape};
use super::sort::{Sorted, Sorter};
use super::survey::{FileOrder, Survey, survey, unsorted};
use super::time;
use super::unusable::UnusableFile;

/// Reader of one instrument's files as one recording.
pub struct InstrumentRows {
    rules: Rules,
    judge: Judge,
    files: Vec<(RecordingFile, Survey)>,
    state: ReadingState,
    /// Error of a file that broke off. The recording ends there, even if other files have later rows.
    cut: Option<UnusableFile>,
}

/// State of the reading.
struct ReadingState {
    /// Files that are not open yet. The file with the earliest start is at the front.
    waiting: VecDeque<usize>,
    open: Vec<OpenFile>,
    numbering: Option<Numbering>,
    sequence: Sequence,
    /// The last row that counts.
    before: Option<RecordingRow>,
    /// Whether the files' trade ids number all trades without gaps.
    is_consecutive: bool,
    is_finished: bool,
}

struct OpenFile {
    file: usize,
    source: Source,
    /// The next row of the file.
    next: Option<RecordingRow>,
    cut: Option<UnusableFile>,
}

/// Source of an open file's rows.
enum Source {
    /// The file itself, which is in order.
    Rows(Rows),
    Sorted(Sorted),
    Ended,
}

impl InstrumentRows {
    /// Surveys all files, before the first row is returned.
    ///
    /// # Errors
    /// A file is not a recording or has impossible times; files contradict each other or the rules; rows of one time
    /// have different values and conflicts are to be refused.
    pub fn open(inputs: Vec<RecordingFile>, instrument: &Instrument, rules: Rules) -> Result<Self, UnusableFile> {
        let surveyed = |input: RecordingFile| survey(&input, &rules).map(|survey| (input, survey));
        let mut files = inputs.into_iter().map(surveyed).collect::<Result<Vec<_>, _>>()?;
        let shape = shape(&mut files, &rules)?;
        files.iter_mut().for_each(|(input, survey)| survey.complete(shape.grain(), input.written()));
        let judge = Judge { instrument: instrument.clone(), shape, outside: rules.outside, now: rules.now };
        // Months differ in length. Rows that are one usual step apart must not count as jumps.
        let step_max = rules.step_max.max(Span(shape.step().unwrap_or(Span(0)).ms().saturating_mul(2)));
        let rules = Rules { step_max, ..rules };
        let state = ReadingState::new(&files, shape, &rules);
        let mut track = Self { rules, judge, files, state, cut: None };
        match rules.conflict {
            Some(Conflict::Refuse) => track.refuse_conflicts()?,
            None if track.files_overlap() => track.refuse_many_conflicts()?,
            _ => {}
        }
        Ok(track)
    }

    /// Returns the shape of the rows.
    pub fn shape(&self) -> RowShape {
        self.judge.shape
    }

    /// Returns the files, each with the time of its oldest row.
    pub fn files(&self) -> impl Iterator<Item = (&RecordingFile, Option<EventTime>)> {
        self.files.iter().map(|(input, survey)| (input, survey.start()))
    }

    /// Returns the layout of each file, with the name of the file.
    pub fn layouts(&self) -> impl Iterator<Item = (&str, LayoutWords)> {
        let words = |survey: &Survey| LayoutWords::of(&survey.layout, &survey.units, survey.rows);
        self.files.iter().map(move |(input, survey)| (input.name(), words(survey)))
    }

    /// Counts the rows of a file with a readable time, and those of them before `bound`.
    ///
    /// # Errors
    /// The file cannot be opened, or no longer begins as it did. A truncated file counts up to its end.
    pub fn count_older(&self, file: usize, bound: EventTime) -> Result<(u64, u64), UnusableFile> {
        let Some((input, survey)) = self.files.get(file) else { return Ok((0, 0)) };
        let (shift, mut rows) = (survey.shift(self.judge.shape.grain()), input.rows_unreported(&survey.layout)?);
        let (mut all, mut older) = (0, 0);
        while let Ok(Some(line)) = rows.next_line() {
            if let Some(ms) = line.stamp().and_then(|(stamp, _)| stamp.ms()) {
                all += 1;
                older += u64::from(EventTime(ms).saturating_sub(shift) < bound);
            }
        }
        Ok((all, older))
    }

    /// Returns the next row that counts. All other rows are counted, and refused ones are kept in `rejects`.
    pub fn next(&mut self, row_counts: &mut RowCounts, rejects: &mut Rejects) -> Option<RecordingRow> {
        loop {
            match self.state.sequence.next() {
                Some(RowVerdict::Accepted(row)) => {
                    row_counts.count_accepted(row.event);
                    return Some(self.state.connect(row, self.judge.shape));
                }
                Some(RowVerdict::Duplicate { conflict }) => {
                    row_counts.duplicates += 1;
                    row_counts.conflicts += u64::from(conflict);
                }
                Some(RowVerdict::Conflict(one, other)) => {
                    self.state.is_finished = true;
                    self.cut = Some(self.conflict(&one, &other));
                    return None;
                }
                Some(RowVerdict::Refused(row, reason)) => {
                    row_counts.count_rejected(reason);
                    rejects.keep(self.files[row.file as usize].0.name(), row.line, reason, row.text().as_bytes());
                }
                None if self.state.is_finished || rejects.has_failed() => return None,
                None => self.feed_sequence(row_counts, rejects),
            }
        }
    }

    /// Returns the error of a file that broke off, after [`InstrumentRows::next`] has returned `None`.
    pub fn cut(&self) -> Option<&UnusableFile> {
        self.cut.as_ref()
    }

    /// Reads all rows once, so that no row of refused files is published.
    fn refuse_conflicts(&mut self) -> Result<(), UnusableFile> {
        match self.read_through().1 {
            Some(conflict) if conflict.is_conflict => Err(conflict),
            _ => Ok(()),
        }
    }

    /// Reads all rows, then rewinds. Returns the counts, and the error of a file that broke off.
    fn read_through(&mut self) -> (RowCounts, Option<UnusableFile>) {
        let (mut row_counts, mut rejects) = (RowCounts::default(), Rejects::nowhere());
        while self.next(&mut row_counts, &mut rejects).is_some() {}
        self.state = ReadingState::new(&self.files, self.judge.shape, &self.rules);
        (row_counts, self.cut.take())
    }

    /// Whether a file begins before another that begins earlier has ended.
    fn files_overlap(&self) -> bool {
        let mut ranges: Vec<_> = self.files.iter().filter_map(|(_, survey)| survey.range).collect();
        ranges.sort_unstable();
        ranges.windows(2).any(|pair| pair[1].0 <= pair[0].1)
    }

    /// Reads all rows once and refuses many conflicts: files of different instruments have different values at every
    /// time that they share.
    fn refuse_many_conflicts(&mut self) -> Result<(), UnusableFile> {
        let (row_counts, _) = self.read_through();
        if !are_many(row_counts.conflicts, row_counts.rows) {
            return Ok(());
        }
        let names = self.files.iter().map(|(input, _)| input.name()).collect::<Vec<_>>().join(", ");
        let problem = format!(
            "{} of {} rows have the time of another row and other values: pass files of one instrument and market; if they \
             are, choose the row that counts with --conflict last or --conflict first",
            row_counts.conflicts, row_counts.rows
        );
        Err(UnusableFile::new(names, problem))
    }

    fn conflict(&self, one: &RecordingRow, other: &RecordingRow) -> UnusableFile {
        let place = |row: &RecordingRow| format!("{} line {}", self.files[row.file as usize].0.name(), row.line);
        let problem = format!(
            "its row of {} has other values than {}: choose with --conflict last or --conflict first",
            other.event,
            place(one)
        );
        UnusableFile { is_conflict: true, ..UnusableFile::new(place(other), problem) }
    }

    fn feed_sequence(&mut self, row_counts: &mut RowCounts, rejects: &mut Rejects) {
        let next = self.next_in_order(row_counts, rejects);
        let ReadingState { sequence, numbering, open, is_finished, .. } = &mut self.state;
        match next {
            Ok(Some(row)) => match numbering.as_mut().map_or(Some(row), |numbering| numbering.number(row)) {
                Some(row) => sequence.push(row),
                None => sequence.push_known(),
            },
            end => {
                self.cut = end.err();
                *is_finished = true;
                open.clear();
                sequence.finish();
            }
        }
    }

    /// Returns the oldest row of all files. A file is opened when its start is reached, so that years of daily files
    /// need few open files.
    fn next_in_order(
        &mut self,
        row_counts: &mut RowCounts,
        rejects: &mut Rejects,
    ) -> Result<Option<RecordingRow>, UnusableFile> {
        loop {
            let mut oldest = None;
            for (idx, open) in self.state.open.iter_mut().enumerate() {
                open.fill(&self.files[open.file], &self.judge, row_counts, rejects)?;
                if let Some(row) = &open.next {
                    let place = (row.event, row.id, open.file, idx);
                    oldest = Some(oldest.map_or(place, |oldest| place.min(oldest)));
                } else if let Some(cut) = open.cut.take() {
                    return Err(cut);
                }
            }
            let waiting = self.state.waiting.front().map(|&file| (file, self.files[file].1.start()));
            match (oldest, waiting) {
                (None, None) => return Ok(None),
                (Some((event, _, _, idx)), waiting) if waiting.is_none_or(|(_, start)| start > Some(event)) => {
                    return Ok(self.state.open[idx].next.take());
                }
                (_, waiting) => {
                    if let Some((file, _)) = waiting {
                        self.open_file(file, row_counts, rejects)?;
                    }
                }
            }
        }
    }

    fn open_file(
        &mut self,
        file: usize,
        row_counts: &mut RowCounts,
        rejects: &mut Rejects,
    ) -> Result<(), UnusableFile> {
        self.state.waiting.pop_front();
        // Files that are read to their end are no longer needed.
        self.state.open.retain(|open| open.next.is_some() || !matches!(open.source, Source::Ended));
        let (input, survey) = &self.files[file];
        let mut rows = input.rows(&survey.layout)?;
        row_counts.rows += survey.layout.preamble;
        row_counts.foreign += survey.layout.preamble;
        let source = if survey.order == FileOrder::Ascending {
            Source::Rows(rows)
        } else {
            let mut sorter = Sorter::new(survey.line_order(), self.rules.reorder_rows);
            let reader = Reader { file, input, survey, judge: &self.judge };
            while let Some(row) = reader.next(&mut rows, row_counts, rejects)? {
                sorter.push(row).map_err(|error| unsorted(input, &error))?;
            }
            Source::Sorted(sorter.finish().map_err(|error| unsorted(input, &error))?)
        };
        self.state.open.push(OpenFile { file, source, next: None, cut: None });
        Ok(())
    }
}

impl ReadingState {
    fn new(files: &[(RecordingFile, Survey)], shape: RowShape, rules: &Rules) -> Self {
        let mut waiting: Vec<usize> = (0..files.len()).collect();
        waiting.sort_by_key(|&file| (files[file].1.start(), file));
        let has_numbers = files.iter().all(|(_, survey)| survey.is_numbered);
        let numbering = (shape == RowShape::Trades && !has_numbers).then(|| Numbering::of_files(files.len()));
        let sequence = Sequence::new(rules.step_max, rules.conflict.unwrap_or_default());
        let is_consecutive = files.iter().all(|(_, survey)| survey.is_consecutive);
        Self {
            waiting: waiting.into(),
            open: Vec::new(),
            numbering,
            sequence,
            before: None,
            is_consecutive,
            is_finished: false,
        }
    }

    /// Sets for a point how far back the recording is complete: to the row before it, unless there is a hole between
    /// them. A file of trades has no holes, except where its trade ids jump.
    fn connect(&mut self, mut row: RecordingRow, shape: RowShape) -> RecordingRow {
        let Some(before) = self.before.replace(row).filter(|_| row.is_point) else { return row };
        let distance = row.event - before.event;
        row.is_behind_jump =
            self.is_consecutive && before.id.zip(row.id).is_some_and(|(before, id)| before.checked_add(1) != Some(id));
        let is_whole = distance <= shape.hole() || (shape == RowShape::Trades && before.file == row.file);
        let is_complete = is_whole && !row.is_behind_jump && (Span(1)..=GRAIN_MAX).contains(&distance);
        row.complete = is_complete.then_some(distance);
        row
    }
}

impl OpenFile {
    /// Reads the next row of a file, if it has one.
    fn fill(
        &mut self,
        (input, survey): &(RecordingFile, Survey),
        judge: &Judge,
        row_counts: &mut RowCounts,
        rejects: &mut Rejects,
    ) -> Result<(), UnusableFile> {
        if self.next.is_some() {
            return Ok(());
        }
        self.next = match &mut self.source {
            Source::Ended => None,
            Source::Sorted(sorted) => {
                let row = sorted.next().map_err(|error| unsorted(input, &error))?;
                row.map(|row| RecordingRow { file: self.file as u32, ..row })
            }
            Source::Rows(rows) => {
                let reader = Reader { file: self.file, input, survey, judge };
                reader.next(rows, row_counts, rejects).unwrap_or_else(|cut| {
                    self.cut = Some(cut);
                    None
                })
            }
        };
        if self.next.is_none() {
            self.source = Source::Ended;
        }
        Ok(())
    }
}

/// Reads the rows of one file.
struct Reader<'a> {
    file: usize,
    input: &'a RecordingFile,
    survey: &'a Survey,
    judge: &'a Judge,
}

impl Reader<'_> {
    /// Returns the next row that is an observation. Other rows are counted, and refused ones are kept in `rejects`.
    fn next(
        &self,
        rows: &mut Rows,
        row_counts: &mut RowCounts,
        rejects: &mut Rejects,
    ) -> Result<Option<RecordingRow>, UnusableFile> {
        while !rejects.has_failed() {
            let line = match rows.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(end) => {
                    row_counts.rows += u64::from(end.is_header);
                    row_counts.headers += u64::from(end.is_header);
                    return Err(end);
                }
            };
            row_counts.rows += 1;
            match line.row(self.file as u32, time::latest(self.judge.now)).and_then(|row| self.judge(row)) {
                Ok((row, is_widened)) => {
                    row_counts.widened += u64::from(is_widened);
                    return Ok(Some(row));
                }
                Err(RowRefusal::Header) => row_counts.count_rejected(RowRefusal::Header),
                Err(reason) => {
                    row_counts.count_rejected(reason);
                    rejects.keep(self.input.name(), line.number, reason, line.text);
                }
            }
        }
        Ok(None)
    }

    fn judge(&self, mut row: RecordingRow) -> Result<(RecordingRow, bool), RowRefusal> {
        if !self.survey.is_numbered {
            row.id = None;
        } else if row.id.is_none() {
            return Err(RowRefusal::Unparsable);
        }
        let grain = self.judge.shape.grain().filter(|_| !row.is_point);
        row.event = begin(row.event, self.survey.shift(grain));
        let judged = self.judge.judge(row)?;
        let is_unfinished = grain.zip(self.survey.written).is_some_and(|(grain, written)| row.event + grain > written);
        if is_unfinished { Err(RowRefusal::Unfinished) } else { Ok(judged) }
    }
}

/// Returns the begin of a candle from its time, which is `shift` later. A time that ends in .999 is the last millisecond of
/// the candle.
fn begin(time: EventTime, shift: Span) -> EventTime {
    let is_last_ms = shift > Span(0) && time.ms() % Span::SECOND.ms() == Span::SECOND.ms() - 1;
    time.saturating_sub(shift) + Span(i64::from(is_last_ms))
}
