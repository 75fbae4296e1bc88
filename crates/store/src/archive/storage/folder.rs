//! Archive storage in a folder.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{Content, Fill, Storage, StorageError, StoredFile, WriterClaim};
use crate::atomic_file::{atomic_write_as, remove_unfinished, sync_folder};
use crate::paths;

/// A folder, which need not exist yet. Its writer holds a file lock, which the system releases when the process ends.
#[derive(Debug, Clone)]
pub struct FolderStorage(PathBuf);

impl FolderStorage {
    /// Returns the storage in the folder with this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl fmt::Display for FolderStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Storage for FolderStorage {
    fn claim(&self) -> Result<WriterClaim, StorageError> {
        fs::create_dir_all(&self.0).map_err(|error| at(&self.0, error))?;
        let path = self.0.join(paths::ARCHIVE_LOCK);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(|error| at(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::Locked(self.to_string())),
            Err(TryLockError::Error(error)) => return Err(at(&path, error)),
        }
        let id = known_id(&mut file).map_err(|error| at(&path, error))?;
        remove_unfinished(&self.0).map_err(|error| at(&self.0, error))?;
        Ok(WriterClaim { id, _lock: Some(file) })
    }

    fn list(&self) -> Result<Vec<StoredFile>, StorageError> {
        let mut files = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries.map_err(|error| at(&self.0, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| at(&self.0, error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) => files.push(StoredFile { name, bytes: metadata.len() }),
                // Removed between the listing and this call.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&entry.path(), error)),
            }
        }
        Ok(files)
    }

    fn open(&self, name: &str) -> Result<Option<Content>, StorageError> {
        let path = self.0.join(name);
        match File::open(&path) {
            Ok(file) => Ok(Some(Content::File(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, error)),
        }
    }

    fn put(&self, fill: &mut Fill<'_>) -> Result<(), StorageError> {
        atomic_write_as(&self.0, |file| fill(file)).map_err(|error| at(&self.0, error))
    }

    fn remove(&self, names: &[String]) -> Result<(), StorageError> {
        for name in names {
            let path = self.0.join(name);
            fs::remove_file(&path).map_err(|error| at(&path, error))?;
        }
        sync_folder(&self.0.join(paths::ARCHIVE_LOCK)).map_err(|error| at(&self.0, error))
    }

    fn full_name(&self) -> String {
        self.0.canonicalize().unwrap_or_else(|_| self.0.clone()).display().to_string()
    }
}

fn at(path: &Path, error: io::Error) -> StorageError {
    StorageError::Io { path: path.to_owned(), error }
}

/// Reads the archive's id from the lock file. Writes a new id when there is none, or only a part of one.
fn known_id(file: &mut File) -> io::Result<String> {
    let mut known = String::new();
    file.read_to_string(&mut known)?;
    if super::is_id(&known) {
        return Ok(known);
    }
    let id = super::new_id();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    Ok(id)
}
