//! Storage of an archive's files: a folder, or objects of a bucket under a prefix.
//!
//! Both give the same guarantees: a file appears whole or not at all, and the list of names decides which files exist.

mod bucket;
mod folder;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::bucket::BucketError;

pub use bucket::BucketStorage;
pub use folder::FolderStorage;

/// URL scheme of an archive in a bucket.
pub(super) const SCHEME: &str = "s3://";
/// Length of an archive's id in hexadecimal digits.
const ID_DIGITS: usize = 16;

/// Storage of an archive's files. Methods may block for as long as a disk or a server takes.
pub trait Storage: fmt::Debug + fmt::Display + Send + Sync {
    /// Makes this process the writer and removes the unfinished files of killed writers.
    ///
    /// # Errors
    /// Another process is the writer, as far as the storage can tell, or the storage is not writable.
    fn claim(&self) -> Result<WriterClaim, StorageError>;

    /// Lists the files; an empty list when the storage does not exist.
    ///
    /// # Errors
    /// The storage cannot be read.
    fn list(&self) -> Result<Vec<StoredFile>, StorageError>;

    /// Opens a file; `None` when there is none of this name.
    ///
    /// # Errors
    /// The file cannot be read.
    fn open(&self, name: &str) -> Result<Option<Content>, StorageError>;

    /// Writes a file, whole or not at all. The file is durable when this returns.
    ///
    /// # Errors
    /// `fill` fails, or the storage rejects the file. No part of it remains.
    fn put(&self, fill: &mut Fill<'_>) -> Result<(), StorageError>;

    /// Removes files, in order. The removals are durable when this returns.
    ///
    /// # Errors
    /// A file cannot be removed.
    fn remove(&self, names: &[String]) -> Result<(), StorageError>;

    /// Returns a name that is the same for every process, such as an absolute path.
    fn full_name(&self) -> String;
}

/// Callback that writes the content of a file and returns the file's name, which may hold a digest of the content.
pub type Fill<'a> = dyn FnMut(&mut (dyn Write + Send)) -> io::Result<String> + 'a;

/// A file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Name of the file.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// The right to write to an archive. It lasts until it is dropped.
#[derive(Debug)]
pub struct WriterClaim {
    /// Id of the archive: 16 hexadecimal digits that the first writer chooses at random. It stays the same when the
    /// files are moved.
    pub id: String,
    /// The file is locked for as long as it is open.
    _lock: Option<File>,
}

/// Content of an open file.
#[derive(Debug)]
pub enum Content {
    /// On disk. An open file stays readable after its removal.
    File(File),
    /// In memory.
    Bytes(Bytes),
}

/// Error of a storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// Cause.
        error: io::Error,
    },
    /// S3 failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// Another process is the writer.
    #[error("another process is writing the archive {0}")]
    Locked(String),
}

impl Length for Content {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

impl Content {
    /// Returns a reader of the bytes from `start` on.
    pub(crate) fn read_from(&self, start: u64) -> io::Result<Box<dyn Read>> {
        match self {
            Self::File(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(start))?;
                Ok(Box::new(io::BufReader::new(file)))
            }
            Self::Bytes(bytes) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(bytes.slice(start..).reader()))
            }
        }
    }
}

impl ChunkReader for Content {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.read_from(start)?)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            Self::Bytes(bytes) => bytes.get_bytes(start, length),
        }
    }
}

fn new_id() -> String {
    format!("{:0ID_DIGITS$x}", rand::random::<u64>())
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
