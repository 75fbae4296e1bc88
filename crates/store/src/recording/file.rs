//! File of a recording, plain or gzip: opening, checking, and reading line by line.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use market::EventTime;

use super::columns::Columns;
use super::container;
use super::lines::Lines;
use super::row::{RecordingRow, RowRefusal};
use super::time::Stamp;
use super::unusable::UnusableFile;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Lines of comments and titles before the header, at most.
const PREAMBLE_MAX: u64 = 20;

/// Callback for a progress bar: receives the number of bytes after each read.
pub type OnRead = Arc<dyn Fn(u64) + Send + Sync>;

/// Opens the file at its beginning, any number of times.
type Open = Box<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send>;

/// A file that may hold a recording. It is open only during reads, so that a run can have thousands of files.
pub struct RecordingFile {
    name: String,
    bytes: u64,
    open: Open,
    on_read: Option<OnRead>,
}

impl fmt::Debug for RecordingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A reader that reports the bytes it has read.
struct Watched {
    file: Box<dyn Read + Send>,
    on_read: OnRead,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        (self.on_read)(count as u64);
        Ok(count)
    }
}

impl RecordingFile {
    /// Refers to a file on disk. `on_read` is called while the rows are read, but not during the survey.
    ///
    /// # Errors
    /// The file does not exist, or is not a regular file.
    pub fn at(path: &Path, on_read: OnRead) -> Result<Self, UnusableFile> {
        let name = path.display().to_string();
        let unusable = |problem: String| UnusableFile::new(name.clone(), problem);
        let metadata = std::fs::metadata(path).map_err(|error| unusable(format!("cannot open it: {error}")))?;
        if !metadata.is_file() {
            // The file is read twice: once for the survey before anything is published, once for its rows.
            return Err(unusable("not a regular file: write what it gives into a file, and name that".to_owned()));
        }
        let path = path.to_owned();
        let open: Open = Box::new(move || Ok(Box::new(File::open(&path)?)));
        Ok(Self { name, bytes: metadata.len(), open, on_read: Some(on_read) })
    }

    /// Wraps bytes in memory as a file. `name` appears in errors.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        let open: Open = Box::new(move || Ok(Box::new(io::Cursor::new(bytes.clone()))));
        Self { name: name.to_owned(), bytes: length, open, on_read: None }
    }

    /// Returns the name of the file as the user wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the size on disk in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts the rows with a readable time, and those of them before `bound`.
    ///
    /// # Errors
    /// The file cannot be opened, or does not begin as a recording. A truncated file counts up to its end.
    pub fn count_older(&self, bound: EventTime) -> Result<(u64, u64), UnusableFile> {
        let mut rows = self.rows_unreported()?;
        let (mut all, mut older) = (0, 0);
        while let Ok(Some(line)) = rows.next_line() {
            if let Some((Stamp::Whole(ms), _)) = line.stamp() {
                all += 1;
                older += u64::from(EventTime(ms) < bound);
            }
        }
        Ok((all, older))
    }

    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// The file cannot be opened, or does not begin as a recording.
    pub(crate) fn rows(&self) -> Result<Rows, UnusableFile> {
        let file = (self.open)().map_err(|error| self.unopened(&error))?;
        match &self.on_read {
            Some(on_read) => self.rows_of(Box::new(Watched { file, on_read: OnRead::clone(on_read) })),
            None => self.rows_of(file),
        }
    }

    /// Opens the file like [`RecordingFile::rows`], but without progress reports.
    ///
    /// # Errors
    /// As [`RecordingFile::rows`].
    pub(crate) fn rows_unreported(&self) -> Result<Rows, UnusableFile> {
        self.rows_of((self.open)().map_err(|error| self.unopened(&error))?)
    }

    fn rows_of(&self, file: Box<dyn Read + Send>) -> Result<Rows, UnusableFile> {
        let mut lines = Lines::new(self.name.clone(), self.text_of(file)?);
        let mut first_problem: Option<UnusableFile> = None;
        for preamble in 0..=PREAMBLE_MAX {
            let Some((number, _)) = lines.next()? else { break };
            let (is_header, problem) = match Columns::parse(lines.text()) {
                Ok(columns) => return Ok(Rows { lines, columns, preamble }),
                Err(problem) => (problem.is_header, self.unusable(number, problem.text)),
            };
            if is_header || !is_remark(lines.text()) {
                return Err(problem);
            }
            first_problem.get_or_insert(problem);
        }
        Err(first_problem.unwrap_or_else(|| {
            self.unusable(
                1,
                "the file is empty; expected the header timestamp_ms,open,high,low,close,volume".to_owned(),
            )
        }))
    }

    /// Decompresses gzip, which is recognized by its content and not by the file's name.
    fn text_of(&self, file: Box<dyn Read + Send>) -> Result<Box<dyn BufRead + Send>, UnusableFile> {
        let mut file = BufReader::with_capacity(container::HEAD_BYTES, file);
        let head = file.fill_buf().map_err(|error| self.unopened(&error))?;
        let is_gzip = head.starts_with(&GZIP_MAGIC);
        let mut text: Box<dyn BufRead + Send> = if is_gzip {
            Box::new(BufReader::with_capacity(container::HEAD_BYTES, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let broken = |error| self.unusable(1, format!("the file breaks off here ({error})"));
        let head = text.fill_buf().map_err(broken)?;
        if let Some(problem) = container::foreign(head) {
            return Err(UnusableFile::new(self.name.clone(), problem.replace("FILE", &self.name)));
        }
        if !is_gzip && !head.is_empty() && self.name.to_ascii_lowercase().ends_with(".gz") {
            let problem = "not gzip, although its name ends in .gz; rename it if it is plain text".to_owned();
            return Err(self.unusable(1, problem));
        }
        Ok(text)
    }

    fn unopened(&self, error: &io::Error) -> UnusableFile {
        UnusableFile::new(self.name.clone(), format!("cannot open it: {error}"))
    }

    /// Returns an error at a line.
    pub(crate) fn unusable(&self, line: u32, problem: String) -> UnusableFile {
        UnusableFile::new(format!("{} line {line}", self.name), problem)
    }
}

/// Whether a line before the header is a comment, an address or a title.
fn is_remark(text: &[u8]) -> bool {
    text.starts_with(b"#") || text.starts_with(b"http") || !text.contains(&b',')
}

/// Rows of an open file.
pub(crate) struct Rows {
    lines: Lines,
    columns: Columns,
    /// Number of lines before the header.
    pub(crate) preamble: u64,
}

/// A line that is not blank.
pub(crate) struct Line<'a> {
    /// Line number, from 1.
    pub(crate) number: u32,
    /// Text without the line break. Of a line that is too long for a row, it is the beginning.
    pub(crate) text: &'a [u8],
    is_whole: bool,
    columns: &'a Columns,
}

impl Rows {
    /// Returns the columns of the header.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Reads the next line that is not blank.
    ///
    /// # Errors
    /// The file breaks off: truncated or damaged gzip, a failing disk, or a second header.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'_>>, UnusableFile> {
        let Some((number, is_whole)) = self.lines.next()? else { return Ok(None) };
        let (text, columns) = (self.lines.text(), &self.columns);
        if columns.is_header(text) {
            let problem = "the file has a second header here, and the rows after it may have other columns: split the file at this line";
            let place = format!("{} line {number}", self.lines.name());
            return Err(UnusableFile { is_header: true, ..UnusableFile::new(place, problem.to_owned()) });
        }
        Ok(Some(Line { number, text, is_whole, columns }))
    }
}

impl<'a> Line<'a> {
    /// Parses the line as a row of its file, no later than `latest`.
    ///
    /// # Errors
    /// The reason why it is not a row.
    pub(crate) fn row(&self, file: u32, latest: EventTime) -> Result<RecordingRow, RowRefusal> {
        if self.is_whole { self.columns.row(self.text, file, self.number, latest) } else { Err(RowRefusal::TooLong) }
    }

    /// Returns another line of the same file.
    pub(crate) fn like<'b>(&'b self, text: &'b [u8]) -> Line<'b> {
        Line { number: self.number, text, is_whole: true, columns: self.columns }
    }

    /// Parses the time, and returns it with its field.
    pub(crate) fn stamp(&self) -> Option<(Stamp, &'a [u8])> {
        self.columns.stamp(self.text).filter(|_| self.is_whole)
    }

    /// Whether some columns name the instrument.
    pub(crate) fn has_names(&self) -> bool {
        self.columns.has_names()
    }

    /// Returns the columns that name the instrument, with their fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.columns.names(self.text)
    }

    /// Parses the trade id.
    pub(crate) fn id(&self) -> Option<u64> {
        self.columns.id(self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::lines::LINE_BYTES_MAX;
    use super::*;

    const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";
    const LATEST: EventTime = EventTime(1_767_225_600_000);

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unusable_files_are_named_with_what_they_are() {
        let check = |name: &str, bytes: Vec<u8>, expected: &str| {
            let error = RecordingFile::of_bytes(name, bytes).rows().err().expect("unusable").to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let truncated = |bytes: Vec<u8>| bytes[..8].to_vec();
        check("a.csv", vec![], "a.csv line 1: the file is empty; expected the header timestamp_ms,open");
        check("a.csv.gz", vec![], "a.csv.gz line 1: the file is empty");
        check("a.csv.gz", gzip(b""), "a.csv.gz line 1: the file is empty");
        check("a.csv", "timestamp_ms,open,high,low,volume\n1,2\n".into(), "a.csv line 1: no column \"close\"");
        check("a.csv", "# made by hand\n\ntime,price\n1,2\n".into(), "a.csv line 3: no column \"timestamp_ms\"");
        check(
            "a.csv",
            "timestamp_ms;close\n1704067200000;1,5\n".into(),
            "a.csv line 1: the columns are separated by semi",
        );
        check("a.csv", "no header\nat all\n".into(), "a.csv line 1: no column \"timestamp_ms\"");
        check("A.CSV.GZ", format!("{HEADER}0,1,1,1,1,1\n").into(), "A.CSV.GZ line 1: not gzip");
        check("a.csv.gz", truncated(gzip(HEADER.as_bytes())), "a.csv.gz line 1: the file breaks off here");
        check(
            "a.csv",
            b"PK\x03\x04".into(),
            "a.csv: this is a zip archive; decompress it first: unzip -p a.csv > a.csv.csv",
        );
        check("a.gz", gzip(b"\xff\xfet\0"), "a.gz: this is UTF-16 text");
        check("a.gz", gzip(&gzip(HEADER.as_bytes())), "a.gz: this is gzip within gzip");
    }

    #[test]
    fn remarks_before_the_header_are_skipped() {
        let text = format!(
            "https://example.com/a,b\n# a remark, made by hand\nPrices of bitcoin\n{HEADER}1583020800000,1,1,1,1,1\n"
        );
        for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
            let mut rows = RecordingFile::of_bytes("a.csv", bytes).rows().unwrap();
            assert_eq!((rows.preamble, rows.next_line().unwrap().unwrap().number), (3, 5));
        }
    }

    #[test]
    fn a_truncated_file_gives_its_whole_lines_then_an_error() {
        let text: String =
            (0..20_000).map(|n| format!("{},{}.25,{n}.5,{n}.125,{n}.375,{}\n", n * 60_000, n, n * 7 % 13)).collect();
        let mut bytes = gzip((HEADER.to_owned() + &text).as_bytes());
        bytes.truncate(bytes.len() / 2);
        let mut rows = RecordingFile::of_bytes("a.csv.gz", bytes).rows().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut reached = 1;
        let error = loop {
            match rows.next_line() {
                Ok(Some(line)) => {
                    reached = line.number;
                    let expected = lines.get(reached as usize - 2).unwrap();
                    assert_eq!(line.text, expected.as_bytes());
                }
                Ok(None) => panic!("a cut file has no end"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(reached > 5_000, "{reached}");
        assert!(error.starts_with(&format!("a.csv.gz line {}: the file breaks off here", reached + 1)), "{error}");
    }

    #[test]
    fn a_second_header_ends_the_file_with_its_line() {
        for header in [HEADER, "timestamp_ms,open,close,high,low,volume\n", "close,high\n"] {
            let text = format!("{HEADER}1583020800000,1,1,1,1,1\n{header}1583020860000,1,1,1,1,1\n");
            let mut rows = RecordingFile::of_bytes("a.csv", text.into_bytes()).rows().unwrap();
            assert_eq!(rows.next_line().unwrap().unwrap().number, 2);
            let end = rows.next_line().err().expect("a second header");
            assert!(end.is_header && end.to_string().starts_with("a.csv line 3: "), "{end}");
        }
    }

    #[test]
    fn lines_that_end_in_cr_only_end_the_file() {
        let first = format!("{HEADER}1583020800000,1,1,1,1,1\r\n");
        let mut rows = RecordingFile::of_bytes("a.csv", (first + "1583020860000,1,1,1,1,1\r1,1,1,1,1,1\r\n").into())
            .rows()
            .unwrap();
        assert_eq!(rows.next_line().unwrap().unwrap().number, 2);
        let end = rows.next_line().err().expect("cut").to_string();
        assert!(end.starts_with("a.csv line 3: lines end in CR only from here on; convert them: tr"), "{end}");
    }

    #[test]
    fn a_line_without_end_is_one_bad_line() {
        let text = format!("{HEADER}{}\n1583020800000,1,1,1,1,1\n", "x".repeat(3 * LINE_BYTES_MAX));
        let mut rows = RecordingFile::of_bytes("a.csv", text.into_bytes()).rows().unwrap();
        let long = rows.next_line().unwrap().unwrap();
        assert_eq!((long.number, long.text.len(), long.row(0, LATEST)), (2, LINE_BYTES_MAX, Err(RowRefusal::TooLong)));
        let good = rows.next_line().unwrap().unwrap();
        assert_eq!((good.number, good.text), (3, b"1583020800000,1,1,1,1,1".as_slice()));
        assert!(rows.next_line().unwrap().is_none());
    }
}
