//! Manifest of a backup. It is written last, so a folder without it is no backup.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bus::protocol::LogId;
use bus::stream::{ARTIFACTS_STREAM, BUDGETS_STREAM, READERS_STREAM, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::BackupError;
use super::file::hex;

/// The streams of a backup, upstream first. They are read from the last to the first, so that everything that a
/// position refers to is in the backup. Leases are not kept: they describe processes that run now.
pub const CONTENT: [&str; 7] = [
    Stream::Feed.name(),
    Stream::Market.name(),
    Stream::Stats.name(),
    ARTIFACTS_STREAM,
    Stream::Forecast.name(),
    READERS_STREAM,
    BUDGETS_STREAM,
];

/// File name in the folder.
const NAME: &str = "manifest.json";
/// Format of the files beside it. Other formats are refused.
const FORMAT: u32 = 4;

/// Contents of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the files.
    pub format: u32,
    /// Version of the program that made the backup.
    pub made_by: String,
    /// Start of the backup, in UTC.
    pub made_at: String,
    /// Its streams, as in [`CONTENT`].
    pub streams: Vec<ManifestEntry>,
    /// SHA-256 of all fields above.
    pub sha256: String,
}

/// One stream of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Stream name.
    pub stream: String,
    /// Number of messages.
    pub messages: u64,
    /// Bytes of all payloads.
    pub bytes: u64,
    /// First sequence; one after the last sequence when the stream is empty.
    pub first_seq: u64,
    /// Last sequence assigned.
    pub last_seq: u64,
    /// Identity of the log.
    pub log: LogId,
    /// Time when the server created the stream.
    pub created: String,
    /// Definition in the server's own form.
    pub definition: Value,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the file in bytes.
    pub file_bytes: u64,
}

impl ManifestEntry {
    /// Path of the message file.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        path_of(folder, &self.stream)
    }
}

/// Path of a stream's message file.
pub(super) fn path_of(folder: &Path, stream: &str) -> PathBuf {
    folder.join(format!("{stream}.messages.gz"))
}

impl Manifest {
    pub(super) fn new(made_at: String, streams: Vec<ManifestEntry>) -> Self {
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
    /// The manifest is missing, was changed, or has another format.
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
