//! Where the files of an archive lie: in a folder, or in a bucket under a prefix.
//!
//! Both promise the same: a file appears whole or not at all, and the list of names decides what there is.

mod folder;
mod prefix;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::str::FromStr;

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use crate::archive::Archive;
use crate::bucket::{Access, AccessError, Bucket, BucketError};

pub use folder::Folder;
pub use prefix::Prefix;

/// How an archive in a bucket begins.
const SCHEME: &str = "s3://";
/// Length of an archive's id.
const ID_DIGITS: usize = 16;

/// Where the files of an archive lie. Its methods may block for as long as a disk or a server takes.
pub trait Place: fmt::Debug + fmt::Display + Send + Sync {
    /// Makes this process the writer, and clears away what killed writers left half done.
    ///
    /// # Errors
    /// When another process is the writer, as far as the place can tell, or the place cannot be written to.
    fn claim(&self) -> Result<Claim, PlaceError>;

    /// The files that there are. None when the place does not exist.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn list(&self) -> Result<Vec<Entry>, PlaceError>;

    /// A file; None when there is none of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, name: &str) -> Result<Option<Content>, PlaceError>;

    /// Puts a file there, whole or not at all. It lasts when this returns.
    ///
    /// # Errors
    /// When `fill` fails, or the place does not take the file. Then there is nothing of it.
    fn put(&self, fill: &mut Fill<'_>) -> Result<(), PlaceError>;

    /// Removes files, in order. That they are gone lasts when this returns.
    ///
    /// # Errors
    /// When one cannot be removed.
    fn remove(&self, names: &[String]) -> Result<(), PlaceError>;

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
pub enum PlaceError {
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

/// Where an archive is, as it is typed: a folder, or `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveStorage {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket {
        /// The bucket.
        bucket: String,
        /// How all its keys begin: empty, or with a slash at the end.
        prefix: String,
    },
}

/// A text that is no place for an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place for an archive: a folder, or s3://BUCKET/PREFIX")]
pub struct BadPlace(String);

impl FromStr for ArchiveStorage {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let Some(path) = text.strip_prefix(SCHEME) else {
            let is_foreign = text.is_empty() || text.contains("://");
            return if is_foreign { Err(BadPlace(text.to_owned())) } else { Ok(Self::Folder(PathBuf::from(text))) };
        };
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(is_good);
        let is_prefix = prefix.is_empty() || !prefix.split('/').any(str::is_empty);
        if !is_bucket || !is_prefix {
            return Err(BadPlace(text.to_owned()));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for ArchiveStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket { bucket, prefix } => write!(f, "{SCHEME}{bucket}/{prefix}"),
        }
    }
}

impl ArchiveStorage {
    /// The archive that is there, or will be.
    ///
    /// # Errors
    /// When it is in a bucket and the environment has no key for S3.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn archive(&self) -> Result<Archive, AccessError> {
        match self {
            Self::Folder(path) => Ok(Archive::new(path)),
            Self::Bucket { bucket, prefix } => {
                let bucket = Bucket::new(bucket, &Access::from_environment()?);
                Ok(Archive::at(Prefix::new(bucket, prefix, Handle::current())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_prefix_of_a_bucket() {
        let folder = |path: &str| Ok(ArchiveStorage::Folder(PathBuf::from(path)));
        let in_bucket =
            |prefix: &str| Ok(ArchiveStorage::Bucket { bucket: "prices".to_owned(), prefix: prefix.to_owned() });
        let bad = |text: &str| Err(BadPlace(text.to_owned()));
        for (text, expected) in [
            ("out/archive", folder("out/archive")),
            ("/srv/s3:/x", folder("/srv/s3:/x")),
            ("s3://prices", in_bucket("")),
            ("s3://prices/", in_bucket("")),
            ("s3://prices/archive", in_bucket("archive/")),
            ("s3://prices/a/b/", in_bucket("a/b/")),
            ("", bad("")),
            ("s3://", bad("s3://")),
            ("s3:///archive", bad("s3:///archive")),
            ("s3://Prices/archive", bad("s3://Prices/archive")),
            ("s3://prices//archive", bad("s3://prices//archive")),
            ("s3://prices/a//b", bad("s3://prices/a//b")),
            ("https://prices/archive", bad("https://prices/archive")),
        ] {
            assert_eq!(text.parse::<ArchiveStorage>(), expected, "{text}");
        }
        let place: ArchiveStorage = "s3://prices/archive".parse().expect("a place");
        assert_eq!(place.to_string(), "s3://prices/archive/");
    }
}
