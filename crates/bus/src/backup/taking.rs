//! Takes a backup: into a folder of another name, which gets its own when everything is on the disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::file::Writer;
use super::manifest::{Entry, Manifest, path_of};
use super::reading;
use super::survivors::Survivors;
use super::{BackupError, CONTENT};
use crate::connect::Connection;
use crate::topology::{Stream, stream_info};

/// Between a folder's final name and the process that is filling it: `.monday.backup-4711`.
const UNFINISHED: &str = ".backup-";

/// Writes a backup of all streams into a new folder, and tells about each when it is done. The pipeline may go on
/// meanwhile. A backup that fails, or is dropped, leaves nothing behind.
///
/// # Errors
/// When the folder exists or cannot be written; whatever reading can meet.
pub async fn take(
    connection: &Connection,
    folder: &Path,
    mut done: impl FnMut(&Entry),
) -> Result<Manifest, BackupError> {
    if folder.exists() {
        return Err(BackupError::Exists(folder.to_owned()));
    }
    let unfinished = Unfinished::create(folder)?;
    let made_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut streams = Vec::new();
    for name in CONTENT.into_iter().rev() {
        let entry = copy(connection, name, &unfinished.path).await?;
        done(&entry);
        streams.push(entry);
    }
    streams.reverse();
    let manifest = Manifest::new(made_at, streams);
    manifest.write(&unfinished.path)?;
    unfinished.name(folder)?;
    Ok(manifest)
}

/// Copies one stream into its file.
async fn copy(connection: &Connection, name: &str, folder: &Path) -> Result<Entry, BackupError> {
    let path = path_of(folder, name);
    let info = stream_info(connection, name).await?;
    let mut writer = Writer::create(&path).map_err(BackupError::file("write", &path))?;
    let mut survivors = Survivors::default();
    let mut last_seq = info.state.last_seq;
    let each = |record: &_| {
        writer.write(record).map_err(BackupError::file("write", &path))?;
        survivors.count(record);
        last_seq = last_seq.max(record.seq);
        Ok(())
    };
    match Stream::ALL.into_iter().find(|stream| stream.name() == name) {
        Some(stream) => reading::records(connection, stream, &info, each).await?,
        None => reading::bucket(connection, &info, each).await?,
    }
    let (sha256, file_bytes) = writer.finish().map_err(BackupError::file("write", &path))?;
    Ok(Entry {
        stream: name.to_owned(),
        messages: survivors.messages(),
        bytes: survivors.bytes(),
        first_seq: survivors.first_seq().unwrap_or(last_seq + 1),
        last_seq,
        log: info.log(),
        created: info.created.clone(),
        definition: info.definition(),
        sha256,
        file_bytes,
    })
}

/// A folder that is being filled. Removed when dropped without its name.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn create(folder: &Path) -> Result<Self, BackupError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let parent = parent_of(folder);
        fs::create_dir_all(parent).map_err(BackupError::file("create", parent))?;
        remove_left(parent, &format!(".{name}{UNFINISHED}"));
        let path = parent.join(format!(".{name}{UNFINISHED}{}", std::process::id()));
        fs::create_dir(&path).map_err(BackupError::file("create", &path))?;
        Ok(Self { path })
    }

    fn name(self, folder: &Path) -> Result<(), BackupError> {
        let parent = parent_of(folder);
        fs::rename(&self.path, folder).map_err(BackupError::file("create", folder))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(BackupError::file("write", parent))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It may have its name by now; and the error that matters is the first one.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Removes what killed processes left of a backup of this name. What cannot be removed is no reason not to go on.
fn remove_left(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
