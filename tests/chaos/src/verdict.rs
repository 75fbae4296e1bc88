//! Verdict on a run, printed as its last line.

use std::fmt;

use super::outcome::Audit;

/// At least this percentage of the kills must hit a process that was at work.
const EFFECTIVE_MIN_PERCENT: usize = 80;

/// Counts of disturbances.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// kill -9 and SIGTERM of producer and services.
    pub kills: usize,
    /// Kills of processes that had committed since their start and had records pending.
    pub effective: usize,
    /// SIGSTOP for longer than the lease time to live.
    pub freezes: usize,
    /// kill -9 of nats-server.
    pub broker_restarts: usize,
}

/// Result of a run.
#[derive(Debug)]
pub struct Verdict {
    /// The disturbances.
    pub tally: Tally,
    /// The counts of the audit.
    pub audit: Audit,
    /// Commits that were refused because another owner had committed.
    pub fenced: usize,
    /// Differences to the undisturbed run, and errors logged by the services.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether nothing was lost, doubled or changed, and enough kills were effective.
    pub fn is_good(&self) -> bool {
        self.audit.is_clean() && self.findings.is_empty() && self.is_effective()
    }

    /// Whether enough kills hit a process at work.
    pub fn is_effective(&self) -> bool {
        self.tally.kills > 0 && self.tally.effective * 100 >= self.tally.kills * EFFECTIVE_MIN_PERCENT
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { kills, effective, freezes, broker_restarts } = self.tally;
        let Audit { windows, equal, different, missing, extra } = self.audit;
        write!(f, "kills={kills} effective={effective} freezes={freezes} broker_restarts={broker_restarts} ")?;
        write!(f, "windows={windows} equal={equal} different={different} missing={missing} extra={extra} ")?;
        write!(f, "fenced={}", self.fenced)
    }
}
