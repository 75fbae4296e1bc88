//! Backup and restore of the streams, while the pipeline runs.
//!
//! The server's own snapshot is not used. It copies a stream up to a sequence but leaves out whatever is replaced while it
//! copies, and a checkpoint is replaced with every commit; and it restores message by message with a sync each, giving up
//! after five seconds without progress. Here a stream is read like any reader reads it, up to its very end: what was
//! replaced meanwhile came again later. It is restored in atomic batches, every message at the sequence that it had.
//!
//! [`take`] makes a folder, [`prepare`] checks one, and [`Restoration::carry_out`] makes streams of it.

use std::io;
use std::path::PathBuf;

use bus::Error;
use bus::stream::{ARTIFACTS_STREAM, READERS_STREAM, Stream};

mod file;
mod loading;
mod manifest;
mod reading;
mod restoring;
mod survivors;
mod taking;
mod unfinished;

pub use manifest::{Entry, Manifest};
pub use restoring::{Restoration, prepare};
pub use taking::take;

/// What a backup holds, upstream first. It is read from the end, so that whatever a position refers to is in it. Leases are
/// not worth keeping: who runs what is about processes that live now.
pub const CONTENT: [&str; 6] = [
    Stream::Feed.name(),
    Stream::Market.name(),
    Stream::Stats.name(),
    ARTIFACTS_STREAM,
    Stream::Forecast.name(),
    READERS_STREAM,
];

/// What can go wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something on the NATS side.
    #[error(transparent)]
    Bus(#[from] Error),
    /// A file or folder of the backup cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// `read`, `write`, `create`, `lock`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Where a backup should go there is something already.
    #[error("{} exists already: name a folder that does not exist yet", .0.display())]
    Exists(PathBuf),
    /// A backup is not what was written.
    #[error("{} is not a whole backup ({detail}): nothing was restored from it", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// What should be restored exists.
    #[error(
        "there are streams already ({streams}): nothing was restored. To give them up, stop nats-server, move its store \
         away and start it again; then run `topology restore` again"
    )]
    InTheWay {
        /// Their names.
        streams: String,
    },
    /// Results are written faster than they are read.
    #[error("{stream} is written faster than it can be read: take the backup when less is replayed")]
    Outrun {
        /// The stream.
        stream: String,
    },
    /// A restored stream does not hold what the backup says.
    #[error("{stream} came out differently ({detail}): run `topology restore` again")]
    CameOutDifferent {
        /// The stream.
        stream: String,
        /// What differs.
        detail: String,
    },
}

impl BackupError {
    /// For `map_err` around file access.
    fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { action, path, error }
    }
}
