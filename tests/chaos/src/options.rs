//! Options and fixed sizes of a run.

use std::time::Duration;

/// Partitions, each with one instrument: a share for each of several instances.
pub(crate) const PARTITIONS: u32 = 8;
/// Rows per second of each instrument during the disturbances. In total 2,000 messages a second, so that input is always
/// pending.
pub(crate) const ROWS_A_SECOND: u32 = 250;
/// Length of a row.
pub(crate) const GRAIN: Duration = Duration::from_secs(60);
/// Lease time to live with three nats-servers, where electing a leader takes some seconds.
pub const LEASE_TTL_CLUSTER: Duration = Duration::from_secs(15);

/// Options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kills and terminations in total.
    pub kills: usize,
    /// Seed of the plan.
    pub seed: u64,
    /// Instances of each service.
    pub instances: usize,
    /// Time limit of the disturbed part.
    pub limit: Duration,
    /// Lease time to live.
    pub lease_ttl: Duration,
    /// Three nats-servers instead of one.
    pub cluster: bool,
    /// Receives one line per event.
    pub say: fn(&str),
}

impl Options {
    /// Default time limit for this many kills: far more than they take.
    pub fn usual_limit(kills: usize, cluster: bool) -> Duration {
        Duration::from_secs(20 + if cluster { 8 } else { 3 } * kills as u64)
    }
}
