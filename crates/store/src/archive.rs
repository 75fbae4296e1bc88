//! The archive: every accepted tick as Parquet, in files named by the MARKET sequences that were looked at and by the digest
//! of their bytes. A file is read only when its bytes still have it: a disk that loses a bit would change a model in silence.
//!
//! Ranges join, so a hole is an error and no manifest is needed. One process writes, any number read at the same time: a
//! file appears whole, and when files are joined the joined one appears before its parts go. Where the files lie is the
//! business of a [`Storage`].

pub mod catalog;
pub mod location;
pub mod storage;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use market::{EventTime, Instrument, Tick};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};

use crate::archive::catalog::{Catalog, CatalogError, SeqRange, TickFile};
use crate::archive::storage::{Content, Entry, FolderStorage, Storage, StorageError};
use crate::bucket::BucketErrorKind;
use crate::digest::Digest;
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
    /// The place does not do what it was asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The files do not make one archive.
    #[error("{place}: {error}")]
    Catalog {
        /// Where the archive is.
        place: String,
        /// What is wrong with it.
        error: CatalogError,
    },
    /// A file is not what its name says.
    #[error("{file} is damaged ({reason}): put a copy back, or move all files away and archive anew")]
    Damaged {
        /// The file.
        file: String,
        /// What was found.
        reason: String,
    },
    /// A file went between listing and opening, again and again.
    #[error("{file} disappeared: put it back, or move all files away and archive anew")]
    Gone {
        /// The file.
        file: String,
    },
    /// Another process has written to the archive, which was ours.
    #[error(
        "another process writes to the archive {place}: it reaches MARKET sequence {theirs}, not {ours} as we left it"
    )]
    Overtaken {
        /// Where the archive is.
        place: String,
        /// Where it ends.
        theirs: u64,
        /// Where we ended it.
        ours: u64,
    },
    /// The archive was made from another MARKET stream.
    #[error(
        "the archive {place} was made from another MARKET stream ({theirs}, not {ours}): archive into another place with \
         --archive, or move its files away and archive anew"
    )]
    OtherSource {
        /// Where the archive is.
        place: String,
        /// The stream that it was made from.
        theirs: String,
        /// The stream that is to be archived.
        ours: String,
    },
}

impl ArchiveError {
    /// Whether another process is writing to the archive.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Storage(StorageError::Locked(_)))
    }

    /// Whether waiting may help, and nothing else is wrong.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Storage(StorageError::Bucket(error)) if error.kind() == BucketErrorKind::Unreachable)
    }

    /// Whether there is no room, and nothing else is wrong.
    pub fn is_full(&self) -> bool {
        let is_room = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, Self::Storage(StorageError::Io { error, .. }) if is_room(error.kind()))
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    place: Arc<dyn Storage>,
}

impl From<&Path> for Archive {
    fn from(folder: &Path) -> Self {
        Self::new(folder)
    }
}

impl From<&Archive> for Archive {
    fn from(archive: &Archive) -> Self {
        archive.clone()
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.storage.fmt(f)
    }
}

impl Archive {
    /// An archive in a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::at(FolderStorage::new(folder))
    }

    /// An archive somewhere.
    pub fn at(place: impl Storage + 'static) -> Self {
        Self { place: Arc::new(place) }
    }

    /// What others know it by, wherever they stand.
    pub fn full_name(&self) -> String {
        self.storage.full_name()
    }

    /// Sorts out the files that count.
    ///
    /// # Errors
    /// When the place cannot be read, or the files leave a hole or overlap.
    pub fn catalog(&self) -> Result<Catalog, ArchiveError> {
        self.catalog_of(&self.storage.list()?)
    }

    fn catalog_of(&self, entries: &[Entry]) -> Result<Catalog, ArchiveError> {
        Catalog::of(entries.iter().map(|entry| entry.name.as_str()))
            .map_err(|error| ArchiveError::Catalog { place: self.to_string(), error })
    }

    /// The last MARKET sequence that was looked at; None for an archive without files.
    ///
    /// # Errors
    /// As [`Self::catalog`].
    pub fn last_seq(&self) -> Result<Option<u64>, ArchiveError> {
        Ok(self.catalog()?.files.last().map(|file| file.range.last))
    }

    /// The MARKET stream that the archive was made from; None for an archive without files.
    ///
    /// # Errors
    /// When the newest file cannot be read.
    pub fn source(&self) -> Result<Option<String>, ArchiveError> {
        for _ in 0..LISTINGS_MAX {
            let Some(newest) = self.catalog()?.files.pop() else { return Ok(None) };
            if let Some(file) = OpenFile::open(self, newest)? {
                return file.source();
            }
        }
        Err(ArchiveError::Gone { file: format!("the newest file of the archive {self}") })
    }

    /// The ticks of an instrument that MARKET accepted up to `through`, late ones in their place.
    ///
    /// # Errors
    /// When the files do not join, or one cannot be read.
    pub fn series(&self, instrument: &Instrument, through: Through) -> Result<Series, ArchiveError> {
        let mut ticks = Vec::new();
        let mut last_lines = 0;
        let range = self.for_each(|of, tick, market_seq| {
            if of != instrument || market_seq > through.seq {
                return;
            }
            last_lines += usize::from(market_seq == through.seq);
            if last_lines <= through.lines {
                ticks.push(tick);
            }
        })?;
        // Stable: rows come by sequence.
        ticks.sort_by_key(Tick::identity);
        let range = range.map(|range| SeqRange { last: range.last.min(through.seq), ..range });
        Ok(Series { ticks, range })
    }

    /// Every instrument of the archive, with what there is of it.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub fn holdings(&self) -> Result<BTreeMap<Instrument, Holding>, ArchiveError> {
        let mut holdings: BTreeMap<Instrument, Holding> = BTreeMap::new();
        self.for_each(|of, tick, _| match holdings.get_mut(of) {
            Some(holding) => holding.add(&tick),
            None => drop(holdings.insert(of.clone(), Holding::new(&tick))),
        })?;
        Ok(holdings)
    }

    /// Calls `each` with every row, by MARKET sequence, and returns which sequences the files looked at. A file that was
    /// joined away between listing and opening makes it list again, and go on behind what it has read.
    fn for_each(&self, mut each: impl FnMut(&Instrument, Tick, u64)) -> Result<Option<SeqRange>, ArchiveError> {
        let mut read: Option<SeqRange> = None;
        let mut listings = 0;
        'listing: loop {
            listings += 1;
            for file in self.catalog()?.files {
                let (range, from) = (file.range, read.map_or(0, |read| read.last + 1));
                if range.last < from {
                    continue;
                }
                let Some(open) = OpenFile::open(self, file)? else {
                    if listings < LISTINGS_MAX {
                        continue 'listing;
                    }
                    return Err(ArchiveError::Gone { file: self.name_of(file) });
                };
                open.for_each(|of, tick, market_seq| {
                    if market_seq >= from {
                        each(of, tick, market_seq);
                    }
                })?;
                read = Some(SeqRange { first: read.map_or(range.first, |read| read.first), last: range.last });
            }
            return Ok(read);
        }
    }

    /// A file, for people.
    fn name_of(&self, file: TickFile) -> String {
        format!("{} of the archive {self}", file.name())
    }
}

/// A file that counts, open, and with the bytes that were written.
struct OpenFile {
    name: String,
    content: Content,
}

impl OpenFile {
    /// None when there is no such file any more.
    fn open(archive: &Archive, file: TickFile) -> Result<Option<Self>, ArchiveError> {
        let Some(content) = archive.storage.open(&file.name())? else { return Ok(None) };
        let name = archive.name_of(file);
        let found = content.read_from(0).and_then(Digest::of);
        let found = found.map_err(|error| StorageError::Io { path: name.clone().into(), error })?;
        if found != file.digest {
            return Err(damaged(&name, format!("the SHA-256 of its bytes begins with {found}")));
        }
        Ok(Some(Self { name, content }))
    }

    fn for_each(self, mut each: impl FnMut(&Instrument, Tick, u64)) -> Result<(), ArchiveError> {
        let (name, batches) = self.batches()?;
        for batch in batches {
            let read = batch.and_then(|batch| for_each_tick(&batch, &mut each));
            read.map_err(|error| damaged(&name, error))?;
        }
        Ok(())
    }

    fn source(self) -> Result<Option<String>, ArchiveError> {
        let (_, reader) = self.reader()?;
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let source = metadata.and_then(|pairs| pairs.iter().find(|pair| pair.key == schema::SOURCE_KEY));
        Ok(source.and_then(|pair| pair.value.clone()))
    }

    /// Its rows, and its name for errors.
    fn batches(self) -> Result<(String, ParquetRecordBatchReader), ArchiveError> {
        let (name, reader) = self.reader()?;
        let batches = reader.with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(&name, error))?;
        Ok((name, batches))
    }

    fn reader(self) -> Result<(String, ParquetRecordBatchReaderBuilder<Content>), ArchiveError> {
        let Self { name, content } = self;
        let reader = ParquetRecordBatchReaderBuilder::try_new(content).map_err(|error| damaged(&name, error))?;
        Ok((name, reader))
    }
}

fn damaged(file: &str, reason: impl ToString) -> ArchiveError {
    ArchiveError::Damaged { file: file.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
