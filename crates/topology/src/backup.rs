//! Backup and restore of the streams while the pipeline runs.
//!
//! The server's own snapshot is not used. It copies a stream up to a sequence but omits messages that are replaced
//! during the copy, and every commit replaces a checkpoint; and it restores message by message with one sync each,
//! giving up after five seconds without progress. Here a stream is read up to its end like any reader reads it, so a
//! message replaced meanwhile is followed by its replacement. It is restored in atomic batches, every message at its
//! original sequence.
//!
//! [`take`] writes a backup folder, [`prepare`] verifies one, and [`Restoration::carry_out`] recreates the streams from
//! it.

mod error;
mod file;
mod loading;
mod manifest;
mod reading;
mod restoring;
mod survivors;
mod taking;
mod unfinished;

pub use error::BackupError;
pub use manifest::{CONTENT, Manifest, ManifestEntry};
pub use restoring::{Restoration, prepare};
pub use taking::take;
