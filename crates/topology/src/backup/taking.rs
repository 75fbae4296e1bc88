//! Takes a backup into a hidden folder, which is renamed when everything is on disk.

use std::path::Path;
use std::time::SystemTime;

use bus::Connection;
use bus::stream::Stream;
use bus::topology::stream_info;

use super::error::BackupError;
use super::file::Writer;
use super::manifest::{CONTENT, Manifest, ManifestEntry, path_of};
use super::reading;
use super::survivors::Survivors;
use super::unfinished::Unfinished;

/// Writes a backup of all streams into a new folder, and calls `done` after each. The pipeline may run meanwhile. A
/// backup that fails or is dropped leaves nothing; the remains of a killed one are removed by the next backup.
///
/// # Errors
/// The folder exists or cannot be written; every error of reading.
pub async fn take(
    connection: &Connection,
    folder: &Path,
    mut done: impl FnMut(&ManifestEntry),
) -> Result<Manifest, BackupError> {
    if folder.exists() {
        return Err(BackupError::Exists(folder.to_owned()));
    }
    let unfinished = Unfinished::create(folder)?;
    let made_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut streams = Vec::new();
    for name in CONTENT.into_iter().rev() {
        let entry = copy(connection, name, unfinished.path()).await?;
        done(&entry);
        streams.push(entry);
    }
    streams.reverse();
    let manifest = Manifest::new(made_at, streams);
    manifest.write(unfinished.path())?;
    unfinished.name(folder)?;
    Ok(manifest)
}

/// Copies one stream into its file.
async fn copy(connection: &Connection, name: &str, folder: &Path) -> Result<ManifestEntry, BackupError> {
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
    Ok(ManifestEntry {
        stream: name.to_owned(),
        messages: survivors.messages(),
        bytes: survivors.bytes(),
        first_seq: survivors.first_seq().unwrap_or(last_seq + 1),
        last_seq,
        log: info.log()?,
        created: info.created.clone(),
        definition: info.definition(),
        sha256,
        file_bytes,
    })
}
