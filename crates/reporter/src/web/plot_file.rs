//! The plot as the page serves it. It is read once for each version, and all answers share those bytes: many slow clients
//! must not hold a copy each.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Mutex;

/// A larger file was not made by `reporter plot`.
const BYTES_MAX: u64 = 32 << 20;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A file that `reporter plot` makes and replaces.
#[derive(Debug)]
pub(super) struct PlotFile {
    path: PathBuf,
    /// What was read last, and from which file.
    read: Mutex<Option<(Replacement, Bytes)>>,
}

/// Tells one file from its replacement, also when both were written within the same tick of the clock.
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

    /// When it was last replaced; none when there is none.
    pub(super) fn version(&self) -> Option<u64> {
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok()?;
        Some(changed.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64)
    }

    /// The picture; none when there is none.
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
