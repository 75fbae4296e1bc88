//! `topology backup` and `topology restore`.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use bus::Connection;
use bus::stream::LEASES;
use service::{Code, Shutdown, WithCode};

use super::output;
use super::retry::until_answered;
use crate::backup::{BackupError, ManifestEntry, prepare, take};

/// Flags of `topology backup`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The pipeline may run meanwhile. Streams are copied downstream first, each up to its end, so every position in the backup \
refers to input that the backup has.

Not in it: the trainer's archive (a folder or bucket of its own: copy it before the streams), the configuration, the secrets, \
and the leases of running instances. Times of storing are not kept either: restored messages \
count as stored at the restore.")]
pub(crate) struct BackupArgs {
    /// Folder to create; it must not exist yet
    folder: PathBuf,
}

/// Flags of `topology restore`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Checks the whole backup first, and refuses when one of its streams exists. Services may run meanwhile: they wait until every \
stream is complete, or ask for a restart when they had read further than the backup reaches. An interrupted restore can be \
repeated. Limits are those of the backup: `topology apply` raises them.

An archive of the trainer that reaches further than the backup cannot be continued: restore it from a copy that is as old as \
the backup, or older, or name a new place with --archive.")]
pub(crate) struct RestoreArgs {
    /// Folder made by `topology backup`
    folder: PathBuf,
    /// Copies of each stream, 3 on a cluster; by default as many as they had
    #[arg(long, env = "CANDLEWIRE_REPLICAS", value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: Option<u32>,
    /// Only verify the backup; connects to no server
    #[arg(long)]
    check: bool,
}

/// Takes a backup; leaves nothing when stopped.
pub(crate) async fn backup(connection: &Connection, args: &BackupArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    let manifest = tokio::select! {
        taken = take(connection, &args.folder, print) => with_code(taken)?,
        () = shutdown.requested() => bail!("interrupted: no backup was made"),
    };
    let bytes: u64 = manifest.streams.iter().map(|entry| entry.file_bytes).sum();
    output::line(&format!("{}: whole, {bytes} bytes", args.folder.display()));
    Ok(())
}

/// Verifies a backup without a server.
pub(crate) fn check(args: &RestoreArgs) -> anyhow::Result<()> {
    let restoration = with_code(prepare(&args.folder))?;
    restoration.manifest().streams.iter().for_each(print);
    output::line(&format!("{}: whole, of {}", args.folder.display(), restoration.manifest().made_at));
    Ok(())
}

/// Restores a backup.
pub(crate) async fn restore(connection: &Connection, args: &RestoreArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    let restoration = with_code(prepare(&args.folder))?;
    until_answered(connection).await?;
    tokio::select! {
        restored = restoration.carry_out(connection, args.replicas, print) => with_code(restored)?,
        () = shutdown.requested() => bail!("interrupted: the restored streams stay hidden until `topology restore` is run again"),
    }
    output::line(&format!("restored from {}; the bucket {LEASES} starts empty", args.folder.display()));
    Ok(())
}

impl RestoreArgs {
    /// Whether the command needs a server.
    pub(crate) fn needs_server(&self) -> bool {
        !self.check
    }
}

/// Errors found before any change get the exit code of bad configuration when waiting cannot help.
fn with_code<T>(result: Result<T, BackupError>) -> anyhow::Result<T> {
    match result {
        Err(BackupError::Bus(error)) => Err(error.into()),
        Err(error @ (BackupError::Exists(_) | BackupError::Damaged { .. } | BackupError::InTheWay { .. })) => {
            Err(anyhow!(error)).exit_code(Code::BadConfig)
        }
        Err(error @ BackupError::File { action, .. }) if action != "write" => {
            Err(anyhow!(error)).exit_code(Code::BadConfig)
        }
        other => Ok(other?),
    }
}

fn print(entry: &ManifestEntry) {
    let ManifestEntry { stream, messages, first_seq, last_seq, file_bytes, .. } = entry;
    let range = match messages {
        0 => format!("nothing, next sequence {first_seq}"),
        _ => format!("{messages} messages, sequences {first_seq} to {last_seq}, {file_bytes} bytes"),
    };
    output::line(&format!("{stream:<14} {range}"));
}
