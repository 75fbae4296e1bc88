//! Where the files of an archive lie: in a folder, or in a bucket under a prefix.
//!
//! Both promise the same: a file appears whole or not at all, and the list of names decides what there is.

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

/// How an archive in a bucket begins.
pub(super) const SCHEME: &str = "s3://";
/// Length of an archive's id.
const ID_DIGITS: usize = 16;

/// Where the files of an archive lie. Its methods may block for as long as a disk or a server takes.
pub trait Storage: fmt::Debug + fmt::Display + Send + Sync {
    /// Makes this process the writer, and clears away what killed writers left half done.
    ///
    /// # Errors
    /// When another process is the writer, as far as the place can tell, or the place cannot be written to.
    fn claim(&self) -> Result<Claim, StorageError>;

    /// The files that there are. None when the place does not exist.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn list(&self) -> Result<Vec<Entry>, StorageError>;

    /// A file; None when there is none of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, name: &str) -> Result<Option<Content>, StorageError>;

    /// Puts a file there, whole or not at all. It lasts when this returns.
    ///
    /// # Errors
    /// When `fill` fails, or the place does not take the file. Then there is nothing of it.
    fn put(&self, fill: &mut Fill<'_>) -> Result<(), StorageError>;

    /// Removes files, in order. That they are gone lasts when this returns.
    ///
    /// # Errors
    /// When one cannot be removed.
    fn remove(&self, names: &[String]) -> Result<(), StorageError>;

    /// What others know it by, wherever they stand.
    fn full_name(&self) -> String;
}

/// Writes the content of a file, and returns its name, which may tell the digest of the content.
pub type Fill<'a> = dyn FnMut(&mut (dyn Write + Send)) -> io::Result<String> + 'a;

/// A file by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// That this process is the writer, for as long as it is kept.
#[derive(Debug)]
pub struct Claim {
    /// Which archive it is, wherever its files are moved: 16 hexadecimal digits, which the first writer makes up.
    pub id: String,
    /// Locked for as long as it is open.
    _lock: Option<File>,
}

/// A file, for reading.
#[derive(Debug)]
pub enum Content {
    /// On a disk. Once open it can be read even when it is removed.
    File(File),
    /// In memory.
    Bytes(Bytes),
}

/// Why a place does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// S3 refused.
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
    /// Its bytes from one on.
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
