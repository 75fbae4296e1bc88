//! What is known of a unit while it runs and afterwards: a file that its supervisor writes.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::root::Root;

/// How often, and how far apart, a supervisor looks whether its unit is free.
const LOOKS_MAX: u32 = 50;
const LOOK: Duration = Duration::from_millis(5);

/// What a unit is doing, in the words of `systemctl is-active`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Active {
    /// It is being started, or waits to be started again.
    Activating,
    /// It runs; of a one-shot: it has done its work.
    Active,
    /// It is being stopped.
    Deactivating,
    /// It does not run.
    Inactive,
    /// It has ended as it should not have.
    Failed,
}

impl Active {
    /// The word.
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

/// What became of the wish to start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// It is not known yet.
    Waiting,
    /// It is started.
    Done,
    /// The first attempt failed; there may be others.
    Failed,
}

/// The state of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What it is doing.
    pub active: Active,
    /// What became of the wish to start it.
    pub job: Job,
    /// The id of its process; 0 when there is none.
    pub main_pid: u32,
    /// What it last said of itself.
    pub status: String,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// How it last ended: success, exit-code, signal, timeout, watchdog or resources.
    pub result: String,
    /// The exit code of its last end, if it had one.
    pub exit_code: Option<i32>,
}

impl Default for State {
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

/// Where a unit leaves what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Desk(PathBuf);

impl Desk {
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

    /// The socket on which it says that it is ready.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("notify")
    }

    pub(super) fn write(&self, state: &State) -> anyhow::Result<()> {
        // Each writer has a name of its own: two must never write into one file.
        let part = self.0.join(format!("state.{}", std::process::id()));
        std::fs::write(&part, serde_json::to_vec(state)?)?;
        Ok(std::fs::rename(part, self.0.join("state"))?)
    }

    /// The state; inactive when there is none. One whose supervisor is gone has failed, whatever it says.
    pub(super) fn read(&self) -> State {
        let mut state = self.written();
        let is_orphan = |state: &State| {
            let is_up = matches!(state.active, Active::Activating | Active::Active | Active::Deactivating);
            is_up && !self.is_target() && !self.is_supervised()
        };
        if is_orphan(&state) {
            // It may have ended between the two looks, with a last word.
            state = self.written();
            if is_orphan(&state) {
                state = State { active: Active::Failed, job: Job::Failed, main_pid: 0, ..state };
            }
        }
        state
    }

    /// A target has no process, and nobody who looks after it.
    fn is_target(&self) -> bool {
        self.0.extension().is_some_and(|extension| extension == "target")
    }

    fn written(&self) -> State {
        let bytes = std::fs::read(self.0.join("state")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Takes the unit for this process, its supervisor from now on, until the file is dropped.
    pub(super) fn occupy(&self) -> anyhow::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(self.0.join("supervisor"))?;
        // Whoever looks whether it is taken holds it for an instant.
        let is_ours = (0..LOOKS_MAX).any(|look| {
            std::thread::sleep(LOOK * look.min(1));
            file.try_lock().is_ok()
        });
        ensure!(is_ours, "it has a supervisor already");
        file.set_len(0)?;
        (&file).write_all(std::process::id().to_string().as_bytes())?;
        Ok(file)
    }

    /// Whether it has a supervisor.
    pub(super) fn is_supervised(&self) -> bool {
        File::open(self.0.join("supervisor"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The id of its supervisor, if it has one that has said so.
    pub(super) fn supervisor(&self) -> Option<u32> {
        let id = || std::fs::read_to_string(self.0.join("supervisor")).ok()?.parse().ok();
        if self.is_supervised() { id() } else { None }
    }
}
