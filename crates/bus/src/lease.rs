//! Who runs what: instances of a group share its slots (the partitions of a step, or the one seat of an active service).
//!
//! Each instance keeps a member key, which it renews three times in its time to live, and one key for each slot that it
//! owns, which it takes and gives back by comparing revisions. Whoever looks judges by its own clock for how long a
//! member has shown no sign; a process of the same machine that is gone is seen at once. Leases are for efficiency only:
//! two owners at once do no harm, because the transaction refuses all but one.

mod assignment;
mod bucket;
mod holdings;
mod membership;
mod process;

use std::time::Duration;

use rand::Rng;
use service::{Freshness, Health, Shutdown};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::connect::{Connection, wait_for};
use crate::error::Error;
use crate::lease::assignment::Silences;
use crate::lease::bucket::Bucket;
use crate::lease::membership::{Command, Membership};
use crate::topology::{LEASES_STREAM, stream_info};

pub use assignment::{Assignment, Claim, Entry, Member};
pub use holdings::Holdings;
pub use process::Process;

/// Shortest time to live: a few answers of a busy server must fit into it.
const TTL_MIN: Duration = Duration::from_millis(300);
const TTL_MAX: Duration = Duration::from_secs(600);
/// How long leaving a group may take: the process has 5 seconds for its whole end.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Flags of every service that shares work with its like.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Instances")]
pub struct LeaseArgs {
    /// After this long without a sign of life an instance has lost its partitions to the others; 15s on a cluster,
    /// where a change of leader takes some seconds
    #[arg(long, env = "CANDLEWIRE_LEASE_TTL", default_value = "5s", value_parser = time_to_live)]
    pub lease_ttl: Duration,
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (min, max) = (humantime::format_duration(TTL_MIN), humantime::format_duration(TTL_MAX));
    (TTL_MIN..=TTL_MAX).contains(&ttl).then_some(ttl).ok_or_else(|| format!("between {min} and {max}"))
}

/// A slot that was taken. The same slot taken again is another lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The slot.
    pub slot: u32,
    /// Which of the times that this instance took it.
    term: u64,
}

/// What happens to the slots of this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It owns a slot from now on.
    Taken(Lease),
    /// Another instance should have this slot: end its work in order, then [`Leases::release`] it.
    Wanted(u32),
    /// Another instance has this slot already: drop its work.
    Lost(u32),
    /// It has the share that it can have for now.
    Settled,
}

/// The membership of this process in a group. Dropping it ends all signs of life.
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
    /// Joins a group of `slots` slots and begins to take a share of them.
    pub fn join(connection: &Connection, group: &str, slots: u32, ttl: Duration) -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let (commands, receiver) = mpsc::unbounded_channel();
        let id = format!("{:08x}", rand::rng().next_u32());
        tracing::debug!(group, id, "joining");
        let holdings = Holdings::new(id, Process::current(), slots, ttl);
        let keeper = Membership::new(Bucket::new(connection, group), connection.clone(), holdings, sender);
        Self { changes, commands, task: tokio::spawn(keeper.run(receiver)) }
    }

    /// The next change. Outages are waited for; cancelling loses nothing.
    ///
    /// # Errors
    /// What waiting cannot mend, such as a missing permission.
    pub async fn next(&mut self) -> Result<Change, Error> {
        match self.changes.recv().await {
            Some(change) => change,
            None => {
                Err(Error::Unreadable { what: "the leases".to_owned(), detail: "their keeper has ended".to_owned() })
            }
        }
    }

    /// Gives a slot back: nobody works on it here any more. Of a lease that was lost meanwhile this is no news, even when
    /// its slot was taken again.
    pub fn release(&self, lease: Lease) {
        // A keeper that has ended has nothing to give back.
        drop(self.commands.send(Command::Release(lease)));
    }

    /// Leaves the group, as soon as what was released is given back.
    pub async fn leave(self) {
        let (done, left) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).is_ok() {
            drop(tokio::time::timeout(LEAVE_MAX, left).await);
        }
    }
}

/// The one seat of a group in which a single instance is active and the others stand by.
#[derive(Debug)]
pub struct LeaderLease {
    leases: Leases,
    lease: Lease,
}

impl LeaderLease {
    /// Waits until this instance is the active one; standing by is being ready. `None` when shutdown came first.
    ///
    /// # Errors
    /// What waiting cannot mend, such as a missing permission.
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

    /// Gives the seat up, for another instance to take at once.
    pub async fn leave(self) {
        self.leases.release(self.lease);
        self.leases.leave().await;
    }
}

/// Waits until the bucket exists. False when shutdown came first.
///
/// # Errors
/// What waiting cannot mend, such as a missing permission.
pub async fn wait_for_bucket(connection: &Connection, health: &Health, shutdown: &Shutdown) -> Result<bool, Error> {
    Ok(wait_for(|| stream_info(connection, LEASES_STREAM), health, shutdown).await?.is_some())
}

/// An instance, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its id in the group.
    pub id: String,
    /// Where it runs, as `host:pid`.
    pub place: String,
}

/// The owner of each slot of a group that has one, by slot, as the bucket says at this moment: an instance that has died
/// on another machine is still named until its time to live is over.
///
/// # Errors
/// No answer, no bucket, or a missing permission.
pub async fn owners(connection: &Connection, group: &str) -> Result<Vec<(u32, Owner)>, Error> {
    let table = Bucket::new(connection, group).look().await?;
    let here = Process::current();
    let owner_of = |slot| {
        let id = table.owner(slot)?;
        let member = table.members.get(id)?.value.as_ref().filter(|member| !member.process.is_gone(&here))?;
        Some((slot, Owner { id: id.to_owned(), place: place(&member.process) }))
    };
    Ok(table.slots.keys().filter_map(|&slot| owner_of(slot)).collect())
}

/// The instances of a group that are alive: watches them until each has given a sign or its time to live is over.
///
/// # Errors
/// No answer, no bucket, or a missing permission.
pub async fn living(connection: &Connection, group: &str) -> Result<Vec<Owner>, Error> {
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
                Some(Owner { place: place(&member.process), id })
            };
            return Ok(living.into_iter().filter_map(owner).collect());
        }
        tokio::time::sleep(LOOK).await;
        table = bucket.look().await?;
    }
}

fn place(process: &Process) -> String {
    format!("{}:{}", process.host, process.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_must_be_one_that_can_be_kept() {
        assert_eq!(time_to_live("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0s", "100ms", "1h", "5", "soon"] {
            assert!(time_to_live(bad).is_err(), "{bad}");
        }
    }
}
