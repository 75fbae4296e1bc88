//! UnitState of a unit during and after its run: a file written by its supervisor.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::root::Root;

/// Number and interval of a supervisor's attempts to lock its unit.
const LOCK_ATTEMPTS: u32 = 50;
const LOOK: Duration = Duration::from_millis(5);

/// UnitState of a unit in the terms of `systemctl is-active`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Active {
    /// Starting, or waiting to be restarted.
    Activating,
    /// Running; for a one-shot unit: finished successfully.
    Active,
    /// Stopping.
    Deactivating,
    /// Not running.
    Inactive,
    /// Ended with a failure.
    Failed,
}

impl Active {
    /// The term.
    pub fn word(self) -> &'static str {
        match self {
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Deactivating => "deactivating",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
        }
    }
}

/// Result of the last start request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// Not known yet.
    Waiting,
    /// Started.
    Done,
    /// The first attempt failed; there may be others.
    Failed,
}

/// The state of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// Whether it runs.
    pub active: Active,
    /// Result of the last start request.
    pub job: Job,
    /// The id of its process; 0 without one.
    pub main_pid: u32,
    /// Its last status text.
    pub status: String,
    /// Number of automatic restarts.
    pub restarts: u32,
    /// Result of its last end: success, exit-code, signal, timeout, watchdog or resources.
    pub result: String,
    /// The exit code of its last end, if any.
    pub exit_code: Option<i32>,
}

impl Default for UnitState {
    fn default() -> Self {
        Self {
            active: Active::Inactive,
            job: Job::Done,
            main_pid: 0,
            status: String::new(),
            restarts: 0,
            result: "success".to_owned(),
            exit_code: None,
        }
    }
}

/// Folder with the state of a unit.
#[derive(Debug, Clone)]
pub(super) struct StateFolder(PathBuf);

impl StateFolder {
    pub(super) fn of(root: &Root, unit: &str) -> Self {
        Self(root.join("run/units").join(unit))
    }

    pub(super) fn open(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.0).with_context(|| format!("cannot make {}", self.0.display()))
    }

    /// Its log: standard output and standard error of its processes.
    pub(super) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The socket for its readiness notification.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("notify")
    }

    pub(super) fn write(&self, state: &UnitState) -> anyhow::Result<()> {
        // Each writer has its own temporary file: two must never write to the same.
        let part = self.0.join(format!("state.{}", std::process::id()));
        std::fs::write(&part, serde_json::to_vec(state)?)?;
        Ok(std::fs::rename(part, self.0.join("state"))?)
    }

    /// The state; inactive when there is none, and failed when the supervisor has died.
    pub(super) fn read(&self) -> UnitState {
        let mut state = self.written();
        let is_orphan = |state: &UnitState| {
            let is_up = matches!(state.active, Active::Activating | Active::Active | Active::Deactivating);
            is_up && !self.is_target() && !self.is_supervised()
        };
        if is_orphan(&state) {
            // The supervisor may have ended between the two reads, after a last write.
            state = self.written();
            if is_orphan(&state) {
                state = UnitState { active: Active::Failed, job: Job::Failed, main_pid: 0, ..state };
            }
        }
        state
    }

    /// A target has neither process nor supervisor.
    fn is_target(&self) -> bool {
        self.0.extension().is_some_and(|extension| extension == "target")
    }

    fn written(&self) -> UnitState {
        let bytes = std::fs::read(self.0.join("state")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Locks the unit for this process, which supervises it until the file is dropped.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(self.0.join("supervisor"))?;
        // A process that checks the lock holds it for an instant.
        let is_locked = (0..LOCK_ATTEMPTS).any(|attempt| {
            std::thread::sleep(LOOK * attempt.min(1));
            file.try_lock().is_ok()
        });
        ensure!(is_locked, "it already has a supervisor");
        file.set_len(0)?;
        (&file).write_all(std::process::id().to_string().as_bytes())?;
        Ok(file)
    }

    /// Whether it has a supervisor.
    pub(super) fn is_supervised(&self) -> bool {
        File::open(self.0.join("supervisor"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The id of its supervisor, once it has published it.
    pub(super) fn supervisor(&self) -> Option<u32> {
        let id = || std::fs::read_to_string(self.0.join("supervisor")).ok()?.parse().ok();
        if self.is_supervised() { id() } else { None }
    }
}
