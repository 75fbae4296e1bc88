//! Writer of an archive: it appends files and joins small ones to larger ones.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use super::{Archive, ArchiveError, OpenFile, damaged};
use crate::archive::catalog::{Catalog, SeqRange, TickFile, to_join};
use crate::archive::storage::{StoredFile, WriterClaim};
use crate::digest::DigestWriter;
use crate::schema;
use crate::ticks::conform;

/// Size up to which files are joined, in bytes. In a bucket, a whole file is in memory while it is written or read.
pub const JOINED_BYTES_MAX: u64 = 64 << 20;

/// Destination of Parquet bytes.
type To<'a> = &'a mut (dyn Write + Send);

/// A writable archive. It is the only writer of its storage until it is dropped.
#[derive(Debug)]
pub struct ArchiveWriter {
    archive: Archive,
    source: String,
    last_seq: Option<u64>,
    claim: WriterClaim,
}

impl ArchiveWriter {
    /// Opens an archive for writing ticks of the MARKET stream `source`, creates it if it does not exist, and removes
    /// the unfinished files of a killed writer.
    ///
    /// # Errors
    /// Another process holds the archive, its files are not contiguous, it was made from another stream, or its storage
    /// is not writable.
    pub fn open(archive: impl Into<Archive>, source: &str) -> Result<Self, ArchiveError> {
        let archive = archive.into();
        let claim = archive.storage.claim()?;
        let catalog = archive.catalog()?;
        if let Some(theirs) = archive.source()?
            && theirs != source
        {
            return Err(ArchiveError::OtherSource { place: archive.to_string(), theirs, ours: source.to_owned() });
        }
        let last_seq = catalog.files.last().map(|file| file.range.last);
        let writer = Self { archive, source: source.to_owned(), last_seq, claim };
        writer.remove_superseded(&catalog)?;
        Ok(writer)
    }

    /// Sets the identity of the MARKET stream for the files that follow, after the stream's log was continued under a
    /// new one.
    pub fn continue_as(&mut self, source: &str) {
        source.clone_into(&mut self.source);
    }

    /// Returns the archive, for reading.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Returns the id of the archive: 16 hexadecimal digits that stay the same when the files are moved.
    pub fn id(&self) -> &str {
        &self.claim.id
    }

    /// Returns the last MARKET sequence that the archive covers; `None` for an archive without files.
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }

    /// Writes the rows of `range`, a batch of [`schema::ticks`], as a new file. `range` begins where the archive ends.
    /// The file is durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written, or another process has written one. The archive is unchanged.
    ///
    /// # Panics
    /// `range` does not begin where the archive ends.
    pub fn append(&mut self, range: SeqRange, rows: &RecordBatch) -> Result<(), ArchiveError> {
        assert!(0 < range.first && range.first <= range.last, "a file looks at some sequence: {range:?}");
        assert!(
            self.last_seq.is_none_or(|last| range.first == last + 1),
            "{range:?} does not join {:?}",
            self.last_seq
        );
        let newest = self.archive.catalog()?.files.pop().map(|newest| newest.range);
        // A file of this range is this one: an earlier attempt succeeded, and its answer was lost.
        if newest != Some(range) {
            self.check_end(newest.map(|newest| newest.last))?;
            self.write(range, |writer| Ok(writer.write(rows)?))?;
        }
        self.last_seq = Some(range.last);
        Ok(())
    }

    /// Joins the newest files, as [`to_join`] decides, up to [`JOINED_BYTES_MAX`]. Returns how many were joined.
    ///
    /// # Errors
    /// A file cannot be read or written. The archive stays complete.
    pub fn join(&mut self) -> Result<usize, ArchiveError> {
        let entries = self.archive.storage.list()?;
        let catalog = self.archive.catalog_of(&entries)?;
        // An earlier join may have been interrupted before it removed its parts.
        self.remove_superseded(&catalog)?;
        let files = catalog.files;
        self.check_end(files.last().map(|file| file.range.last))?;
        let parts = &files[files.len() - to_join(&sizes(&files, &entries), JOINED_BYTES_MAX)..];
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(0) };
        let joined = SeqRange { first: first.range.first, last: last.range.last };
        self.write(joined, |writer| parts.iter().try_for_each(|&part| self.copy(part, writer)))?;
        self.remove(parts)?;
        Ok(parts.len())
    }

    /// Checks that the archive ends where this writer left it. In a folder the lock ensures that; in a bucket two
    /// writers would write files that overlap.
    fn check_end(&self, end: Option<u64>) -> Result<(), ArchiveError> {
        if end == self.last_seq {
            return Ok(());
        }
        let (theirs, ours) = (end.unwrap_or_default(), self.last_seq.unwrap_or_default());
        Err(ArchiveError::Overtaken { place: self.archive.to_string(), theirs, ours })
    }

    /// Opens a file that must exist and verifies it.
    fn open_file(&self, file: TickFile) -> Result<OpenFile, ArchiveError> {
        let gone = || ArchiveError::Gone { file: self.archive.name_of(file) };
        OpenFile::open(&self.archive, file)?.ok_or_else(gone)
    }

    /// Copies the rows of a file.
    fn copy(&self, part: TickFile, writer: &mut ArrowWriter<To<'_>>) -> Result<(), Failure> {
        let (name, batches) = self.open_file(part)?.batches()?;
        for batch in batches {
            let batch = batch.and_then(|batch| conform(&batch)).map_err(|error| damaged(&name, error))?;
            writer.write(&batch)?;
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        range: SeqRange,
        rows: impl FnOnce(&mut ArrowWriter<To<'_>>) -> Result<(), Failure>,
    ) -> Result<(), ArchiveError> {
        let mut rows = Some(rows);
        let mut unread = None;
        let put = self.archive.storage.put(&mut |to| {
            let rows = rows.take().ok_or_else(|| io::Error::other("a file is filled once"))?;
            let mut to = DigestWriter::new(to);
            self.encode(&mut to, rows).map_err(|failure| match failure {
                Failure::Write(error) => refusal(error),
                Failure::Read(error) => io::Error::other(unread.insert(error).to_string()),
            })?;
            Ok(TickFile { range, digest: to.digest() }.name())
        });
        match unread {
            Some(error) => Err(error),
            None => Ok(put?),
        }
    }

    fn encode(
        &self,
        to: To<'_>,
        rows: impl FnOnce(&mut ArrowWriter<To<'_>>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let columns = schema::ticks();
        let source = KeyValue::new(schema::SOURCE_KEY.to_owned(), self.source.clone());
        let properties = schema::writer_properties(&columns, vec![source]);
        let mut writer = ArrowWriter::try_new(to, columns, Some(properties))?;
        rows(&mut writer)?;
        writer.close()?;
        Ok(())
    }

    /// Removes the parts of joined files, after it has verified the joined files: if one is damaged, its parts may be
    /// the only copy.
    fn remove_superseded(&self, catalog: &Catalog) -> Result<(), ArchiveError> {
        let has_parts = |file: &&TickFile| catalog.superseded.iter().any(|part| file.range.contains(part.range));
        for file in catalog.files.iter().filter(has_parts) {
            self.open_file(*file)?;
        }
        self.remove(&catalog.superseded)
    }

    fn remove(&self, files: &[TickFile]) -> Result<(), ArchiveError> {
        let names: Vec<_> = files.iter().map(|file| file.name()).collect();
        if !names.is_empty() {
            self.archive.storage.remove(&names)?;
        }
        Ok(())
    }
}

/// Returns the size of each file, in bytes.
fn sizes(files: &[TickFile], entries: &[StoredFile]) -> Vec<u64> {
    let size = |file: &TickFile| {
        let name = file.name();
        entries.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.bytes)
    };
    files.iter().map(size).collect()
}

/// Extracts the storage's own error from Parquet's, so that the caller can tell a full disk from other failures.
fn refusal(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => error.downcast().map_or_else(io::Error::other, |error: Box<io::Error>| *error),
        error => io::Error::other(error),
    }
}

/// Failure to write a file: the new file cannot be written, or one of its parts cannot be read.
pub(super) enum Failure {
    Write(ParquetError),
    Read(ArchiveError),
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Self::Write(error)
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Read(error)
    }
}
