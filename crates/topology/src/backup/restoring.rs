//! Restores streams from a backup: fills all of them hidden, then makes all of them visible.

use std::path::{Path, PathBuf};

use bus::Error;
use bus::connect::{Connection, nothing};
use bus::stream::LEASES_STREAM;
use bus::topology::{Limits, StreamInfo, any_stream_info, check_room, create, definitions, partitions_of, reveal};
use serde_json::{Value, json};

use super::error::BackupError;
use super::file::Records;
use super::loading::{Loader, hidden};
use super::manifest::{Manifest, ManifestEntry};
use super::survivors::Survivors;

/// A verified backup, ready to be restored.
#[derive(Debug)]
pub struct Restoration {
    folder: PathBuf,
    manifest: Manifest,
    survivors: Vec<Survivors>,
}

/// Reads a whole backup and verifies it against its manifest.
///
/// # Errors
/// A part of the backup is missing, cut short or changed.
pub fn prepare(folder: &Path) -> Result<Restoration, BackupError> {
    let manifest = Manifest::read(folder)?;
    let survivors = manifest.streams.iter().map(|entry| verify(folder, entry)).collect::<Result<_, _>>()?;
    Ok(Restoration { folder: folder.to_owned(), manifest, survivors })
}

fn verify(folder: &Path, entry: &ManifestEntry) -> Result<Survivors, BackupError> {
    let path = entry.path(folder);
    let damaged = |detail: String| BackupError::Damaged { path: folder.to_owned(), detail };
    let in_file = |detail: &dyn std::fmt::Display| damaged(format!("{}: {detail}", path.display()));
    let mut records = Records::open(&path).map_err(|error| in_file(&error))?;
    let mut survivors = Survivors::default();
    let mut last = 0;
    while let Some(record) = records.next().map_err(|error| in_file(&error))? {
        if record.seq <= last {
            return Err(in_file(&"its messages are not in order"));
        }
        last = record.seq;
        survivors.count(&record);
    }
    if records.digest().map_err(|error| in_file(&error))? != entry.sha256 {
        return Err(in_file(&"its SHA-256 differs"));
    }
    if survivors.messages() != entry.messages || last > entry.last_seq {
        return Err(in_file(&"its messages differ from the manifest"));
    }
    Ok(survivors)
}

impl Restoration {
    /// The manifest of the backup.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Restores every stream, with `replicas` copies or as many as it had, and calls `done` after each. Streams become
    /// visible only once all are filled. An interrupted restore can be repeated.
    ///
    /// # Errors
    /// A stream exists, a limit of the server is too small, or a restored stream differs from the backup.
    pub async fn carry_out(
        &self,
        connection: &Connection,
        replicas: Option<u32>,
        mut done: impl FnMut(&ManifestEntry),
    ) -> Result<(), BackupError> {
        let definitions: Vec<Value> =
            self.manifest.streams.iter().map(|entry| with_replicas(&entry.definition, replicas)).collect();
        self.clear(connection).await?;
        let bytes = definitions.iter().filter_map(|definition| definition["max_bytes"].as_u64()).sum();
        let copies = definitions.iter().filter_map(|definition| definition["num_replicas"].as_u64()).max();
        check_room(connection, bytes, copies.unwrap_or(1) as u32).await?;
        let mut filled = Vec::new();
        for ((entry, survivors), definition) in self.manifest.streams.iter().zip(&self.survivors).zip(&definitions) {
            let info = self.fill(connection, entry, survivors, definition).await?;
            done(entry);
            filled.push(info);
        }
        for ((entry, info), mut definition) in self.manifest.streams.iter().zip(&filled).zip(definitions) {
            definition["first_seq"] = info.config["first_seq"].clone();
            let log = entry.log.clone().restored(entry.last_seq, &info.created);
            reveal(connection, definition, &log).await?;
        }
        Ok(self.create_leases(connection, replicas).await?)
    }

    /// Refuses when a stream exists; removes the remains of an interrupted restore.
    async fn clear(&self, connection: &Connection) -> Result<(), BackupError> {
        let (mut in_the_way, mut left) = (Vec::new(), Vec::new());
        for name in self.manifest.streams.iter().map(|entry| entry.stream.as_str()) {
            match any_stream_info(connection, name).await {
                Ok(info) if info.is_being_restored() => left.push(name),
                Ok(_) => in_the_way.push(name),
                Err(Error::StreamMissing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !in_the_way.is_empty() {
            return Err(BackupError::InTheWay { streams: in_the_way.join(", ") });
        }
        for name in left {
            connection.api::<Value>(&format!("STREAM.DELETE.{name}"), &nothing()).await?;
        }
        Ok(())
    }

    async fn fill(
        &self,
        connection: &Connection,
        entry: &ManifestEntry,
        survivors: &Survivors,
        definition: &Value,
    ) -> Result<StreamInfo, BackupError> {
        hidden(connection, definition, entry.first_seq).await?;
        let mut loader = Loader::new(connection, &entry.stream, entry.first_seq);
        let path = entry.path(&self.folder);
        let mut records = Records::open(&path).map_err(BackupError::file("read", &path))?;
        while let Some(record) = records.next().map_err(BackupError::file("read", &path))? {
            if survivors.has(&record) {
                loader.put(record).await?;
            }
        }
        loader.fill_to(entry.last_seq).await?;
        let info = loader.finish().await?;
        let (state, wanted) = (info.state, (entry.messages, entry.first_seq, entry.last_seq));
        if (state.messages, state.first_seq, state.last_seq) != wanted {
            let (messages, last) = (state.messages, state.last_seq);
            let (first, of) = (state.first_seq, entry.messages);
            let detail = format!(
                "{messages} messages from {first} to {last} instead of {of} from {} to {}",
                entry.first_seq, entry.last_seq
            );
            return Err(BackupError::CameOutDifferent { stream: entry.stream.clone(), detail });
        }
        Ok(info)
    }

    /// The leases bucket starts empty.
    async fn create_leases(&self, connection: &Connection, replicas: Option<u32>) -> Result<(), Error> {
        match any_stream_info(connection, LEASES_STREAM).await {
            Err(Error::StreamMissing { .. }) => {}
            found => return found.map(drop),
        }
        let feed = &self.manifest.streams[0].definition;
        let replicas = replicas.or(feed["num_replicas"].as_u64().map(|replicas| replicas as u32));
        let limits = Limits::default();
        let replicas = replicas.unwrap_or(limits.replicas);
        let partitions = partitions_of(feed).unwrap_or(limits.partitions);
        let all = definitions(&Limits { partitions, replicas, ..limits });
        match all.iter().find(|definition| definition["name"] == LEASES_STREAM) {
            Some(leases) => create(connection, leases).await,
            None => Ok(()),
        }
    }
}

fn with_replicas(definition: &Value, replicas: Option<u32>) -> Value {
    let mut definition = definition.clone();
    if let Some(replicas) = replicas {
        definition["num_replicas"] = json!(replicas);
    }
    definition
}
