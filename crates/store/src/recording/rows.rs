//! Rows of an open file, line by line.

use std::borrow::Cow;
use std::sync::Arc;

use market::EventTime;

use super::columns::Columns;
use super::layout::{Layout, Place, parse_id};
use super::lines::Lines;
use super::number::DecimalEvidence;
use super::row::{RecordingRow, RowRefusal};
use super::slots::Slot;
use super::time::Stamp;
use super::unusable::UnusableFile;

/// Rows of an open file.
pub(crate) struct Rows {
    lines: Lines,
    layout: Arc<Layout>,
    /// Columns of the header that was read last.
    columns: Columns,
}

/// A line that is not blank.
pub(crate) struct Line<'a> {
    /// Line number, from 1.
    pub(crate) number: u32,
    /// Text without the line break. Of a line that is too long for a row, it is the beginning.
    pub(crate) text: &'a [u8],
    kind: LineKind,
    layout: &'a Layout,
    columns: &'a Columns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineKind {
    Row,
    /// A header after the first one.
    Header,
    /// Longer than any row.
    TooLong,
}

impl Rows {
    /// Reads `lines` from their beginning on, and skips what is before the first row.
    ///
    /// # Errors
    /// The file breaks off before its first row.
    pub(crate) fn new(mut lines: Lines, layout: Arc<Layout>) -> Result<Self, UnusableFile> {
        for _ in 0..layout.lines_before_rows() {
            lines.next()?;
        }
        let columns = layout.columns.clone();
        Ok(Self { lines, layout, columns })
    }

    /// Reads the next line that is not blank. The columns of a further header are those of the lines after it.
    ///
    /// # Errors
    /// The file breaks off: truncated or damaged, a failing disk, or a further header that cannot be used.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'_>>, UnusableFile> {
        let Some((number, is_whole)) = self.lines.next()? else { return Ok(None) };
        let is_header = is_whole && self.columns.is_header(self.lines.text());
        if is_header {
            let columns = self.layout.columns_of(self.lines.text());
            self.columns = columns.ok_or_else(|| self.second_header(number))?;
        }
        let kind = match (is_header, is_whole) {
            (true, _) => LineKind::Header,
            (false, true) => LineKind::Row,
            (false, false) => LineKind::TooLong,
        };
        Ok(Some(Line { number, text: self.lines.text(), kind, layout: &self.layout, columns: &self.columns }))
    }

    fn second_header(&self, number: u32) -> UnusableFile {
        let problem = "the file has a second header here, and the rows after it may have other columns: split the file at this line";
        let place = format!("{} line {number}", self.lines.name());
        UnusableFile { is_header: true, ..UnusableFile::new(place, problem.to_owned()) }
    }
}

impl<'a> Line<'a> {
    /// Parses the line as a row of its file, no later than `latest`.
    ///
    /// # Errors
    /// The reason why it is not a row.
    pub(crate) fn row(&self, file: u32, latest: EventTime) -> Result<RecordingRow, RowRefusal> {
        match self.kind {
            LineKind::Row => self.layout.row(self.columns, self.text, Place { file, line: self.number, latest }),
            LineKind::Header => Err(RowRefusal::Header),
            LineKind::TooLong => Err(RowRefusal::TooLong),
        }
    }

    /// Returns another line of the same file.
    pub(crate) fn like<'b>(&'b self, text: &'b [u8]) -> Line<'b> {
        Line { number: self.number, text, kind: LineKind::Row, layout: self.layout, columns: self.columns }
    }

    /// Parses the time, and returns it with its field.
    pub(crate) fn stamp(&self) -> Option<(Stamp, Cow<'a, [u8]>)> {
        if self.kind != LineKind::Row {
            return None;
        }
        let field = self.columns.time(self.text)?;
        Some((self.layout.stamp(&field)?, field))
    }

    /// Returns the names of the columns that name the instrument.
    pub(crate) fn name_titles(&self) -> impl Iterator<Item = &'a str> {
        self.columns.name_titles()
    }

    /// Returns the fields of the columns that name the instrument.
    pub(crate) fn names(&self) -> Vec<Cow<'a, [u8]>> {
        self.columns.names(self.text)
    }

    /// Parses the trade id.
    pub(crate) fn id(&self) -> Option<u64> {
        parse_id(&self.columns.field_of(self.text, Slot::Id)?)
    }

    /// Adds the numbers of the line to the evidence for the decimal mark.
    pub(crate) fn note_decimals(&self, evidence: &mut DecimalEvidence) {
        if self.kind == LineKind::Row && self.layout.may_show_decimals(self.text) {
            self.layout.note_decimals(self.columns, self.text, self.number, evidence);
        }
    }
}
