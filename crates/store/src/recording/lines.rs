//! Line reader of an open file.

use std::fmt;
use std::io::{BufRead, Read};

use super::unusable::UnusableFile;

/// Length of a row in bytes, at most. Seven numbers take about 170 bytes; the rest is room for other columns.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// Last byte of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// LF, or CR LF.
    Lf,
    /// CR alone.
    Cr,
}

impl LineEnd {
    /// Returns the line end of a text that begins with these bytes.
    pub(crate) fn of(head: &[u8]) -> Self {
        let has = |byte: u8| memchr::memchr(byte, head.trim_ascii_end()).is_some();
        // The last line may end in CR LF beyond these bytes.
        if has(b'\r') && !has(b'\n') { Self::Cr } else { Self::Lf }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Lf => b'\n',
            Self::Cr => b'\r',
        }
    }
}

/// Reader of the lines that are not blank.
pub(crate) struct Lines {
    name: String,
    text: Box<dyn BufRead + Send>,
    end: LineEnd,
    /// The line that was read last, with its line break.
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Reads `text`. `name` appears in errors.
    pub(crate) fn new(name: String, text: Box<dyn BufRead + Send>, end: LineEnd) -> Self {
        Self { name, text, end, buffer: Vec::new(), number: 0 }
    }

    /// Returns the name of the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the line that was read last, without its line break.
    pub(crate) fn text(&self) -> &[u8] {
        let text = self.buffer.trim_ascii();
        if self.number == 1 { text.strip_prefix(UTF8_BOM).unwrap_or(text).trim_ascii_start() } else { text }
    }

    /// Reads the next line that is not blank. Returns its number, and whether the buffer holds all of it.
    ///
    /// # Errors
    /// The file breaks off.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, bool)>, UnusableFile> {
        let end = self.end.byte();
        loop {
            self.buffer.clear();
            let limit = LINE_BYTES_MAX as u64;
            let read = self.text.by_ref().take(limit).read_until(end, &mut self.buffer);
            // After an error the buffer holds an incomplete line, and half a number is a wrong number.
            let is_end = read.map_err(|error| self.broken(&error))? == 0;
            if is_end {
                return Ok(None);
            }
            self.number += 1;
            let number = u32::try_from(self.number).map_err(|_| self.broken(&"more lines than can be counted"))?;
            if self.buffer.len() == LINE_BYTES_MAX && self.buffer.last() != Some(&end) {
                self.skip_line()?;
                return Ok(Some((number, false)));
            }
            if memchr::memchr2(b'\r', b'\n', self.text()).is_some() {
                return Err(self.other_end(number));
            }
            if !self.text().is_empty() {
                return Ok(Some((number, true)));
            }
        }
    }

    fn skip_line(&mut self) -> Result<(), UnusableFile> {
        let end = self.end.byte();
        loop {
            let read = self.text.fill_buf();
            let (used, is_done) = match read {
                Ok([]) => return Ok(()),
                Ok(bytes) => match memchr::memchr(end, bytes) {
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                },
                Err(error) => return Err(self.broken(&error)),
            };
            self.text.consume(used);
            if is_done {
                return Ok(());
            }
        }
    }

    /// Returns the error of a line with another line end within it.
    fn other_end(&self, number: u32) -> UnusableFile {
        let place = format!("{} line {number}", self.name);
        let problem = match self.end {
            LineEnd::Lf => "lines end in CR only from here on; convert them: tr '\\r' '\\n' < FILE > FILE.csv",
            LineEnd::Cr => {
                "lines end in LF from here on, and in CR before; convert them: tr '\\r' '\\n' < FILE > FILE.csv"
            }
        };
        UnusableFile::new(place, problem.replace("FILE", &self.name))
    }

    /// Returns the error of a file that breaks off after the line that was read last.
    fn broken(&self, error: &dyn fmt::Display) -> UnusableFile {
        let place = format!("{} line {}", self.name, self.number + 1);
        UnusableFile::new(
            place,
            format!("the file breaks off here ({error}): fetch it again, or cut it before this line"),
        )
    }
}
