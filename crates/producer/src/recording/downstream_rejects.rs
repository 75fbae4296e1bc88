//! Records that the stream-processor rejected, in the same file and format as the rows that the reader refused.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use market::validate::{Reason, RejectedLine};
use serde::Serialize;

use super::published::PublishedMessages;

/// Appends rejected records to the file of refused rows.
pub(crate) struct DownstreamRejects<'a> {
    path: &'a Path,
    /// Whether the file already holds refused rows of this replay.
    is_begun: bool,
    /// Returns the name of a file by the index of its instrument and its own index.
    name_of: &'a dyn Fn(usize, u32) -> Option<String>,
    file: Option<BufWriter<File>>,
    error: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    feed_seq: u64,
    reason: Reason,
    text: &'a str,
}

impl<'a> DownstreamRejects<'a> {
    /// Appends to `path` if `is_begun`, otherwise replaces it when the first record comes.
    pub(crate) fn new(path: &'a Path, is_begun: bool, name_of: &'a dyn Fn(usize, u32) -> Option<String>) -> Self {
        Self { path, is_begun, name_of, file: None, error: None }
    }

    /// Writes a rejected record, with its file and line if they are known. After an error it writes nothing more.
    pub(crate) fn keep(&mut self, refused: &RejectedLine, sent: &PublishedMessages) {
        let row = sent.row_of(refused.feed_seq, refused.line);
        let place = row.and_then(|(instrument_idx, file, line)| Some(((self.name_of)(instrument_idx, file)?, line)));
        let (file, line) = place.unzip();
        let RejectedLine { feed_seq, reason, head, .. } = refused;
        let line = Line { file, line, feed_seq: *feed_seq, reason: *reason, text: head };
        if self.error.is_none() {
            self.error = self.write(&line).err();
        }
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None if self.is_begun => BufWriter::new(OpenOptions::new().append(true).open(self.path)?),
            None => BufWriter::new(File::create(self.path)?),
        };
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
        self.file = Some(file);
        Ok(())
    }

    /// Flushes the file.
    ///
    /// # Errors
    /// The first error of any write.
    pub(crate) fn finish(self) -> io::Result<()> {
        match (self.error, self.file) {
            (Some(error), _) => Err(error),
            (None, Some(mut file)) => file.flush(),
            (None, None) => Ok(()),
        }
    }
}
