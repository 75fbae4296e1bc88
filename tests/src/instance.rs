//! One instance of a service: its process, its log, and whether it is up.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::programs::Running;

/// How long a service may take to end after SIGTERM: it promises 5 seconds.
const STOP_MAX: Duration = Duration::from_secs(8);
/// What a step logs at its start: what the ids of its batches begin with.
const BATCHES: &str = "batches=";
/// Lines of a log that are shown when its service failed.
const LAST_LINES: usize = 6;

/// Whether an instance is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Up,
    /// It was stopped by SIGSTOP.
    Frozen {
        /// When it is woken.
        until: Instant,
    },
    /// It was told to end.
    Ending {
        /// When.
        since: Instant,
        /// How long it stays away once it has ended.
        away: Duration,
    },
    /// It is gone.
    Down {
        /// When it is started again.
        until: Instant,
    },
    /// It ended by itself, with success.
    Done,
}

/// An instance of a service.
#[derive(Debug)]
pub struct Instance {
    name: String,
    condition: Condition,
    process: Running,
    log: PathBuf,
    /// Where the log of the present start begins.
    log_start: u64,
    prefix: Option<String>,
}

impl Instance {
    /// Starts it, logging into `dir` under its name.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let (process, log_start) = spawn(&log, command)?;
        let name = name.to_owned();
        Ok(Self { name, condition: Condition::Up, process, log, log_start, prefix: None })
    }

    /// Starts it again.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn start_again(&mut self, command: &mut Command) -> anyhow::Result<()> {
        (self.process, self.log_start) = spawn(&self.log, command)?;
        self.condition = Condition::Up;
        self.prefix = None;
        Ok(())
    }

    /// Whether it is there.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// kill -9.
    pub fn kill(&mut self, away: Duration) {
        self.process.kill();
        self.condition = Condition::Down { until: Instant::now() + away };
    }

    /// SIGTERM; [`Instance::tend`] notices the end.
    pub fn terminate(&mut self, away: Duration) {
        self.process.terminate();
        self.condition = Condition::Ending { since: Instant::now(), away };
    }

    /// SIGSTOP.
    pub fn freeze(&mut self, length: Duration) {
        self.process.signal("STOP");
        self.condition = Condition::Frozen { until: Instant::now() + length };
    }

    /// SIGCONT.
    pub fn wake(&mut self) {
        self.process.signal("CONT");
        self.condition = Condition::Up;
    }

    /// Wakes it when its time has come, notices that it has ended; returns whether it should be started again now.
    ///
    /// # Errors
    /// It ended by itself, or not as it was told to.
    pub fn tend(&mut self) -> anyhow::Result<bool> {
        let now = Instant::now();
        match self.condition {
            Condition::Up if !self.process.is_running() => match self.process.wait() {
                Some(0) => self.condition = Condition::Done,
                code => bail!(self.failure(&format!("ended by itself with exit code {code:?}"))),
            },
            Condition::Frozen { until } if now >= until => self.wake(),
            Condition::Ending { away, .. } if !self.process.is_running() => match self.process.wait() {
                Some(0) => self.condition = Condition::Down { until: now + away },
                code => bail!(self.failure(&format!("ended with exit code {code:?} after SIGTERM"))),
            },
            Condition::Ending { since, .. } if since.elapsed() > STOP_MAX => {
                bail!(self.failure(&format!("did not end within {} s after SIGTERM", STOP_MAX.as_secs())))
            }
            Condition::Down { until } => return Ok(now >= until),
            _ => {}
        }
        Ok(false)
    }

    /// What the ids of its batches begin with since the last start; `None` until it has said so.
    pub fn prefix(&mut self) -> Option<&str> {
        if self.prefix.is_none() {
            let text = read_from(&self.log, self.log_start).ok()?;
            let (_, rest) = text.split_once(BATCHES)?;
            self.prefix = rest.split_whitespace().next().map(str::to_owned);
        }
        self.prefix.as_deref()
    }

    /// The lines of its log that contain `text`, of all its starts.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let log = read_from(&self.log, 0).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn failure(&self, what: &str) -> String {
        let log = read_from(&self.log, self.log_start).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        format!("{} {what}; it said last:\n  {last}", self.name)
    }
}

fn spawn(log: &Path, command: &mut Command) -> anyhow::Result<(Running, u64)> {
    let open = || OpenOptions::new().create(true).append(true).open(log);
    let file = open().with_context(|| format!("cannot write {}", log.display()))?;
    let start = file.metadata()?.len();
    Ok((Running::start(command.stdout(file.try_clone()?).stderr(file)), start))
}

/// Lossy: a process that is killed may leave half a character.
fn read_from(path: &Path, start: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
