//! File of a recording: opening and checking.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use market::EventTime;

use super::container::{self, FileSource, ReadSeek, Text, Unopened};
use super::detect::detect;
use super::format::Content;
use super::layout::{Layout, LayoutOptions};
use super::lines::Lines;
use super::rows::Rows;
use super::unusable::UnusableFile;

/// Callback for a progress bar: receives the number of bytes after each read.
pub type OnRead = Arc<dyn Fn(u64) + Send + Sync>;

/// A file that may hold a recording. It is open only during reads, so that a run can have thousands of files.
pub struct RecordingFile {
    name: String,
    bytes: u64,
    /// When the file was written.
    written: Option<EventTime>,
    source: FileSource,
    options: LayoutOptions,
    on_read: Option<OnRead>,
}

impl fmt::Debug for RecordingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A file that reports the bytes that are read from it.
struct Watched {
    file: Box<dyn ReadSeek>,
    on_read: OnRead,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        (self.on_read)(count as u64);
        Ok(count)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
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
        let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = written.and_then(|since| i64::try_from(since.as_millis()).ok()).map(EventTime);
        let source = FileSource::Path(path.to_owned());
        let options = LayoutOptions::default();
        Ok(Self { name, bytes: metadata.len(), written, source, options, on_read: Some(on_read) })
    }

    /// Wraps bytes in memory as a file. `name` appears in errors.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        let (length, source) = (bytes.len() as u64, FileSource::Memory(Bytes::from(bytes)));
        Self {
            name: name.to_owned(),
            bytes: length,
            written: None,
            source,
            options: LayoutOptions::default(),
            on_read: None,
        }
    }

    /// Returns the file with a layout as the user says it.
    #[must_use]
    pub fn with_layout(self, options: LayoutOptions) -> Self {
        Self { options, ..self }
    }

    /// Returns the file as one that was written at this time.
    #[must_use]
    pub fn written_at(self, written: EventTime) -> Self {
        Self { written: Some(written), ..self }
    }

    /// Returns the name of the file as the user wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the size on disk in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns when the file was written; `None` when that is not known.
    pub(crate) fn written(&self) -> Option<EventTime> {
        self.written
    }

    /// Detects the layout of the file.
    ///
    /// # Errors
    /// The file cannot be opened, is of another kind, or its layout is not certain.
    pub(crate) fn layout(&self) -> Result<Layout, UnusableFile> {
        let (mut lines, content) = self.lines(self.open()?)?;
        detect(&mut lines, content, &self.options)
    }

    /// Opens the file, whose layout is known, for reading with progress reports.
    ///
    /// # Errors
    /// The file cannot be opened, or breaks off before its first row.
    pub(crate) fn rows(&self, layout: &Arc<Layout>) -> Result<Rows, UnusableFile> {
        let file = self.open()?;
        let file: Box<dyn ReadSeek> = match &self.on_read {
            Some(on_read) => Box::new(Watched { file, on_read: OnRead::clone(on_read) }),
            None => file,
        };
        Rows::new(self.lines(file)?.0, Arc::clone(layout))
    }

    /// Opens the file like [`RecordingFile::rows`], but without progress reports.
    ///
    /// # Errors
    /// As [`RecordingFile::rows`].
    pub(crate) fn rows_unreported(&self, layout: &Arc<Layout>) -> Result<Rows, UnusableFile> {
        Rows::new(self.lines(self.open()?)?.0, Arc::clone(layout))
    }

    fn open(&self) -> Result<Box<dyn ReadSeek>, UnusableFile> {
        self.source.open().map_err(|error| self.unopened(&error))
    }

    /// Returns the lines of the file as text, and the kind of its content.
    fn lines(&self, file: Box<dyn ReadSeek>) -> Result<(Lines, Content), UnusableFile> {
        let is_named_gzip = self.name.to_ascii_lowercase().ends_with(".gz");
        let Text { reader, line_end, is_parquet } =
            container::open(&self.source, file, is_named_gzip).map_err(|problem| match problem {
                Unopened::Io(error) => self.unopened(&error),
                Unopened::Broken(error) => self.unusable(1, format!("the file breaks off here ({error})")),
                Unopened::Foreign(problem) => UnusableFile::new(self.name.clone(), problem.replace("FILE", &self.name)),
            })?;
        let content = if is_parquet { Content::Parquet } else { Content::Csv };
        Ok((Lines::new(self.name.clone(), reader, line_end), content))
    }

    fn unopened(&self, error: &io::Error) -> UnusableFile {
        UnusableFile::new(self.name.clone(), format!("cannot open it: {error}"))
    }

    /// Returns an error at a line.
    pub(crate) fn unusable(&self, line: u32, problem: String) -> UnusableFile {
        UnusableFile::new(format!("{} line {line}", self.name), problem)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::lines::LINE_BYTES_MAX;
    use super::super::row::RowRefusal;
    use super::*;

    const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";
    const LATEST: EventTime = EventTime(1_767_225_600_000);

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn rows(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Rows, UnusableFile> {
        let file = RecordingFile::of_bytes(name, bytes.into());
        file.rows(&Arc::new(file.layout()?))
    }

    #[test]
    fn unusable_files_are_named_with_what_they_are() {
        let check = |name: &str, bytes: Vec<u8>, expected: &str| {
            let error = rows(name, bytes).err().expect("unusable").to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let truncated = |bytes: Vec<u8>| bytes[..8].to_vec();
        check("a.csv", vec![], "a.csv line 1: the file is empty; expected the header timestamp_ms,open");
        check("a.csv.gz", vec![], "a.csv.gz line 1: the file is empty");
        check("a.csv.gz", gzip(b""), "a.csv.gz line 1: the file is empty");
        check("a.csv", "timestamp_ms,open,high,low,volume\n1,2\n".into(), "a.csv line 1: no column \"close\"");
        check("a.csv", "# made by hand\n\nwhen,price\n1,2\n".into(), "a.csv line 3: no column \"time\"");
        check("a.csv", "no header\nat all\n".into(), "a.csv line 1: no column \"time\"");
        check("A.CSV.GZ", format!("{HEADER}0,1,1,1,1,1\n").into(), "A.CSV.GZ: not gzip, although its name ends in .gz");
        check("a.csv.gz", truncated(gzip(HEADER.as_bytes())), "a.csv.gz line 1: the file breaks off here");
        check("a.csv", b"PK\x03\x04".into(), "a.csv: this is a damaged zip archive");
        check("a.gz", gzip(&gzip(HEADER.as_bytes())), "a.gz: this is gzip within gzip; unpack it once");
        check("a.json", "{\n\"Datetime\": 1}\n".into(), "a.json line 1: this is JSON, but not one object per line");
        check("a.pdf", "%PDF-1.7".into(), "a.pdf: this is a PDF; take the prices from where");
    }

    #[test]
    fn remarks_before_the_header_are_skipped() {
        let text = format!(
            "https://example.com/a,b\n# a remark, made by hand\nPrices of bitcoin\n{HEADER}1583020800000,1,1,1,1,1\n"
        );
        for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
            let file = RecordingFile::of_bytes("a.csv", bytes);
            let layout = Arc::new(file.layout().unwrap());
            let mut rows = file.rows(&layout).unwrap();
            assert_eq!((layout.preamble, rows.next_line().unwrap().unwrap().number), (3, 5));
        }
    }

    #[test]
    fn a_truncated_file_gives_its_whole_lines_then_an_error() {
        let text: String =
            (0..20_000).map(|n| format!("{},{}.25,{n}.5,{n}.125,{n}.375,{}\n", n * 60_000, n, n * 7 % 13)).collect();
        let mut bytes = gzip((HEADER.to_owned() + &text).as_bytes());
        bytes.truncate(bytes.len() / 2);
        let mut rows = rows("a.csv.gz", bytes).unwrap();
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
    fn a_second_header_that_cannot_be_used_ends_the_file() {
        let text = format!("{HEADER}1583020800000,1,1,1,1,1\nclose,high\n1583020860000,1,1,1,1,1\n");
        let mut rows = rows("a.csv", text).unwrap();
        assert_eq!(rows.next_line().unwrap().unwrap().number, 2);
        let end = rows.next_line().err().expect("a second header");
        assert!(end.is_header && end.to_string().starts_with("a.csv line 3: "), "{end}");
    }

    #[test]
    fn the_columns_of_a_second_header_count_after_it() {
        for header in [HEADER, "timestamp_ms,close,high,low,open,volume\n", "Low,Open,High,Last,Date\n"] {
            let row = match header {
                HEADER => "1583020860000,1,4,1,2,1",
                header if header.starts_with("Low") => "1,1,4,2,1583020860000",
                _ => "1583020860000,2,4,1,1,1",
            };
            let mut rows = rows("a.csv", format!("{HEADER}1583020800000,1,1,1,1,1\n{header}{row}\n")).unwrap();
            assert_eq!(rows.next_line().unwrap().unwrap().number, 2);
            assert_eq!(rows.next_line().unwrap().unwrap().row(0, LATEST), Err(RowRefusal::Header));
            let row = rows.next_line().unwrap().unwrap().row(0, LATEST).unwrap();
            assert_eq!((row.open, row.high, row.low, row.close, row.line), (1.0, 4.0, 1.0, 2.0, 4), "{header}");
        }
    }

    #[test]
    fn lines_that_end_in_cr_are_read_from_the_first_line_on() {
        let text = format!("{HEADER}1583020800000,1,1,1,1,1\n1583020860000,1,1,1,1,2\n");
        for ends in ["\r", "\r\n", "\n"] {
            let mut rows = rows("a.csv", text.replace('\n', ends)).unwrap();
            let lines: Vec<_> = std::iter::from_fn(|| rows.next_line().unwrap().map(|line| line.number)).collect();
            assert_eq!(lines, [2, 3], "{ends:?}");
        }
        let first = format!("{HEADER}1583020800000,1,1,1,1,1\r\n");
        let mut rows = rows("a.csv", first + "1583020860000,1,1,1,1,1\r1,1,1,1,1,1\r\n").unwrap();
        assert_eq!(rows.next_line().unwrap().unwrap().number, 2);
        let end = rows.next_line().err().expect("cut").to_string();
        assert!(end.starts_with("a.csv line 3: lines end in CR only from here on; convert them: tr"), "{end}");
    }

    #[test]
    fn a_line_without_end_is_one_bad_line() {
        let text = format!("{HEADER}{}\n1583020800000,1,1,1,1,1\n", "x".repeat(3 * LINE_BYTES_MAX));
        let mut rows = rows("a.csv", text).unwrap();
        let long = rows.next_line().unwrap().unwrap();
        assert_eq!((long.number, long.text.len(), long.row(0, LATEST)), (2, LINE_BYTES_MAX, Err(RowRefusal::TooLong)));
        let good = rows.next_line().unwrap().unwrap();
        assert_eq!((good.number, good.text), (3, b"1583020800000,1,1,1,1,1".as_slice()));
        assert!(rows.next_line().unwrap().is_none());
    }
}
