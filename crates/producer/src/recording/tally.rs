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
pub(crate) struct Tally {
    /// Lines that were not blank.
    pub(crate) rows: u64,
    /// Rows that FEED has already.
    pub(crate) skipped: u64,
    /// First and last of them.
    #[serde(skip)]
    pub(crate) skipped_range: Option<(EventTime, EventTime)>,
    /// Rows of an instant that had a row already.
    pub(crate) duplicates: u64,
    /// Those of them that said something else.
    pub(crate) conflicts: u64,
    /// Refused rows by reason.
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// First and last row that counts, published or skipped.
    #[serde(skip)]
    pub(crate) range: Option<(EventTime, EventTime)>,
}

impl Tally {
    pub(crate) fn count_rejected(&mut self, reason: Refusal) {
        *self.rejected.entry(reason.as_str()).or_default() += 1;
    }

    pub(crate) fn count_skipped(&mut self, event: EventTime) {
        self.skipped += 1;
        extend(&mut self.skipped_range, event);
    }

    pub(crate) fn count_accepted(&mut self, event: EventTime) {
        extend(&mut self.range, event);
    }

    /// Adds what another instrument counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.skipped += other.skipped;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
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

    /// Refused rows of all reasons.
    pub(crate) fn rejected_count(&self) -> u64 {
        self.rejected.values().sum()
    }
}

fn extend(range: &mut Option<(EventTime, EventTime)>, event: EventTime) {
    let (first, last) = range.unwrap_or((event, event));
    *range = Some((first.min(event), last.max(event)));
}

/// Makes the file of the refused rows when the first one comes.
type Create = Box<dyn FnOnce() -> io::Result<Box<dyn Write + Send>> + Send>;

/// The refused rows, one JSON object a line: `{"file":"a.csv","line":7,"reason":"unparsable","text":"…"}`.
pub(crate) struct Rejects {
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
    pub(crate) fn new(create: impl FnOnce() -> io::Result<Box<dyn Write + Send>> + Send + 'static) -> Self {
        Self { create: Some(Box::new(create)), file: None, error: None }
    }

    /// Keeps a refused row. After an error nothing more is written; see [`Rejects::finish`].
    pub(crate) fn keep(&mut self, file: &str, line: u32, reason: Refusal, text: &[u8]) {
        let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
        let reject = Reject { file, line, reason: reason.as_str(), text: &text };
        if self.error.is_none() {
            self.error = self.write(&reject).err();
        }
    }

    /// Whether a refused row could not be kept.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// The first error of all writing.
    pub(crate) fn finish(mut self) -> io::Result<()> {
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
