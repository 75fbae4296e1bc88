//! What became of the rows: counted, and the refused ones kept.

use std::collections::BTreeMap;
use std::io::{self, Write};

use market::EventTime;
use serde::Serialize;

use super::row::Refusal;

/// How much of a refused line is kept.
const TEXT_BYTES_MAX: usize = 256;

/// What the reading of one instrument counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Lines that were not blank.
    pub rows: u64,
    /// Rows that the reader left out because it has their time already.
    pub skipped: u64,
    /// First and last of them.
    #[serde(skip)]
    pub skipped_range: Option<(EventTime, EventTime)>,
    /// Rows of a time, and of a trade's number, that had a row already.
    pub duplicates: u64,
    /// Those of them that said something else.
    pub conflicts: u64,
    /// Rows whose low or high was widened to hold open and close.
    pub widened: u64,
    /// Candles that have not ended yet: left out.
    pub unfinished: u64,
    /// Rows with a time and no price: left out.
    pub without_price: u64,
    /// Lines that are no rows, such as comments: left out.
    pub foreign: u64,
    /// Headers behind the first one, each of which ends its file.
    pub headers: u64,
    /// Refused rows that carry a price, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// First and last row that counts, published or skipped.
    #[serde(skip)]
    pub range: Option<(EventTime, EventTime)>,
}

impl RowCounts {
    /// Counts a line that does not count, by what it is.
    pub fn count_rejected(&mut self, reason: Refusal) {
        match reason {
            Refusal::Foreign => self.foreign += 1,
            Refusal::Header => self.headers += 1,
            Refusal::NoPrice => self.without_price += 1,
            Refusal::Unfinished => self.unfinished += 1,
            _ => *self.rejected.entry(reason.as_str()).or_default() += 1,
        }
    }

    /// Counts a row that was left out.
    pub fn count_skipped(&mut self, event: EventTime) {
        self.skipped += 1;
        extend(&mut self.skipped_range, event);
    }

    /// Takes note of a row that counts.
    pub fn count_accepted(&mut self, event: EventTime) {
        extend(&mut self.range, event);
    }

    /// Adds what another instrument counted.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.skipped += other.skipped;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.widened += other.widened;
        self.unfinished += other.unfinished;
        self.without_price += other.without_price;
        self.foreign += other.foreign;
        self.headers += other.headers;
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
        for (range, other) in [(&mut self.skipped_range, other.skipped_range), (&mut self.range, other.range)] {
            if let Some((first, last)) = other {
                extend(range, first);
                extend(range, last);
            }
        }
    }

    /// Refused rows that carry a price, of all reasons.
    pub fn rejected_count(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Rows that carry a price, refused or not.
    pub fn priced_count(&self) -> u64 {
        self.rows - self.without_price - self.foreign - self.headers
    }
}

fn extend(range: &mut Option<(EventTime, EventTime)>, event: EventTime) {
    let (first, last) = range.unwrap_or((event, event));
    *range = Some((first.min(event), last.max(event)));
}

/// Makes the file of the refused rows when the first one comes.
type Create = Box<dyn FnOnce() -> io::Result<Box<dyn Write + Send>> + Send>;

/// The refused rows, one JSON object a line: `{"file":"a.csv","line":7,"reason":"unparsable","text":"…"}`.
pub struct Rejects {
    create: Option<Create>,
    file: Option<Box<dyn Write + Send>>,
    error: Option<io::Error>,
}

#[derive(Serialize)]
struct Reject<'a> {
    file: &'a str,
    line: u32,
    reason: &'static str,
    text: &'a str,
}

impl Rejects {
    /// Keeps nothing.
    pub fn nowhere() -> Self {
        Self { create: None, file: None, error: None }
    }

    /// Keeps them in the file that `create` makes when the first one comes.
    pub fn new(create: impl FnOnce() -> io::Result<Box<dyn Write + Send>> + Send + 'static) -> Self {
        Self { create: Some(Box::new(create)), file: None, error: None }
    }

    /// Keeps a refused row. After an error nothing more is written; see [`Rejects::finish`].
    pub fn keep(&mut self, file: &str, line: u32, reason: Refusal, text: &[u8]) {
        let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
        let reject = Reject { file, line, reason: reason.as_str(), text: &text };
        if self.error.is_none() {
            self.error = self.write(&reject).err();
        }
    }

    /// Whether a refused row could not be kept.
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// The first error of all writing.
    pub fn finish(mut self) -> io::Result<()> {
        match (self.error.take(), &mut self.file) {
            (Some(error), _) => Err(error),
            (None, Some(file)) => file.flush(),
            (None, None) => Ok(()),
        }
    }

    fn write(&mut self, reject: &Reject<'_>) -> io::Result<()> {
        if let Some(create) = self.create.take() {
            self.file = Some(create()?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, reject)?;
        file.write_all(b"\n")
    }
}
