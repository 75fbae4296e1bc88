//! What a backup says of itself: written last, so that a folder without it is none.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bus::protocol::LogId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::file::hex;
use super::{BackupError, CONTENT};

/// Its name in the folder.
const NAME: &str = "manifest.json";
/// The form of the files beside it. Another one is refused.
const FORMAT: u32 = 3;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the files.
    pub format: u32,
    /// Version of the program that made it.
    pub made_by: String,
    /// When it was begun, in UTC.
    pub made_at: String,
    /// Its streams, as in [`CONTENT`].
    pub streams: Vec<Entry>,
    /// SHA-256 of all that stands above.
    pub sha256: String,
}

/// One stream of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub stream: String,
    /// Messages that it had.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Sequence of the first of them; one after the last sequence when there is none.
    pub first_seq: u64,
    /// Last sequence given out.
    pub last_seq: u64,
    /// Which log it was.
    pub log: LogId,
    /// When the server created it.
    pub created: String,
    /// Its definition in the server's own form.
    pub definition: Value,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Bytes of its file.
    pub file_bytes: u64,
}

impl Entry {
    /// The file of its messages.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        path_of(folder, &self.stream)
    }
}

/// The file of a stream's messages.
pub(super) fn path_of(folder: &Path, stream: &str) -> PathBuf {
    folder.join(format!("{stream}.messages.gz"))
}

impl Manifest {
    pub(super) fn new(made_at: String, streams: Vec<Entry>) -> Self {
        let made_by = env!("CARGO_PKG_VERSION").to_owned();
        let mut manifest = Self { format: FORMAT, made_by, made_at, streams, sha256: String::new() };
        manifest.sha256 = manifest.digest();
        manifest
    }

    fn digest(&self) -> String {
        let content = (self.format, &self.made_by, &self.made_at, &self.streams);
        hex(Sha256::new_with_prefix(serde_json::to_vec(&content).expect("a manifest is plain data")))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(NAME);
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            File::open(folder)?.sync_all()
        };
        write().map_err(BackupError::file("write", &path))
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// When there is none, or it is not what was written, or of another form.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(NAME);
        let damaged = |detail: String| BackupError::Damaged { path: folder.to_owned(), detail };
        let text = fs::read(&path).map_err(BackupError::file("read", &path))?;
        let value: Value = serde_json::from_slice(&text).map_err(|error| damaged(format!("{NAME}: {error}")))?;
        let format = &value["format"];
        if format != FORMAT {
            let advice = "restore it with the version that made it, or take a new backup";
            return Err(damaged(format!("its format is {format}, this version reads {FORMAT}: {advice}")));
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| damaged(format!("{NAME}: {error}")))?;
        if manifest.digest() != manifest.sha256 {
            return Err(damaged(format!("{NAME} was changed")));
        }
        if !manifest.streams.iter().map(|entry| entry.stream.as_str()).eq(CONTENT) {
            return Err(damaged(format!("{NAME} names other streams")));
        }
        Ok(manifest)
    }
}
