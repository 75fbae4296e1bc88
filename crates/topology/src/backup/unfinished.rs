//! Hidden folder of a backup in progress. It is locked while its process lives; the next backup removes it if the
//! process was killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::BackupError;

/// Between a backup's final name and the random digits that make its hidden folder unique:
/// `.monday.candlewire-backup-1f2e3d4c5b6a7988`. No other program uses such names, so the folder may be removed.
const MARK: &str = ".candlewire-backup-";
/// Length of the random digits.
const DIGITS: usize = 16;
/// The lock file in the hidden folder. A process id would not do: it is only valid inside its namespace.
const LOCK: &str = ".lock";

/// A folder that is being filled. Removed when dropped before it is renamed.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    /// Locked while open.
    _lock: File,
}

impl Unfinished {
    /// Creates a hidden folder beside the future backup, and removes those of killed backups there.
    ///
    /// # Errors
    /// A folder cannot be created or locked.
    pub(super) fn create(folder: &Path) -> Result<Self, BackupError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let parent = parent_of(folder);
        fs::create_dir_all(parent).map_err(BackupError::file("create", parent))?;
        remove_left(parent);
        loop {
            let path = parent.join(format!(".{name}{MARK}{:0DIGITS$x}", rand::random::<u64>()));
            fs::create_dir(&path).map_err(BackupError::file("create", &path))?;
            // `None`: another backup took the folder for a leftover before it was locked, and removed it while empty.
            if let Some(lock) = lock(&path).map_err(BackupError::file("lock", &path))? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Current path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to the finished backup.
    ///
    /// # Errors
    /// The folder cannot be renamed, or the rename cannot be synced.
    pub(super) fn name(self, folder: &Path) -> Result<(), BackupError> {
        let parent = parent_of(folder);
        fs::rename(&self.path, folder).map_err(BackupError::file("create", folder))?;
        // Not earlier: an unlocked hidden folder looks like a leftover. The backup is valid with the lock file too.
        drop(fs::remove_file(folder.join(LOCK)));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(BackupError::file("write", parent))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // The folder may have been renamed already; and the first error is the one that matters.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Locks a hidden folder. `None` when another process holds the lock or has removed the folder.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        // A lock on a deleted file protects nothing.
        Ok(()) => Ok(path.exists().then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the folders left by killed backups, of every name. A folder that cannot be removed does not stop the backup.
fn remove_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
        if !is_folder || !entry.file_name().to_str().is_some_and(is_hidden_name) {
            continue;
        }
        let path = entry.path();
        // A folder that cannot be locked belongs to a running backup.
        if let Ok(Some(_lock)) = lock(&path)
            && let Err(error) = fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "the folder of a killed backup cannot be removed: remove it by hand");
        }
    }
}

fn is_hidden_name(name: &str) -> bool {
    let digits = name.strip_prefix('.').and_then(|name| name.rsplit_once(MARK)).map(|(_, digits)| digits);
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hidden_folders_of_dead_backups_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let living = Unfinished::create(&at("monday")).unwrap();
        // Killed during the copy, before its lock file was created, and while it was being removed.
        let left = |name: &str, file: Option<&str>| {
            let path = at(&format!(".{name}{MARK}0123456789abcdef"));
            fs::create_dir(&path).unwrap();
            file.iter().for_each(|file| fs::write(path.join(file), "x").unwrap());
            path
        };
        let dead = [left("sunday", Some(LOCK)), left("saturday", None), left("friday", Some("FEED.messages.gz"))];
        // Folders of other programs.
        let foreign = [".etc.backup-2024", ".x.candlewire-backup-1", "x.candlewire-backup-0123456789abcdef"].map(at);
        foreign.iter().for_each(|path| fs::create_dir(path).unwrap());
        let linked = at(&format!(".link{MARK}0123456789abcdef"));
        std::os::unix::fs::symlink(&foreign[0], &linked).unwrap();

        let next = Unfinished::create(&at("tuesday")).unwrap();
        assert!(dead.iter().all(|path| !path.exists()), "{dead:?}");
        assert!(foreign.iter().all(|path| path.exists()) && linked.is_symlink());
        assert!(living.path().exists());
        for (unfinished, name) in [(living, "monday"), (next, "tuesday")] {
            let hidden = unfinished.path().to_owned();
            unfinished.name(&at(name)).unwrap();
            assert!(!hidden.exists() && fs::read_dir(at(name)).unwrap().next().is_none(), "{name}");
        }
    }

    #[test]
    fn an_abandoned_backup_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        drop(Unfinished::create(&parent.path().join("monday")).unwrap());
        assert!(fs::read_dir(parent.path()).unwrap().next().is_none());
    }
}
