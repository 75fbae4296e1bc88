//! Writing an archive: one writer, files that appear whole, and small ones joined to larger ones.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use super::{Archive, ArchiveError, OpenFile, io_error};
use crate::atomic::{atomic_write, remove_unfinished, sync_folder};
use crate::layout;
use crate::listing::{SeqRange, to_join};
use crate::schema;
use crate::ticks::TickRows;

/// Length of an archive's id.
const ID_DIGITS: usize = 16;

/// Files are joined up to this size.
pub const JOINED_BYTES_MAX: u64 = 128 << 20;

/// An archive to write to: the only writer of its folder until it is dropped.
#[derive(Debug)]
pub struct ArchiveWriter {
    archive: Archive,
    source: String,
    id: String,
    last_seq: Option<u64>,
    /// Locked for as long as it is open.
    _lock: File,
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
        let (lock, id) = lock(folder)?;
        remove_unfinished(folder).map_err(|error| io_error(folder, error))?;
        let listing = archive.list()?;
        if let Some(theirs) = archive.source()?
            && theirs != source
        {
            return Err(ArchiveError::OtherSource { folder: folder.to_owned(), theirs, ours: source.to_owned() });
        }
        let last_seq = listing.files.last().map(|range| range.last);
        let writer = Self { archive, source: source.to_owned(), id, last_seq, _lock: lock };
        writer.remove(&listing.superseded)?;
        Ok(writer)
    }

    /// The archive, for reading.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Which archive it is, wherever its folder is moved: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
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

    pub(super) fn write(
        &self,
        range: SeqRange,
        fill: impl FnOnce(&mut ArrowWriter<&mut io::BufWriter<File>>) -> Result<(), ParquetError>,
    ) -> Result<(), ArchiveError> {
        let path = self.archive.folder.join(range.file_name());
        let columns = schema::ticks();
        let source = KeyValue::new(schema::SOURCE_KEY.to_owned(), self.source.clone());
        let properties = schema::writer_properties(&columns, vec![source]);
        let written = atomic_write(&path, |file| -> Result<(), WriteError> {
            let mut writer = ArrowWriter::try_new(file, columns, Some(properties))?;
            fill(&mut writer)?;
            writer.close()?;
            Ok(())
        });
        written.map_err(|WriteError(error)| io_error(&path, error))
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

/// Makes the folder and locks it; the lock goes with the process, however it ends. Returns the archive's id too, which the
/// first writer makes up.
fn lock(folder: &Path) -> Result<(File, String), ArchiveError> {
    fs::create_dir_all(folder).map_err(|error| io_error(folder, error))?;
    let path = folder.join(layout::ARCHIVE_LOCK);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = file.map_err(|error| io_error(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ArchiveError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(io_error(&path, error)),
    }
    let id = known_id(&mut file).map_err(|error| io_error(&path, error))?;
    Ok((file, id))
}

/// The id that the file holds; a new one when it holds none, or only a part of one.
fn known_id(file: &mut File) -> io::Result<String> {
    let mut known = String::new();
    file.read_to_string(&mut known)?;
    if known.len() == ID_DIGITS && known.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(known);
    }
    let id = format!("{:0ID_DIGITS$x}", rand::random::<u64>());
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    Ok(id)
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
