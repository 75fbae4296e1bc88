//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Between a file's final name and the process that is writing it: `.model.ubj.tmp-4711`.
const TEMPORARY_MARK: &str = ".tmp-";

/// Writes a file so that under its name there is the old content or the new, never a part: into a temporary file of the
/// same folder → fsync → rename → fsync of the folder. The folder must exist.
///
/// # Errors
/// What `write` returns, or why the file could not be created, synced or renamed. Then no file is left behind, and an
/// earlier one under the name is as it was.
pub fn atomic_write<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    Unnamed::write(path, write)?.name()?;
    sync_folder(path)?;
    Ok(())
}

/// As [`atomic_write`], for a file of a folder that is named when it is written: `write` returns its name.
///
/// # Errors
/// As [`atomic_write`].
pub fn atomic_write_as<E: From<io::Error>>(
    folder: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<String, E>,
) -> Result<(), E> {
    let mut name = String::new();
    let mut unnamed = Unnamed::write(&folder.join("unnamed"), |file| {
        name = write(file)?;
        Ok::<_, E>(())
    })?;
    unnamed.path = folder.join(name);
    unnamed.name()?;
    sync(folder)?;
    Ok(())
}

/// Writes files that belong together: none gets its name before all are on the disk, so that what can go wrong (a full
/// disk) goes wrong while the old files still stand. They get their names in the given order; a process that is killed
/// between two of them leaves both old and new files, so the last one should tell the others' digests.
///
/// # Errors
/// Why a file could not be created, written, synced or renamed, with its path.
pub fn atomic_write_all(folder: &Path, files: &[(&str, &[u8])]) -> Result<(), (PathBuf, io::Error)> {
    let mut written = Vec::with_capacity(files.len());
    for (name, content) in files {
        let path = folder.join(name);
        let file = Unnamed::write(&path, |to| to.write_all(content));
        written.push(file.map_err(|error: io::Error| (path, error))?);
    }
    for file in written {
        let path = file.path.clone();
        file.name().map_err(|error| (path, error))?;
    }
    sync(folder).map_err(|error| (folder.to_owned(), error))
}

/// A file that is complete and synced but for its name. Removed when dropped without one.
struct Unnamed {
    path: PathBuf,
    temporary: PathBuf,
}

impl Unnamed {
    fn write<E: From<io::Error>>(
        path: &Path,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let unnamed = Self { path: path.to_owned(), temporary: temporary_path(path)? };
        let mut file = BufWriter::new(File::create(&unnamed.temporary)?);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        Ok(unnamed)
    }

    fn name(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        // It may have its name by now, or never have been made; and the error that matters is the first one.
        drop(fs::remove_file(&self.temporary));
    }
}

/// Makes the names in the folder of `path` last: a rename or removal survives a power cut only after this.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    sync(folder_of(path))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes what killed processes left behind of files that were never finished. Only for a folder that nobody else is
/// writing to.
///
/// # Errors
/// When the folder cannot be read, or a file not removed.
pub fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with('.') && name.contains(TEMPORARY_MARK)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"))?;
    Ok(folder_of(path).join(format!(".{name}{TEMPORARY_MARK}{}", std::process::id())))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.ubj");
        let write = |text: &'static [u8]| atomic_write(&path, |file| file.write_all(text));
        write(b"old").expect("written");
        let failed = atomic_write(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(failed.expect_err("it failed").to_string(), "disk full");
        assert_eq!(fs::read(&path).expect("readable"), b"old");
        write(b"new").expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn files_that_belong_together_change_together_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read(folder.path().join(name)).expect("readable");
        atomic_write_all(folder.path(), &[("model", b"1"), ("card", b"1")]).expect("written");
        // The last one cannot be written: its name belongs to a folder that is not there.
        let failed = atomic_write_all(folder.path(), &[("model", b"2"), ("card", b"2"), ("none/extra", b"2")]);
        assert_eq!(failed.expect_err("it failed").0, folder.path().join("none/extra"));
        assert_eq!((read("model"), read("card")), (b"1".to_vec(), b"1".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
        atomic_write_all(folder.path(), &[("model", b"2"), ("card", b"2")]).expect("written");
        assert_eq!((read("model"), read("card")), (b"2".to_vec(), b"2".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed_and_other_files_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [".ticks-1-2.parquet.tmp-99", "ticks-1-2.parquet", ".hidden"] {
            fs::write(folder.path().join(name), b"x").expect("written");
        }
        remove_unfinished(folder.path()).expect("cleaned");
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).expect("readable").map(|e| e.expect("entry").file_name()).collect();
        left.sort();
        assert_eq!(left, [".hidden", "ticks-1-2.parquet"]);
    }
}
