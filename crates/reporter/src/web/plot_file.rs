//! The plot file as the page serves it. Each version is read once, and all answers share its bytes, so that many slow
//! clients do not hold a copy each.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Mutex;

/// Size of the file in bytes, at most; `reporter plot` writes smaller ones.
const BYTES_MAX: u64 = 32 << 20;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The file that `reporter plot` writes and replaces.
#[derive(Debug)]
pub(super) struct PlotFile {
    path: PathBuf,
    /// The bytes that were read last, and the version they are from.
    read: Mutex<Option<(Replacement, Bytes)>>,
}

/// Version of a file. It tells a file from its replacement, even if both were written within one clock tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Replacement {
    inode: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl From<&Metadata> for Replacement {
    fn from(file: &Metadata) -> Self {
        Self { inode: file.ino(), bytes: file.len(), changed: file.modified().ok() }
    }
}

impl PlotFile {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// Returns the time of the last replacement in milliseconds; `None` without a file.
    pub(super) fn version(&self) -> Option<u64> {
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok()?;
        Some(changed.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64)
    }

    /// Returns the bytes of the plot; `None` without a file.
    pub(super) async fn bytes(&self) -> Option<Bytes> {
        let mut read = self.read.lock().await;
        let file = tokio::fs::metadata(&self.path).await.ok()?;
        let replacement = Replacement::from(&file);
        if let Some((of, bytes)) = &*read
            && *of == replacement
        {
            return Some(bytes.clone());
        }
        if file.len() > BYTES_MAX {
            return None;
        }
        let bytes = tokio::fs::read(&self.path).await.ok().filter(|bytes| bytes.starts_with(SIGNATURE))?;
        let (_, bytes) = read.insert((replacement, bytes.into()));
        Some(bytes.clone())
    }
}
