//! Writing an archive: one writer, files that appear whole, and small ones joined to larger ones.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use super::{Archive, ArchiveError, OpenFile, damaged};
use crate::archive::catalog::{Catalog, SeqRange, TickFile, to_join};
use crate::archive::storage::{Claim, Entry};
use crate::digest::Digesting;
use crate::schema;
use crate::ticks::conform;

/// Files are joined up to this size. In a bucket a file is in memory whole, when it is written and when it is read.
pub const JOINED_BYTES_MAX: u64 = 64 << 20;

/// What Parquet is written to.
type To<'a> = &'a mut (dyn Write + Send);

/// An archive to write to: the only writer of its place until it is dropped.
#[derive(Debug)]
pub struct ArchiveWriter {
    archive: Archive,
    source: String,
    last_seq: Option<u64>,
    claim: Claim,
}

impl ArchiveWriter {
    /// Takes an archive (made if need be) for writing what the MARKET stream `source` holds, and clears away what a killed
    /// writer left.
    ///
    /// # Errors
    /// When another process holds it, its files do not join, it was made from another stream, or its place is not
    /// writable.
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

    /// Says what the MARKET stream is called from now on: the files to come are of `source`.
    pub fn goes_on_as(&mut self, source: &str) {
        source.clone_into(&mut self.source);
    }

    /// The archive, for reading.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Which archive it is, wherever its files are moved: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.claim.id
    }

    /// The last MARKET sequence that was looked at; None for an archive without files.
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }

    /// Writes the rows that were found in `range`, which begins where the archive ends: a batch of [`schema::ticks`]. The
    /// file lasts when this returns.
    ///
    /// # Errors
    /// When the file cannot be written, or somebody else has written one. Then the archive is as it was.
    ///
    /// # Panics
    /// When the range does not join the archive.
    pub fn append(&mut self, range: SeqRange, rows: &RecordBatch) -> Result<(), ArchiveError> {
        assert!(0 < range.first && range.first <= range.last, "a file looks at some sequence: {range:?}");
        assert!(
            self.last_seq.is_none_or(|last| range.first == last + 1),
            "{range:?} does not join {:?}",
            self.last_seq
        );
        let newest = self.archive.catalog()?.files.pop().map(|newest| newest.range);
        // A file of this range is this one: it appeared, and the answer that said so was lost.
        if newest != Some(range) {
            self.check_end(newest.map(|newest| newest.last))?;
            self.write(range, |writer| Ok(writer.write(rows)?))?;
        }
        self.last_seq = Some(range.last);
        Ok(())
    }

    /// Joins the newest files, where [`to_join`] says so, up to [`JOINED_BYTES_MAX`]. Returns how many were joined.
    ///
    /// # Errors
    /// When a file cannot be read or written. Then the archive is whole still.
    pub fn join(&mut self) -> Result<usize, ArchiveError> {
        let entries = self.archive.storage.list()?;
        let catalog = self.archive.catalog_of(&entries)?;
        // Of a join that did not come to its end.
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

    /// Refuses to go on when the archive does not end where this writer left it. In a folder the lock sees to that; in a
    /// bucket two writers would make files that overlap.
    fn check_end(&self, end: Option<u64>) -> Result<(), ArchiveError> {
        if end == self.last_seq {
            return Ok(());
        }
        let (theirs, ours) = (end.unwrap_or_default(), self.last_seq.unwrap_or_default());
        Err(ArchiveError::Overtaken { place: self.archive.to_string(), theirs, ours })
    }

    /// Opens a file that must be there, and is whole.
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
            let mut to = Digesting::new(to);
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

    /// Removes the parts of joined files, which must be whole: of a damaged one the parts may be the only copy.
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

/// The size of each file.
fn sizes(files: &[TickFile], entries: &[Entry]) -> Vec<u64> {
    let size = |file: &TickFile| {
        let name = file.name();
        entries.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.bytes)
    };
    files.iter().map(size).collect()
}

/// What the place said, where Parquet only passes it on: whoever waits for room must see that there is none.
fn refusal(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => error.downcast().map_or_else(io::Error::other, |error: Box<io::Error>| *error),
        error => io::Error::other(error),
    }
}

/// Why a file could not be written: the new one, or one that it is made of.
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
