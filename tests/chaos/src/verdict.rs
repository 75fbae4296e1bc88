//! The last line, and whether all is well.

use std::fmt;

use super::outcome::Audit;

/// Of so many kills at least this part must have hit somebody at work.
const EFFECTIVE_MIN_PERCENT: usize = 80;

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// kill -9 and SIGTERM of producer and services.
    pub kills: usize,
    /// Kills of who had committed since its start and had records pending.
    pub effective: usize,
    /// SIGSTOP for longer than a lease lives.
    pub freezes: usize,
    /// kill -9 of nats-server.
    pub broker_restarts: usize,
}

/// How it ended.
#[derive(Debug)]
pub struct Verdict {
    /// What was done.
    pub tally: Tally,
    /// What the audit says.
    pub audit: Audit,
    /// Commits that were refused because another owner had committed.
    pub fenced: usize,
    /// What is not as in an undisturbed run, and what the services logged as errors.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether nothing was lost, doubled or changed, and the kills were worth something.
    pub fn is_good(&self) -> bool {
        self.audit.is_clean() && self.findings.is_empty() && self.is_effective()
    }

    /// Whether enough kills hit somebody at work.
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
