//! One instance of a service: its process, its log, and whether it is up.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::plan::Target;
use crate::programs::Running;

/// How long a service may take to end after SIGTERM: it promises 5 seconds.
const STOP_MAX: Duration = Duration::from_secs(8);
/// What a step logs at its start: what the ids of its batches begin with.
const BATCHES: &str = "batches=";
/// Lines of a log that are shown when its service failed.
const LAST_LINES: usize = 6;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Producer => f.write_str("producer"),
            Self::Processor(idx) => write!(f, "stream-processor.{idx}"),
            Self::Aggregator(idx) => write!(f, "aggregator.{idx}"),
        }
    }
}

/// Whether an instance is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It runs.
    Up,
    /// It was stopped by SIGSTOP until then.
    Frozen { until: Instant },
    /// It was told to end.
    Ending { since: Instant, away: Duration },
    /// It is gone until then.
    Down { until: Instant },
    /// It has done all that it had to do.
    Done,
}

/// An instance of a service.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) target: Target,
    pub(super) condition: Condition,
    process: Running,
    log: PathBuf,
    /// Where the log of the present start begins.
    log_start: u64,
    prefix: Option<String>,
    /// When it was first seen to have committed since its start.
    pub(super) committed: Option<Instant>,
    /// Last sequence of FEED when it was first looked at after the start, for the producer.
    pub(super) feed_base: Option<u64>,
}

impl Instance {
    /// Starts it, logging into `dir`.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn start(target: Target, dir: &Path, command: &mut Command) -> anyhow::Result<Self> {
        let log = dir.join(format!("{target}.log"));
        let (process, log_start) = spawn(&log, command)?;
        Ok(Self {
            target,
            condition: Condition::Up,
            process,
            log,
            log_start,
            prefix: None,
            committed: None,
            feed_base: None,
        })
    }

    /// Starts it again.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(super) fn start_again(&mut self, command: &mut Command) -> anyhow::Result<()> {
        (self.process, self.log_start) = spawn(&self.log, command)?;
        self.condition = Condition::Up;
        (self.prefix, self.committed, self.feed_base) = (None, None, None);
        Ok(())
    }

    /// kill -9.
    pub(super) fn kill(&mut self, away: Duration) {
        self.process.kill();
        self.condition = Condition::Down { until: Instant::now() + away };
    }

    /// SIGTERM; [`Instance::tend`] notices the end.
    pub(super) fn terminate(&mut self, away: Duration) {
        self.process.terminate();
        self.condition = Condition::Ending { since: Instant::now(), away };
    }

    /// SIGSTOP.
    pub(super) fn freeze(&mut self, length: Duration) {
        self.process.signal("STOP");
        self.condition = Condition::Frozen { until: Instant::now() + length };
    }

    /// Wakes it when its time has come, notices that it has ended; returns whether it should be started again now.
    ///
    /// # Errors
    /// It ended by itself, or not as it was told to.
    pub(super) fn tend(&mut self) -> anyhow::Result<bool> {
        let now = Instant::now();
        match self.condition {
            Condition::Up if !self.process.is_running() => match (self.target, self.process.wait()) {
                (Target::Producer, Some(0)) => self.condition = Condition::Done,
                (_, code) => bail!(self.failure(&format!("ended by itself with exit code {code:?}"))),
            },
            Condition::Frozen { until } if now >= until => {
                self.process.signal("CONT");
                self.condition = Condition::Up;
            }
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
    pub(super) fn prefix(&mut self) -> Option<&str> {
        if self.prefix.is_none() {
            let text = read_from(&self.log, self.log_start).ok()?;
            let (_, rest) = text.split_once(BATCHES)?;
            self.prefix = rest.split_whitespace().next().map(str::to_owned);
        }
        self.prefix.as_deref()
    }

    /// How many lines of its log contain `text`.
    pub(super) fn lines_with(&self, text: &str) -> Vec<String> {
        let log = read_from(&self.log, 0).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn failure(&self, what: &str) -> String {
        let log = read_from(&self.log, self.log_start).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        format!("{} {what}; it said last:\n  {last}", self.target)
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
