//! The archive: every accepted tick as Parquet, in files named by the MARKET sequences that were looked at.
//!
//! Ranges join, so a hole is an error and no manifest is needed. One process writes (it holds a lock), any number read
//! at the same time: a file appears whole, and when files are joined the joined one appears before its parts go.

mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use market::{EventTime, Instrument, Tick};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::listing::{Listing, ListingError, SeqRange, list};
use crate::schema;
use crate::ticks::for_each_tick;

pub use writer::{ArchiveWriter, JOINED_BYTES_MAX};

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

/// Where in MARKET reading ends: a message may hold many rows, and a model may know only the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Through {
    /// The last MARKET sequence of which anything is read.
    pub seq: u64,
    /// How many rows of that message are read, in the order of its lines; all rows of the messages before it are.
    pub lines: usize,
}

impl Through {
    /// Everything that there is.
    pub const ALL: Self = Self::seq(u64::MAX);

    /// All rows up to a MARKET sequence, included.
    pub const fn seq(seq: u64) -> Self {
        Self { seq, lines: usize::MAX }
    }
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

    /// The ticks of an instrument that MARKET accepted up to `through`, late ones in their place.
    ///
    /// # Errors
    /// When the files do not join, or one cannot be read.
    pub fn series(&self, instrument: &Instrument, through: Through) -> Result<Series, ArchiveError> {
        self.over_files(|files| {
            let mut ticks = Vec::new();
            let mut last_lines = 0;
            for file in files {
                file.for_each(|of, tick, market_seq| {
                    if of != instrument || market_seq > through.seq {
                        return;
                    }
                    last_lines += usize::from(market_seq == through.seq);
                    if last_lines <= through.lines {
                        ticks.push(tick);
                    }
                })?;
            }
            // Stable: files follow each other by sequence.
            ticks.sort_by_key(Tick::identity);
            let range = files
                .first()
                .zip(files.last())
                .map(|(first, last)| SeqRange { first: first.range.first, last: last.range.last.min(through.seq) });
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

fn io_error(path: &Path, error: io::Error) -> ArchiveError {
    ArchiveError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests;
