//! Leases: the instances of a group share its slots (the partitions of a step, or the single slot of an active
//! service).
//!
//! Each instance has a member key, which it renews three times in its time to live. It has one key for each slot that
//! it owns; it claims and releases a slot by comparing revisions. Every instance measures with its own clock how long a
//! member was not renewed; a process of the same machine that has ended is noticed at once. Leases are for efficiency
//! only: two owners at once do no harm, because the fence of a commit refuses all but one.

mod assignment;
mod bucket;
mod change;
mod holdings;
mod membership;
mod process;
mod tombstone;

use std::time::Duration;

use rand::Rng;
use service::{Freshness, Health, Shutdown};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::connect::Connection;
use crate::error::Error;
use crate::lease::assignment::Silences;
use crate::lease::bucket::Bucket;
use crate::lease::membership::{Command, Membership};
use crate::retry::wait_for;
use crate::stream::LEASES_STREAM;
use crate::topology::stream_info;

pub use assignment::{Assignment, KeyEntry, Member, SlotClaim};
pub use change::{Change, Lease};
pub use holdings::Holdings;
pub use process::Process;

/// Shortest time to live: several answers of a busy server must fit into it.
const TTL_MIN: Duration = Duration::from_millis(300);
const TTL_MAX: Duration = Duration::from_secs(600);
/// Time limit for leaving a group: the whole process has 5 seconds to stop.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Longest time between two looks of a census that counts as silence: after an outage of the server, no member is dead.
const LOOK_APART_MAX: Duration = Duration::from_secs(4);

/// Flags of every service whose instances share work.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Instances")]
pub struct LeaseArgs {
    /// How long an instance may fail to renew before the others take its partitions; use 15s on a cluster, where an
    /// election takes some seconds
    #[arg(long, env = "CANDLEWIRE_LEASE_TTL", default_value = "5s", value_parser = time_to_live)]
    pub lease_ttl: Duration,
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (min, max) = (humantime::format_duration(TTL_MIN), humantime::format_duration(TTL_MAX));
    (TTL_MIN..=TTL_MAX).contains(&ttl).then_some(ttl).ok_or_else(|| format!("between {min} and {max}"))
}

/// Membership of this process in a group. Dropping it stops the renewals.
#[derive(Debug)]
pub struct Leases {
    changes: mpsc::UnboundedReceiver<Result<Change, Error>>,
    commands: mpsc::UnboundedSender<Command>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Leases {
    /// Joins a group of `slots` slots and starts to claim a share of them.
    pub fn join(connection: &Connection, group: &str, slots: u32, ttl: Duration) -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let (commands, receiver) = mpsc::unbounded_channel();
        let id = format!("{:08x}", rand::rng().next_u32());
        tracing::debug!(group, id, "joining");
        let holdings = Holdings::new(id, Process::current(), slots, ttl);
        let membership = Membership::new(Bucket::new(connection, group), connection.clone(), holdings, sender);
        Self { changes, commands, task: tokio::spawn(membership.run(receiver)) }
    }

    /// Returns the next change. Outages are waited for. Cancel safe.
    ///
    /// # Errors
    /// An error that waiting cannot resolve, such as a missing permission.
    pub async fn next(&mut self) -> Result<Change, Error> {
        match self.changes.recv().await {
            Some(change) => change,
            None => Err(Error::Unreadable {
                what: "the leases".to_owned(),
                detail: "the membership task has ended".to_owned(),
            }),
        }
    }

    /// Releases a slot that no worker uses any more. Does nothing for a lease that was lost meanwhile, even when its
    /// slot was claimed again.
    pub fn release(&self, lease: Lease) {
        // A membership task that has ended holds no slots.
        drop(self.commands.send(Command::Release(lease)));
    }

    /// Leaves the group once all released slots are given back.
    pub async fn leave(self) {
        let (done, left) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).is_ok() {
            drop(tokio::time::timeout(LEAVE_MAX, left).await);
        }
    }
}

/// The lease of a group with a single slot: one instance is active, the others stand by.
#[derive(Debug)]
pub struct LeaderLease {
    leases: Leases,
    lease: Lease,
}

impl LeaderLease {
    /// Waits until this instance is the active one; a standby is ready. `None` after a shutdown request.
    ///
    /// # Errors
    /// An error that waiting cannot resolve, such as a missing permission.
    pub async fn take(
        connection: &Connection,
        group: &str,
        ttl: Duration,
        health: &Health,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, Error> {
        if !wait_for_bucket(connection, health, shutdown).await? {
            return Ok(None);
        }
        let mut leases = Leases::join(connection, group, 1, ttl);
        loop {
            let change = tokio::select! {
                change = leases.next() => change?,
                () = shutdown.requested() => {
                    leases.leave().await;
                    return Ok(None);
                }
            };
            match change {
                Change::Taken(lease) => return Ok(Some(Self { leases, lease })),
                Change::Settled => {
                    tracing::info!(group, "another instance is active, standing by");
                    health.data(Freshness::NoneHere);
                    health.ready();
                }
                Change::Wanted(_) | Change::Lost(_) => {}
            }
        }
    }

    /// Resolves when another instance has become the active one.
    ///
    /// # Errors
    /// As [`LeaderLease::take`].
    pub async fn lost(&mut self) -> Result<(), Error> {
        while self.leases.next().await? != Change::Lost(self.lease.slot) {}
        Ok(())
    }

    /// Releases the slot, for another instance to claim at once.
    pub async fn leave(self) {
        self.leases.release(self.lease);
        self.leases.leave().await;
    }
}

/// Waits until the bucket exists. False after a shutdown request.
///
/// # Errors
/// An error that waiting cannot resolve, such as a missing permission.
pub async fn wait_for_bucket(connection: &Connection, health: &Health, shutdown: &Shutdown) -> Result<bool, Error> {
    Ok(wait_for(|| stream_info(connection, LEASES_STREAM), health, shutdown).await?.is_some())
}

/// An instance, as other instances see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOwner {
    /// Its id in the group.
    pub id: String,
    /// Host and process, as `host:pid`.
    pub place: String,
}

/// The owners of the slots of a group, by slot, as the bucket says now. An instance that died on another machine is
/// listed until its time to live is over.
///
/// # Errors
/// No answer, no bucket, or a missing permission.
pub async fn owners(connection: &Connection, group: &str) -> Result<Vec<(u32, SlotOwner)>, Error> {
    let table = Bucket::new(connection, group).look().await?;
    let here = Process::current();
    let owner_of = |slot| {
        let id = table.owner(slot)?;
        let member = table.members.get(id)?.value.as_ref().filter(|member| !member.process.is_gone(&here))?;
        Some((slot, SlotOwner { id: id.to_owned(), place: place(&member.process) }))
    };
    Ok(table.slots.keys().filter_map(|&slot| owner_of(slot)).collect())
}

/// The living instances of a group: watches each until it renews its key or its time to live is over.
///
/// # Errors
/// No answer, no bucket, or a missing permission.
pub async fn living(connection: &Connection, group: &str) -> Result<Vec<SlotOwner>, Error> {
    const LOOK: Duration = Duration::from_millis(100);
    let bucket = Bucket::new(connection, group);
    let here = Process::current();
    let first = bucket.look().await?;
    let (mut table, mut silences, mut looked_at) = (first.clone(), Silences::default(), Instant::now());
    loop {
        let elapsed = looked_at.elapsed();
        looked_at = Instant::now();
        silences.observe(&table, elapsed);
        let living = silences.living(&table, &here);
        let has_shown = |id: &String| {
            first.members.get(id).map(|entry| entry.revision) != table.members.get(id).map(|entry| entry.revision)
        };
        if living.iter().all(has_shown) {
            let owner = |id: String| {
                let member = table.members.get(&id)?.value.as_ref()?;
                Some(SlotOwner { place: place(&member.process), id })
            };
            return Ok(living.into_iter().filter_map(owner).collect());
        }
        tokio::time::sleep(LOOK).await;
        table = bucket.look().await?;
    }
}

/// A count of the living instances of a group, from one look to the next.
#[derive(Debug)]
pub struct Census {
    bucket: Bucket,
    here: Process,
    silences: Silences,
    looked_at: Option<Instant>,
}

impl Census {
    /// Starts without a look.
    pub fn new(connection: &Connection, group: &str) -> Self {
        let bucket = Bucket::new(connection, group);
        Self { bucket, here: Process::current(), silences: Silences::default(), looked_at: None }
    }

    /// Looks again, and returns the number of living instances. An instance that died on another machine counts until its
    /// time to live has passed between two looks.
    ///
    /// # Errors
    /// No answer, no bucket, or a missing permission.
    pub async fn look(&mut self) -> Result<usize, Error> {
        let table = self.bucket.look().await?;
        let elapsed = self.looked_at.replace(Instant::now()).map_or(Duration::ZERO, |before| before.elapsed());
        self.silences.observe(&table, elapsed.min(LOOK_APART_MAX));
        Ok(self.silences.living(&table, &self.here).len())
    }
}

fn place(process: &Process) -> String {
    format!("{}:{}", process.host, process.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_must_be_long_enough_to_be_kept() {
        assert_eq!(time_to_live("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0s", "100ms", "1h", "5", "soon"] {
            assert!(time_to_live(bad).is_err(), "{bad}");
        }
    }
}
