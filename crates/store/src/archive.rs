//! The archive: every accepted tick as Parquet, in files named by the MARKET sequences that were looked at.
//!
//! Ranges join, so a hole is an error and no manifest is needed. One process writes (it holds a lock), any number read
//! at the same time: a file appears whole, and when files are joined the joined one appears before its parts go.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use market::{EventTime, Instrument, Tick};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use crate::atomic::{atomic_write, remove_unfinished, sync_folder};
use crate::layout;
use crate::listing::{Listing, ListingError, SeqRange, list, to_join};
use crate::schema;
use crate::ticks::{TickRows, for_each_tick};

/// Files are joined up to this size.
pub const JOINED_BYTES_MAX: u64 = 128 << 20;

/// How often a reader lists again because a file that it was about to open has just been joined.
const LISTINGS_MAX: usize = 10;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8_192;

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The files do not make one archive.
    #[error("{}: {error}", folder.display())]
    Listing {
        /// The archive's folder.
        folder: PathBuf,
        /// What is wrong with it.
        error: ListingError,
    },
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} is damaged ({reason}): put a copy back, or move all files away and archive anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another process writes to this archive.
    #[error("another process is writing the archive {}", folder.display())]
    Locked {
        /// The archive's folder.
        folder: PathBuf,
    },
    /// The archive was made from another MARKET stream.
    #[error(
        "the archive {} was made from another MARKET stream ({theirs}, not {ours}): use another folder, or move its files \
         away and archive anew",
        folder.display()
    )]
    OtherSource {
        /// The archive's folder.
        folder: PathBuf,
        /// The stream that it was made from.
        theirs: String,
        /// The stream that is to be archived.
        ours: String,
    },
}

/// The ticks of one instrument, and how far the archive reached when they were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Ascending by (event time, id); ticks of one identity by MARKET sequence.
    pub ticks: Vec<Tick>,
    /// MARKET sequences that were looked at; None for an archive without files.
    pub range: Option<SeqRange>,
}

/// What an archive holds of one instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Ticks.
    pub ticks: u64,
    /// Event time of the earliest tick.
    pub first: EventTime,
    /// Event time of the latest tick.
    pub last: EventTime,
}

impl Holding {
    fn new(tick: &Tick) -> Self {
        Self { ticks: 1, first: tick.event, last: tick.event }
    }

    fn add(&mut self, tick: &Tick) {
        self.ticks += 1;
        self.first = self.first.min(tick.event);
        self.last = self.last.max(tick.event);
    }
}

/// An archive to read from.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: PathBuf,
}

/// An archive to write to: the only writer of its folder until it is dropped.
#[derive(Debug)]
pub struct ArchiveWriter {
    archive: Archive,
    source: String,
    last_seq: Option<u64>,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Archive {
    /// An archive in a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sorts out the files that count.
    ///
    /// # Errors
    /// When the folder cannot be read, or the files leave a hole or overlap.
    pub fn list(&self) -> Result<Listing, ArchiveError> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            entries => entries.map_err(|error| io_error(&self.folder, error))?,
        };
        for entry in entries {
            let name = entry.map_err(|error| io_error(&self.folder, error))?.file_name();
            names.extend(name.into_string());
        }
        list(names.iter().map(String::as_str))
            .map_err(|error| ArchiveError::Listing { folder: self.folder.clone(), error })
    }

    /// The last MARKET sequence that was looked at; None for an archive without files.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn last_seq(&self) -> Result<Option<u64>, ArchiveError> {
        Ok(self.list()?.files.last().map(|range| range.last))
    }

    /// The MARKET stream that the archive was made from; None for an archive without files.
    ///
    /// # Errors
    /// When the newest file cannot be read.
    pub fn source(&self) -> Result<Option<String>, ArchiveError> {
        self.over_files(|files| files.last().map(|file| file.source()).transpose().map(Option::flatten))
    }

    /// The ticks of an instrument that MARKET accepted up to sequence `through`, late ones in their place.
    ///
    /// # Errors
    /// When the files do not join, or one cannot be read.
    pub fn series(&self, instrument: &Instrument, through: u64) -> Result<Series, ArchiveError> {
        self.over_files(|files| {
            let mut ticks = Vec::new();
            for file in files {
                file.for_each(|of, tick, market_seq| {
                    if of == instrument && market_seq <= through {
                        ticks.push(tick);
                    }
                })?;
            }
            // Stable: files follow each other by sequence.
            ticks.sort_by_key(Tick::identity);
            let range = files
                .first()
                .zip(files.last())
                .map(|(first, last)| SeqRange { first: first.range.first, last: last.range.last.min(through) });
            Ok(Series { ticks, range })
        })
    }

    /// Every instrument of the archive, with what there is of it.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub fn holdings(&self) -> Result<BTreeMap<Instrument, Holding>, ArchiveError> {
        self.over_files(|files| {
            let mut holdings: BTreeMap<Instrument, Holding> = BTreeMap::new();
            for file in files {
                file.for_each(|of, tick, _| match holdings.get_mut(of) {
                    Some(holding) => holding.add(&tick),
                    None => drop(holdings.insert(of.clone(), Holding::new(&tick))),
                })?;
            }
            Ok(holdings)
        })
    }

    /// Opens all files that count and reads them. A file that was joined away between listing and opening makes it list
    /// again; once open, a file can be read even when it is removed.
    fn over_files<T>(&self, read: impl FnOnce(&[OpenFile]) -> Result<T, ArchiveError>) -> Result<T, ArchiveError> {
        for attempt in 1.. {
            let opened: Result<Vec<_>, _> =
                self.list()?.files.into_iter().map(|range| OpenFile::open(&self.folder, range)).collect();
            match opened {
                Err(ArchiveError::Io { error, .. })
                    if error.kind() == io::ErrorKind::NotFound && attempt < LISTINGS_MAX => {}
                opened => return read(&opened?),
            }
        }
        unreachable!("the last attempt returns")
    }
}

/// A file that counts, open.
struct OpenFile {
    range: SeqRange,
    path: PathBuf,
    file: File,
}

impl OpenFile {
    fn open(folder: &Path, range: SeqRange) -> Result<Self, ArchiveError> {
        let path = folder.join(range.file_name());
        let file = File::open(&path).map_err(|error| io_error(&path, error))?;
        Ok(Self { range, path, file })
    }

    fn reader(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, ArchiveError> {
        let file = self.file.try_clone().map_err(|error| io_error(&self.path, error))?;
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| self.damaged(error))
    }

    fn batches(&self) -> Result<ParquetRecordBatchReader, ArchiveError> {
        self.reader()?.with_batch_size(BATCH_ROWS).build().map_err(|error| self.damaged(error))
    }

    fn for_each(&self, mut each: impl FnMut(&Instrument, Tick, u64)) -> Result<(), ArchiveError> {
        for batch in self.batches()? {
            batch.and_then(|batch| for_each_tick(&batch, &mut each)).map_err(|error| self.damaged(error))?;
        }
        Ok(())
    }

    fn source(&self) -> Result<Option<String>, ArchiveError> {
        let reader = self.reader()?;
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let source = metadata.and_then(|pairs| pairs.iter().find(|pair| pair.key == schema::SOURCE_KEY));
        Ok(source.and_then(|pair| pair.value.clone()))
    }

    fn damaged(&self, reason: impl ToString) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }
}

impl ArchiveWriter {
    /// Takes the archive in `folder` (made if need be) for writing what the MARKET stream `source` holds, and clears away
    /// what a killed writer left.
    ///
    /// # Errors
    /// When another process holds it, its files do not join, it was made from another stream, or the folder is not
    /// writable.
    pub fn open(folder: &Path, source: &str) -> Result<Self, ArchiveError> {
        let archive = Archive::new(folder);
        let lock = lock(folder)?;
        remove_unfinished(folder).map_err(|error| io_error(folder, error))?;
        let listing = archive.list()?;
        if let Some(theirs) = archive.source()?
            && theirs != source
        {
            return Err(ArchiveError::OtherSource { folder: folder.to_owned(), theirs, ours: source.to_owned() });
        }
        let last_seq = listing.files.last().map(|range| range.last);
        let writer = Self { archive, source: source.to_owned(), last_seq, _lock: lock };
        writer.remove(&listing.superseded)?;
        Ok(writer)
    }

    /// The archive, for reading.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The last MARKET sequence that was looked at; None for an archive without files.
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }

    /// Writes the rows that were found in `range`, which begins where the archive ends. Synced when this returns.
    ///
    /// # Errors
    /// When the file cannot be written. Then the archive is as it was.
    ///
    /// # Panics
    /// When the range does not join the archive.
    pub fn append(&mut self, range: SeqRange, rows: TickRows) -> Result<(), ArchiveError> {
        assert!(0 < range.first && range.first <= range.last, "a file looks at some sequence: {range:?}");
        assert!(
            self.last_seq.is_none_or(|last| range.first == last + 1),
            "{range:?} does not join {:?}",
            self.last_seq
        );
        let batch = rows.into_batch();
        self.write(range, |writer| writer.write(&batch))?;
        self.last_seq = Some(range.last);
        Ok(())
    }

    /// Joins the newest files, where [`to_join`] says so, up to [`JOINED_BYTES_MAX`]. Returns how many were joined.
    ///
    /// # Errors
    /// When a file cannot be read or written. Then the archive is whole still.
    pub fn join(&mut self) -> Result<usize, ArchiveError> {
        let files = self.archive.list()?.files;
        let mut sizes = Vec::with_capacity(files.len());
        for range in &files {
            let path = self.archive.folder.join(range.file_name());
            sizes.push(fs::metadata(&path).map_err(|error| io_error(&path, error))?.len());
        }
        let parts = &files[files.len() - to_join(&sizes, JOINED_BYTES_MAX)..];
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(0) };
        let opened: Result<Vec<_>, _> =
            parts.iter().map(|&range| OpenFile::open(&self.archive.folder, range)).collect();
        let opened = opened?;
        let joined = SeqRange { first: first.first, last: last.last };
        self.write(joined, |writer| {
            for file in &opened {
                for batch in file.batches().map_err(|error| ParquetError::External(error.into()))? {
                    writer.write(&batch?)?;
                }
            }
            Ok(())
        })?;
        self.remove(parts)?;
        Ok(parts.len())
    }

    fn write(
        &self,
        range: SeqRange,
        fill: impl FnOnce(&mut ArrowWriter<&mut io::BufWriter<File>>) -> Result<(), ParquetError>,
    ) -> Result<(), ArchiveError> {
        let path = self.archive.folder.join(range.file_name());
        let columns = schema::ticks();
        let properties = self.writer_properties(&columns);
        let written = atomic_write(&path, |file| -> Result<(), WriteError> {
            let mut writer = ArrowWriter::try_new(file, columns, Some(properties))?;
            fill(&mut writer)?;
            writer.close()?;
            Ok(())
        });
        written.map_err(|WriteError(error)| io_error(&path, error))
    }

    fn writer_properties(&self, columns: &Schema) -> parquet::file::properties::WriterProperties {
        schema::writer_properties(columns, vec![KeyValue::new(schema::SOURCE_KEY.to_owned(), self.source.clone())])
    }

    fn remove(&self, ranges: &[SeqRange]) -> Result<(), ArchiveError> {
        for range in ranges {
            let path = self.archive.folder.join(range.file_name());
            fs::remove_file(&path).map_err(|error| io_error(&path, error))?;
        }
        let any = self.archive.folder.join(layout::ARCHIVE_LOCK);
        sync_folder(&any).map_err(|error| io_error(&self.archive.folder, error))
    }
}

/// Makes the folder and locks it; the lock goes with the process, however it ends.
fn lock(folder: &Path) -> Result<File, ArchiveError> {
    fs::create_dir_all(folder).map_err(|error| io_error(folder, error))?;
    let path = folder.join(layout::ARCHIVE_LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| io_error(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_error(&path, error)),
    }
}

fn io_error(path: &Path, error: io::Error) -> ArchiveError {
    ArchiveError::Io { path: path.to_owned(), error }
}

/// Whatever can go wrong while a file is written, as an I/O error.
struct WriteError(io::Error);

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl From<ParquetError> for WriteError {
    fn from(error: ParquetError) -> Self {
        Self(io::Error::other(error))
    }
}

impl From<ArrowError> for WriteError {
    fn from(error: ArrowError) -> Self {
        Self(io::Error::other(error))
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
