//! Errors of backup and restore.

use std::io;
use std::path::PathBuf;

use bus::Error;

/// Errors of backup and restore.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// An error of NATS.
    #[error(transparent)]
    Bus(#[from] Error),
    /// A file or folder of the backup cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// `read`, `write`, `create`, `lock`.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The target of a backup exists already.
    #[error("{} exists already: name a folder that does not exist yet", .0.display())]
    Exists(PathBuf),
    /// A backup is incomplete or was changed.
    #[error("{} is not a whole backup ({detail}): nothing was restored from it", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// The difference found.
        detail: String,
    },
    /// A stream of the backup exists on the server.
    #[error(
        "there are streams already ({streams}): nothing was restored. To give them up, stop nats-server, move its store \
         away and start it again; then run `topology restore` again"
    )]
    InTheWay {
        /// Their names.
        streams: String,
    },
    /// Results are written faster than they can be read.
    #[error("{stream} is written faster than it can be read: take the backup while fewer ticks are replayed")]
    Outrun {
        /// The stream.
        stream: String,
    },
    /// A restored stream differs from the backup.
    #[error("restored {stream} differs from the backup ({detail}): run `topology restore` again")]
    CameOutDifferent {
        /// The stream.
        stream: String,
        /// The difference.
        detail: String,
    },
}

impl BackupError {
    /// Builds the error of a file access, for `map_err`.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { action, path, error }
    }
}
