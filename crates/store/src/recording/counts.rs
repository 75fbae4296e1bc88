//! Counts of rows by outcome, and the file of refused rows.

use std::collections::BTreeMap;
use std::io::{self, Write};

use market::EventTime;
use serde::Serialize;

use super::row::RowRefusal;

/// Bytes of a refused line that are kept, at most.
const TEXT_BYTES_MAX: usize = 256;

/// Row counts of one instrument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Lines that were not blank.
    pub rows: u64,
    /// Rows that the reader left out because FEED already has their time.
    pub skipped: u64,
    /// Event times of the first and the last skipped row.
    #[serde(skip)]
    pub skipped_range: Option<(EventTime, EventTime)>,
    /// Rows that repeat an earlier row's time (and trade id).
    pub duplicates: u64,
    /// Duplicates with other values than the earlier row.
    pub conflicts: u64,
    /// Rows whose low or high was widened to include open and close.
    pub widened: u64,
    /// Candles that have not ended yet. They are left out.
    pub unfinished: u64,
    /// Rows with a time and without a price. They are left out.
    pub without_price: u64,
    /// Lines that are not rows, such as comments. They are left out.
    pub foreign: u64,
    /// Headers after the first one.
    pub headers: u64,
    /// Refused rows with a price, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Event times of the first and the last row that counts, published or skipped.
    #[serde(skip)]
    pub range: Option<(EventTime, EventTime)>,
}

impl RowCounts {
    /// Counts a refused line by its reason.
    pub fn count_rejected(&mut self, reason: RowRefusal) {
        match reason {
            RowRefusal::Foreign => self.foreign += 1,
            RowRefusal::Header => self.headers += 1,
            RowRefusal::NoPrice => self.without_price += 1,
            RowRefusal::Unfinished => self.unfinished += 1,
            _ => *self.rejected.entry(reason.as_str()).or_default() += 1,
        }
    }

    /// Counts a row that FEED already has.
    pub fn count_skipped(&mut self, event: EventTime) {
        self.skipped += 1;
        extend(&mut self.skipped_range, event);
    }

    /// Extends the range by a row that counts.
    pub fn count_accepted(&mut self, event: EventTime) {
        extend(&mut self.range, event);
    }

    /// Adds the counts of another instrument.
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

    /// Returns the number of refused rows with a price.
    pub fn rejected_count(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Returns the number of rows with a price, refused or not.
    pub fn priced_count(&self) -> u64 {
        self.rows - self.without_price - self.foreign - self.headers
    }
}

fn extend(range: &mut Option<(EventTime, EventTime)>, event: EventTime) {
    let (first, last) = range.unwrap_or((event, event));
    *range = Some((first.min(event), last.max(event)));
}

/// Creates the file of refused rows when the first one comes.
type Create = Box<dyn FnOnce() -> io::Result<Box<dyn Write + Send>> + Send>;

/// Writer of refused rows, one JSON object per line: `{"file":"a.csv","line":7,"reason":"unparsable","text":"…"}`.
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
    /// Returns a writer that discards all rows.
    pub fn nowhere() -> Self {
        Self { create: None, file: None, error: None }
    }

    /// Returns a writer into the file that `create` creates when the first row comes.
    pub fn new(create: impl FnOnce() -> io::Result<Box<dyn Write + Send>> + Send + 'static) -> Self {
        Self { create: Some(Box::new(create)), file: None, error: None }
    }

    /// Writes a refused row. After an error it writes nothing more; see [`Rejects::finish`].
    pub fn keep(&mut self, file: &str, line: u32, reason: RowRefusal, text: &[u8]) {
        let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
        let reject = Reject { file, line, reason: reason.as_str(), text: &text };
        if self.error.is_none() {
            self.error = self.write(&reject).err();
        }
    }

    /// Whether a refused row could not be written.
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Flushes the file.
    ///
    /// # Errors
    /// The first error of any write.
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
