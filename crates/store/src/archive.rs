//! The archive: every accepted tick as Parquet files, read and written without a manifest.
//!
//! A file's name holds the MARKET sequences that it covers and a digest of its bytes. A reader checks the digest first,
//! because a flipped bit would change a model silently. The ranges of the files must be contiguous, so a missing file
//! is an error. One process writes and any number read at the same time: a file appears whole, and a joined file
//! appears before its parts are removed. A [`Storage`] holds the files.

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
use crate::archive::storage::{Content, FolderStorage, Storage, StorageError, StoredFile};
use crate::bucket::BucketErrorKind;
use crate::digest::Digest;
use crate::schema;
use crate::ticks::for_each_tick;

pub use writer::{ArchiveWriter, JOINED_BYTES_MAX};

/// Listings per read, at most. A reader lists again when a file that it was about to open has just been joined.
const LISTINGS_MAX: usize = 10;

/// Rows per decoded batch.
const BATCH_ROWS: usize = 8_192;

/// Error of reading or writing an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The files do not form one archive.
    #[error("{place}: {error}")]
    Catalog {
        /// Location of the archive.
        place: String,
        /// The fault in its files.
        error: CatalogError,
    },
    /// A file's content does not match its name.
    #[error("{file} is damaged ({reason}): restore a copy, or move all files away and build the archive again")]
    Damaged {
        /// Name of the file.
        file: String,
        /// The fault that was found.
        reason: String,
    },
    /// A file vanished between listing and opening, several times in a row.
    #[error("{file} disappeared: restore it, or move all files away and build the archive again")]
    Gone {
        /// Name of the file.
        file: String,
    },
    /// Another process wrote to the archive while this process was its writer.
    #[error(
        "another process writes to the archive {place}: it ends at MARKET sequence {theirs}, not at {ours} as this process left it"
    )]
    Overtaken {
        /// Location of the archive.
        place: String,
        /// Last sequence of the archive now.
        theirs: u64,
        /// Last sequence that this process wrote.
        ours: u64,
    },
    /// The archive belongs to another MARKET stream.
    #[error(
        "the archive {place} was made from another MARKET stream ({theirs}, not {ours}): choose another location with \
        --archive, or move its files away and build the archive again"
    )]
    OtherSource {
        /// Location of the archive.
        place: String,
        /// The stream that the archive was made from.
        theirs: String,
        /// The stream to be archived.
        ours: String,
    },
}

impl ArchiveError {
    /// Whether another process holds the archive's lock.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Storage(StorageError::Locked(_)))
    }

    /// Whether the storage is unreachable, so that retrying may help.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Storage(StorageError::Bucket(error)) if error.kind() == BucketErrorKind::Unreachable)
    }

    /// Whether the disk is full or over quota, so that retrying helps once there is room.
    pub fn is_full(&self) -> bool {
        let is_room = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, Self::Storage(StorageError::Io { error, .. }) if is_room(error.kind()))
    }
}

/// The ticks of one instrument, and the range of the archive when they were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Ascending by (event time, id); ticks with equal identity by MARKET sequence.
    pub ticks: Vec<Tick>,
    /// MARKET sequences that the archive covers, up to the last one read; `None` for an archive without files.
    pub range: Option<SeqRange>,
}

/// The end of a read in MARKET. It may lie inside a message, because a message holds many rows and a model may know
/// only the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Through {
    /// Last MARKET sequence of which any row is read.
    pub seq: u64,
    /// Number of rows read from that message, in the order of its lines. All rows of earlier messages are read.
    pub lines: usize,
}

impl Through {
    /// The end of the archive.
    pub const ALL: Self = Self::seq(u64::MAX);

    /// The end of the message with this MARKET sequence.
    pub const fn seq(seq: u64) -> Self {
        Self { seq, lines: usize::MAX }
    }
}

/// Extent of one instrument's ticks in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Number of ticks.
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

/// A readable archive.
#[derive(Debug, Clone)]
pub struct Archive {
    storage: Arc<dyn Storage>,
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
    /// Returns the archive in a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::at(FolderStorage::new(folder))
    }

    /// Returns the archive in any storage.
    pub fn at(storage: impl Storage + 'static) -> Self {
        Self { storage: Arc::new(storage) }
    }

    /// Returns a name that is the same for every process, such as an absolute path.
    pub fn full_name(&self) -> String {
        self.storage.full_name()
    }

    /// Lists the files and returns those that count.
    ///
    /// # Errors
    /// The storage cannot be read, or the files leave a hole or overlap.
    pub fn catalog(&self) -> Result<Catalog, ArchiveError> {
        self.catalog_of(&self.storage.list()?)
    }

    fn catalog_of(&self, entries: &[StoredFile]) -> Result<Catalog, ArchiveError> {
        Catalog::of(entries.iter().map(|entry| entry.name.as_str()))
            .map_err(|error| ArchiveError::Catalog { place: self.to_string(), error })
    }

    /// Returns the last MARKET sequence that the archive covers; `None` for an archive without files.
    ///
    /// # Errors
    /// As [`Self::catalog`].
    pub fn last_seq(&self) -> Result<Option<u64>, ArchiveError> {
        Ok(self.catalog()?.files.last().map(|file| file.range.last))
    }

    /// Returns the identity of the MARKET stream that the archive was made from; `None` for an archive without files.
    ///
    /// # Errors
    /// The newest file cannot be read.
    pub fn source(&self) -> Result<Option<String>, ArchiveError> {
        for _ in 0..LISTINGS_MAX {
            let Some(newest) = self.catalog()?.files.pop() else { return Ok(None) };
            if let Some(file) = OpenFile::open(self, newest)? {
                return file.source();
            }
        }
        Err(ArchiveError::Gone { file: format!("the newest file of the archive {self}") })
    }

    /// Returns the ticks of an instrument that MARKET accepted up to `through`; late ticks are sorted by event time
    /// too.
    ///
    /// # Errors
    /// The files are not contiguous, or one cannot be read.
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
        // The sort is stable and rows come by sequence, so equal identities stay in order of sequence.
        ticks.sort_by_key(Tick::identity);
        let range = range.map(|range| SeqRange { last: range.last.min(through.seq), ..range });
        Ok(Series { ticks, range })
    }

    /// Returns every instrument of the archive with the extent of its ticks.
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

    /// Calls `each` with every row, by MARKET sequence, and returns the sequences that the files cover. When a file was
    /// joined away between listing and opening, it lists again and continues after the last file that it read.
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

    /// Describes a file in messages.
    fn name_of(&self, file: TickFile) -> String {
        format!("{} of the archive {self}", file.name())
    }
}

/// An open archive file with a verified digest.
struct OpenFile {
    name: String,
    content: Content,
}

impl OpenFile {
    /// Opens a file and verifies its digest; `None` when the file no longer exists.
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

    /// Returns a reader of the rows, and the file's name for errors.
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
