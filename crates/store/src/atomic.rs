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
    let temporary = temporary_path(path)?;
    let written = write_and_rename(path, &temporary, write);
    if written.is_err() {
        // It may not exist, and the error that matters is the first one.
        drop(fs::remove_file(&temporary));
    }
    written
}

fn write_and_rename<E: From<io::Error>>(
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = BufWriter::new(File::create(temporary)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    drop(file);
    fs::rename(temporary, path)?;
    sync_folder(path)?;
    Ok(())
}

/// Makes the names in the folder of `path` last: a rename or removal survives a power cut only after this.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
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
