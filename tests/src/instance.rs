//! One instance of a service: process, log and condition.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::programs::Running;

/// Longest time to end after SIGTERM: services promise 5 seconds.
const STOP_MAX: Duration = Duration::from_secs(8);
/// Logged by a step at its start, followed by the prefix of its batch ids.
const BATCHES: &str = "batches=";
/// Log lines printed when a service failed.
const LAST_LINES: usize = 6;

/// Condition of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Up,
    /// Stopped by SIGSTOP.
    Frozen {
        /// When to wake it.
        until: Instant,
    },
    /// Told to stop.
    Ending {
        /// Since when.
        since: Instant,
        /// Downtime after its end.
        away: Duration,
    },
    /// Not running.
    Down {
        /// When to restart it.
        until: Instant,
    },
    /// Ended by itself, successfully.
    Done,
}

/// An instance of a service.
#[derive(Debug)]
pub struct Instance {
    name: String,
    condition: Condition,
    process: Running,
    log: PathBuf,
    /// Offset of the current start in the log.
    log_start: u64,
    prefix: Option<String>,
}

impl Instance {
    /// Starts it, with its log in `dir` under its name.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let (process, log_start) = spawn(&log, command)?;
        let name = name.to_owned();
        Ok(Self { name, condition: Condition::Up, process, log, log_start, prefix: None })
    }

    /// Restarts it.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn start_again(&mut self, command: &mut Command) -> anyhow::Result<()> {
        (self.process, self.log_start) = spawn(&self.log, command)?;
        self.condition = Condition::Up;
        self.prefix = None;
        Ok(())
    }

    /// Its condition.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends kill -9.
    pub fn kill(&mut self, away: Duration) {
        self.process.kill();
        self.condition = Condition::Down { until: Instant::now() + away };
    }

    /// Sends SIGTERM; [`Instance::tend`] notices the end.
    pub fn terminate(&mut self, away: Duration) {
        self.process.terminate();
        self.condition = Condition::Ending { since: Instant::now(), away };
    }

    /// Sends SIGSTOP.
    pub fn freeze(&mut self, length: Duration) {
        self.process.signal("STOP");
        self.condition = Condition::Frozen { until: Instant::now() + length };
    }

    /// Sends SIGCONT.
    pub fn wake(&mut self) {
        self.process.signal("CONT");
        self.condition = Condition::Up;
    }

    /// Wakes it when due and notices its end; returns whether to restart it now.
    ///
    /// # Errors
    /// It ended by itself, or with an unexpected exit code.
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

    /// Prefix of its batch ids since the last start; `None` until it is logged.
    pub fn prefix(&mut self) -> Option<&str> {
        if self.prefix.is_none() {
            let text = read_from(&self.log, self.log_start).ok()?;
            let (_, rest) = text.split_once(BATCHES)?;
            self.prefix = rest.split_whitespace().next().map(str::to_owned);
        }
        self.prefix.as_deref()
    }

    /// The lines of its log that contain `text`, over all starts.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let log = read_from(&self.log, 0).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn failure(&self, what: &str) -> String {
        let log = read_from(&self.log, self.log_start).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        format!("{} {what}; last log lines:\n  {last}", self.name)
    }
}

fn spawn(log: &Path, command: &mut Command) -> anyhow::Result<(Running, u64)> {
    let open = || OpenOptions::new().create(true).append(true).open(log);
    let file = open().with_context(|| format!("cannot write {}", log.display()))?;
    let start = file.metadata()?.len();
    Ok((Running::start(command.stdout(file.try_clone()?).stderr(file)), start))
}

/// Lossy: a killed process may leave half a character.
fn read_from(path: &Path, start: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
