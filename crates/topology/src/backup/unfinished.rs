//! The folder of a backup under way: hidden, locked for as long as its maker lives, and removed by the next backup when its
//! maker was killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::BackupError;

/// Between a backup's final name and the random digits that tell its hidden folder from others:
/// `.monday.candlewire-backup-1f2e3d4c5b6a7988`. No other program names a folder like this, so it may be removed.
const MARK: &str = ".candlewire-backup-";
/// Length of the random digits.
const DIGITS: usize = 16;
/// The file in the hidden folder that its maker holds locked. A process id would say less: it means something only to
/// processes of the same namespace.
const LOCK: &str = ".lock";

/// A folder that is being filled. Removed when dropped without its name.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Unfinished {
    /// Makes a hidden folder beside the one that a backup is for, and removes those of backups that were killed there.
    ///
    /// # Errors
    /// When a folder cannot be made or locked.
    pub(super) fn create(folder: &Path) -> Result<Self, BackupError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let parent = parent_of(folder);
        fs::create_dir_all(parent).map_err(BackupError::file("create", parent))?;
        remove_left(parent);
        loop {
            let path = parent.join(format!(".{name}{MARK}{:0DIGITS$x}", rand::random::<u64>()));
            fs::create_dir(&path).map_err(BackupError::file("create", &path))?;
            // None: another backup took it for one that was left, in the moment before it was locked. It was empty.
            if let Some(lock) = lock(&path).map_err(BackupError::file("lock", &path))? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it the name of the backup, which is whole.
    ///
    /// # Errors
    /// When it cannot be renamed, or the name not be made to last.
    pub(super) fn name(self, folder: &Path) -> Result<(), BackupError> {
        let parent = parent_of(folder);
        fs::rename(&self.path, folder).map_err(BackupError::file("create", folder))?;
        // Not earlier: without its lock the hidden folder would look like one that was left. A backup is whole with it too.
        drop(fs::remove_file(folder.join(LOCK)));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(BackupError::file("write", parent))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It may have its name by now; and the error that matters is the first one.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Locks a hidden folder. None when another process has it, or has removed it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = match File::options().create(true).truncate(false).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        // The lock of a file that is gone locks nothing.
        Ok(()) => Ok(path.exists().then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the folders that killed backups left, of every name. One that cannot be removed is no reason not to go on.
fn remove_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|file_type| file_type.is_dir());
        if !is_folder || !entry.file_name().to_str().is_some_and(is_hidden_name) {
            continue;
        }
        let path = entry.path();
        // Its maker lives when it cannot be locked.
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
        // Killed in the middle, before its lock was made, and while it was removed.
        let left = |name: &str, file: Option<&str>| {
            let path = at(&format!(".{name}{MARK}0123456789abcdef"));
            fs::create_dir(&path).unwrap();
            file.iter().for_each(|file| fs::write(path.join(file), "x").unwrap());
            path
        };
        let dead = [left("sunday", Some(LOCK)), left("saturday", None), left("friday", Some("FEED.messages.gz"))];
        // Folders of others.
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
    fn a_backup_that_is_given_up_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        drop(Unfinished::create(&parent.path().join("monday")).unwrap());
        assert!(fs::read_dir(parent.path()).unwrap().next().is_none());
    }
}
