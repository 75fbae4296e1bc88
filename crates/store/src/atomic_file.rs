//! Atomic file writes: a file appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Separates a file's final name from the id of the writing process: `.model.ubj.tmp-4711`.
const TEMPORARY_MARK: &str = ".tmp-";

/// Writes a file atomically: its name holds the old content or the new, never a part. The steps are: write a temporary
/// file in the same folder, fsync it, rename it, fsync the folder. The folder must exist.
///
/// # Errors
/// The error of `write`, or the failure to create, sync or rename the file. In each case no temporary file remains, and
/// an earlier file of this name is unchanged.
pub fn atomic_write<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    Unnamed::write(path, write)?.name()?;
    sync_folder(path)?;
    Ok(())
}

/// Writes a file atomically like [`atomic_write`], where `write` returns the file's name, for example because the name
/// holds a digest.
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

/// Writes files that belong together. All of them are written and synced before the first is renamed, so that a full
/// disk leaves the old files as they were. The renames happen in the given order. A process that is killed between two
/// of them leaves old and new files side by side, so the last file should hold the digests of the others.
///
/// # Errors
/// The path of the file that could not be created, written, synced or renamed, and the cause.
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

/// A file that is complete and synced, but still has its temporary name. Dropping it removes it.
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
        // The file may already be renamed or may never have existed; an error here would hide the first one.
        drop(fs::remove_file(&self.temporary));
    }
}

/// Makes renames and removals in the folder of `path` durable: they survive a power cut only after this.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    sync(folder_of(path))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes the temporary files that killed processes left in a folder. No other process may be writing to the folder.
///
/// # Errors
/// The folder cannot be read, or a file cannot be removed.
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
        // The last file cannot be written, because its folder does not exist.
        let failed = atomic_write_all(folder.path(), &[("model", b"2"), ("card", b"2"), ("none/extra", b"2")]);
        assert_eq!(failed.expect_err("it failed").0, folder.path().join("none/extra"));
        assert_eq!((read("model"), read("card")), (b"1".to_vec(), b"1".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
        atomic_write_all(folder.path(), &[("model", b"2"), ("card", b"2")]).expect("written");
        assert_eq!((read("model"), read("card")), (b"2".to_vec(), b"2".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 2);
    }

    /// Other files of the folder are kept, hidden ones too.
    #[test]
    fn leftovers_of_a_killed_process_are_removed() {
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
