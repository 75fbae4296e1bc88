//! A recording's file: plain or gzip text, opened, checked and read line by line.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use market::EventTime;

use super::row::{COLUMNS, Columns, Refusal, Row};

/// The longest line that may be a row. Six numbers take at most some 150 bytes; the rest is room for other columns.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
/// So many rows are looked at for the time at which a file starts.
const START_ROWS_MAX: usize = 100;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const READ_BYTES: usize = 64 * 1024;

/// Is told how many bytes of the file were read, each time some were: for a progress bar.
pub type OnRead = Arc<dyn Fn(u64) + Send + Sync>;

/// Opens the bytes of a file from the beginning, as often as needed.
type Open = Box<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send>;

/// A file that may hold a recording. It is open only while it is read: thousands may wait.
pub struct Input {
    name: String,
    bytes: u64,
    open: Open,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Why a file cannot be read at all, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Unusable {
    /// The file, with the line if it came to that.
    place: String,
    problem: String,
}

/// A file that tells how much of it was read.
struct Watched {
    file: File,
    on_read: OnRead,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        (self.on_read)(count as u64);
        Ok(count)
    }
}

/// What a look at the first lines says.
#[derive(Debug)]
pub struct Start {
    /// The time of the first row that has one.
    pub event: Option<EventTime>,
}

impl Input {
    /// A file of the machine.
    ///
    /// # Errors
    /// When there is none, or it is no regular file.
    pub fn at(path: &Path, on_read: OnRead) -> Result<Self, Unusable> {
        let name = path.display().to_string();
        let unusable = |problem: String| Unusable { place: name.clone(), problem };
        let metadata = std::fs::metadata(path).map_err(|error| unusable(format!("cannot open it: {error}")))?;
        if !metadata.is_file() {
            // It is read twice: once to check it before anything is published, once for its rows.
            return Err(unusable("not a regular file".to_owned()));
        }
        let path = path.to_owned();
        let open: Open =
            Box::new(move || Ok(Box::new(Watched { file: File::open(&path)?, on_read: Arc::clone(&on_read) })));
        Ok(Self { name, bytes: metadata.len(), open })
    }

    /// A file that is in memory, under the name that errors give it.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        let open: Open = Box::new(move || Ok(Box::new(io::Cursor::new(bytes.clone()))));
        Self { name: name.to_owned(), bytes: length, open }
    }

    /// The file as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks that it is a recording with at least one row.
    ///
    /// # Errors
    /// Empty, no gzip in spite of its name, a header without a needed column, no row.
    pub fn inspect(&self) -> Result<Start, Unusable> {
        let mut rows = self.rows()?;
        let mut event = None;
        let mut seen = 0;
        while let Some(line) = rows.next_line()? {
            seen += 1;
            event = line.event();
            if event.is_some() || seen == START_ROWS_MAX {
                break;
            }
        }
        if seen == 0 { Err(self.unusable(1, "no row follows the header".to_owned())) } else { Ok(Start { event }) }
    }

    /// Counts the rows with a readable time, and those of them that are older than `bound`.
    ///
    /// # Errors
    /// As [`Input::rows`]. A file that breaks off counts as far as it goes.
    pub fn count_older(&self, bound: EventTime) -> Result<(u64, u64), Unusable> {
        let mut rows = self.rows()?;
        let (mut all, mut older) = (0, 0);
        while let Ok(Some(line)) = rows.next_line() {
            if let Some(event) = line.event() {
                all += 1;
                older += u64::from(event < bound);
            }
        }
        Ok((all, older))
    }

    /// Opens it and reads its header.
    ///
    /// # Errors
    /// When it cannot be opened or does not begin as a recording.
    pub fn rows(&self) -> Result<Rows, Unusable> {
        let file = (self.open)().map_err(|error| self.unopened(&error))?;
        let text = self.text_of(file)?;
        let mut lines = Lines { name: self.name.clone(), text, buffer: Vec::new(), number: 0 };
        if lines.next()?.is_none() {
            return Err(self.unusable(1, format!("the file is empty; expected the header {}", COLUMNS.join(","))));
        }
        let columns = Columns::parse(&lines.buffer).map_err(|missing| {
            self.unusable(1, format!("no column {missing:?}; the header must name {}", COLUMNS.join(",")))
        })?;
        Ok(Rows { lines, columns })
    }

    /// Gzip is recognised by its content, whatever the name.
    fn text_of(&self, file: Box<dyn Read + Send>) -> Result<Box<dyn BufRead + Send>, Unusable> {
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        let head = file.fill_buf().map_err(|error| self.unopened(&error))?;
        if head.starts_with(&GZIP_MAGIC) {
            Ok(Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(file))))
        } else if !head.is_empty() && self.name.to_ascii_lowercase().ends_with(".gz") {
            Err(self.unusable(1, "not gzip, although its name ends in .gz; rename it if it is plain text".to_owned()))
        } else {
            Ok(Box::new(file))
        }
    }

    fn unopened(&self, error: &io::Error) -> Unusable {
        Unusable { place: self.name.clone(), problem: format!("cannot open it: {error}") }
    }

    fn unusable(&self, line: u64, problem: String) -> Unusable {
        Unusable { place: format!("{} line {line}", self.name), problem }
    }
}

/// The rows of an open file.
pub struct Rows {
    lines: Lines,
    columns: Columns,
}

/// A line that is not blank.
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u32,
    /// Without its line break; of a line that is too long for a row only the beginning.
    pub text: &'a [u8],
    is_whole: bool,
    columns: &'a Columns,
}

impl Rows {
    /// The next line that is not blank.
    ///
    /// # Errors
    /// The file breaks off: a cut or damaged gzip file, a failing disk.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Unusable> {
        let Some((number, is_whole)) = self.lines.next()? else { return Ok(None) };
        Ok(Some(Line { number, text: self.lines.buffer.trim_ascii_end(), is_whole, columns: &self.columns }))
    }
}

impl Line<'_> {
    /// The line as a row of this file.
    ///
    /// # Errors
    /// The named reason why it is none.
    pub fn row(&self, file: u32) -> Result<Row, Refusal> {
        if self.is_whole { self.columns.row(self.text, file, self.number) } else { Err(Refusal::TooLong) }
    }

    fn event(&self) -> Option<EventTime> {
        self.columns.event(self.text).filter(|_| self.is_whole)
    }
}

struct Lines {
    name: String,
    text: Box<dyn BufRead + Send>,
    /// The line that was read last, with its line break.
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Reads the next line that is not blank: its number, and whether all of it is in the buffer.
    fn next(&mut self) -> Result<Option<(u32, bool)>, Unusable> {
        loop {
            self.buffer.clear();
            let limit = LINE_BYTES_MAX as u64;
            let read = self.text.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
            // What stands in the buffer after an error is half a line: half a number is a wrong number.
            let is_end = read.map_err(|error| self.broken(&error))? == 0;
            if is_end {
                return Ok(None);
            }
            self.number += 1;
            let number = u32::try_from(self.number).map_err(|_| self.broken(&"more lines than can be counted"))?;
            if self.buffer.len() == LINE_BYTES_MAX && !self.buffer.ends_with(b"\n") {
                self.skip_line()?;
                return Ok(Some((number, false)));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some((number, true)));
            }
        }
    }

    fn skip_line(&mut self) -> Result<(), Unusable> {
        loop {
            let read = self.text.fill_buf();
            let (used, is_done) = match read {
                Ok([]) => return Ok(()),
                Ok(bytes) => match bytes.iter().position(|&byte| byte == b'\n') {
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

    /// The file ends where it should not: after the line that was read last.
    fn broken(&self, error: &dyn fmt::Display) -> Unusable {
        let place = format!("{} line {}", self.name, self.number + 1);
        Unusable { place, problem: format!("the file breaks off here ({error})") }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unusable_files_are_named_with_their_line() {
        let check = |name: &str, bytes: Vec<u8>, expected: &str| {
            let error = Input::of_bytes(name, bytes).inspect().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let truncated = |bytes: Vec<u8>| bytes[..8].to_vec();
        check("a.csv", vec![], "a.csv line 1: the file is empty; expected the header timestamp_ms,open");
        check("a.csv.gz", vec![], "a.csv.gz line 1: the file is empty");
        check("a.csv.gz", gzip(""), "a.csv.gz line 1: the file is empty");
        check("a.csv", HEADER.into(), "a.csv line 1: no row follows the header");
        check("a.csv", format!("{HEADER}\n \n").into(), "a.csv line 1: no row follows the header");
        check("a.csv", "timestamp_ms,open,high,low,volume\n1,2\n".into(), "a.csv line 1: no column \"close\"");
        check("A.CSV.GZ", format!("{HEADER}0,1,1,1,1,1\n").into(), "A.CSV.GZ line 1: not gzip");
        check("a.csv.gz", truncated(gzip(HEADER)), "a.csv.gz line 1: the file breaks off here");
    }

    #[test]
    fn gzip_is_recognised_by_content() {
        let text = format!("{HEADER}junk\n60000,1,1,1,1,1\n");
        for (name, bytes) in [("a.csv", text.clone().into_bytes()), ("a.csv", gzip(&text)), ("a.csv.gz", gzip(&text))] {
            assert_eq!(Input::of_bytes(name, bytes).inspect().unwrap().event, Some(EventTime(60_000)), "{name}");
        }
    }

    #[test]
    fn a_cut_file_gives_its_whole_lines_and_then_says_where_it_ends() {
        let text: String =
            (0..20_000).map(|n| format!("{},{}.25,{n}.5,{n}.125,{n}.375,{}\n", n * 60_000, n, n * 7 % 13)).collect();
        let mut bytes = gzip(&(HEADER.to_owned() + &text));
        bytes.truncate(bytes.len() / 2);
        let mut rows = Input::of_bytes("a.csv.gz", bytes).rows().unwrap();
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
    fn a_line_without_end_is_one_bad_line() {
        let text = format!("{HEADER}{}\n60000,1,1,1,1,1\n", "x".repeat(3 * LINE_BYTES_MAX));
        let mut rows = Input::of_bytes("a.csv", text.into_bytes()).rows().unwrap();
        let long = rows.next_line().unwrap().unwrap();
        assert_eq!((long.number, long.text.len(), long.row(0)), (2, LINE_BYTES_MAX, Err(Refusal::TooLong)));
        let good = rows.next_line().unwrap().unwrap();
        assert_eq!((good.number, good.text), (3, b"60000,1,1,1,1,1".as_slice()));
        assert!(rows.next_line().unwrap().is_none());
    }
}
