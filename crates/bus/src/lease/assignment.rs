//! Members and claims of one group, and the share of each instance. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lease::process::Process;
use crate::lease::tombstone::is_deletion;
use crate::query::StoredMessage;
use crate::subject;

/// The value of a member key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The process of the instance.
    pub process: Process,
    /// After this long without a renewal the instance counts as dead, in milliseconds.
    pub ttl_ms: u64,
}

/// The value of a slot key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotClaim {
    /// The id of the owner.
    pub owner: String,
}

/// The latest revision of a key; `value` is `None` when the key was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry<T> {
    /// Its revision.
    pub revision: u64,
    /// Its value.
    pub value: Option<T>,
}

/// All keys of a group, as one read found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// By instance id.
    pub members: BTreeMap<String, KeyEntry<Member>>,
    /// By slot number.
    pub slots: BTreeMap<u32, KeyEntry<SlotClaim>>,
}

impl Assignment {
    /// Parses the latest message of every key of a group.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn of(group: &str, messages: &[StoredMessage]) -> Result<Self, Error> {
        let mut table = Self::default();
        for stored in messages {
            if let Some(id) = subject::member_of(group, &stored.subject) {
                table.members.insert(id.to_owned(), entry(stored)?);
            } else if let Some(slot) = subject::slot_of(group, &stored.subject) {
                table.slots.insert(slot, entry(stored)?);
            }
        }
        Ok(table)
    }

    /// The owner of a slot, if its key names one.
    pub fn owner(&self, slot: u32) -> Option<&str> {
        self.slots.get(&slot).and_then(|entry| entry.value.as_ref()).map(|claim| claim.owner.as_str())
    }

    /// The revision to expect in the next write of a slot's key; 0 when it was never written.
    pub fn slot_revision(&self, slot: u32) -> u64 {
        self.slots.get(&slot).map_or(0, |entry| entry.revision)
    }
}

/// How long each member was not renewed. Only time between two reads of the bucket counts, and at most twice the usual
/// interval: while the server is away, no member dies.
#[derive(Debug, Default)]
pub(crate) struct Silences(HashMap<String, (u64, Duration)>);

impl Silences {
    /// Records a read of the bucket, `since_last` after the one before.
    pub(crate) fn observe(&mut self, table: &Assignment, since_last: Duration) {
        self.0.retain(|id, _| table.members.contains_key(id));
        for (id, entry) in &table.members {
            let known = self.0.get(id).filter(|(revision, _)| *revision == entry.revision);
            let silence = known.map_or(Duration::ZERO, |(_, silence)| *silence + since_last);
            self.0.insert(id.clone(), (entry.revision, silence));
        }
    }

    /// The members that are alive, as seen from the process `here`.
    pub(crate) fn living(&self, table: &Assignment, here: &Process) -> BTreeSet<String> {
        let is_alive = |id: &String, member: &Member| {
            let silence = self.0.get(id).map_or(Duration::ZERO, |(_, silence)| *silence);
            silence < Duration::from_millis(member.ttl_ms) && !member.process.is_gone(here)
        };
        let members = table.members.iter().filter_map(|(id, entry)| Some((id, entry.value.as_ref()?)));
        members.filter(|(id, member)| is_alive(id, member)).map(|(id, _)| id.clone()).collect()
    }
}

/// The changes that give an instance its share.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Free slots to claim.
    pub(crate) take: Vec<u32>,
    /// Own slots to hand over.
    pub(crate) leave: Vec<u32>,
}

/// Shares `total` slots among the living instances. An instance with more than an equal share, rounded up, hands over
/// the rest; an instance with less claims free slots. `held` are the slots that this instance works on, without those
/// that it is handing over; `busy` are slots that must not be claimed now.
pub(crate) fn share(
    me: &str,
    living: &BTreeSet<String>,
    table: &Assignment,
    held: &BTreeSet<u32>,
    busy: &BTreeSet<u32>,
    total: u32,
) -> Shares {
    let members = living.len().max(1);
    let target = (total as usize).div_ceil(members);
    if held.len() > target {
        let leave = held.iter().rev().take(held.len() - target).copied().collect();
        return Shares { take: Vec::new(), leave };
    }
    let is_free = |slot: &u32| {
        let is_owned = table.owner(*slot).is_some_and(|owner| living.contains(owner));
        !is_owned && !held.contains(slot) && !busy.contains(slot)
    };
    let free: Vec<u32> = (0..total).filter(is_free).collect();
    // Instances that find the same free slots start at different ones.
    let rank = living.iter().position(|id| id == me).unwrap_or_default();
    let start = rank * free.len() / members;
    let take = free.iter().cycle().skip(start).take(free.len()).take(target - held.len()).copied().collect();
    Shares { take, leave: Vec::new() }
}

fn entry<T: DeserializeOwned>(stored: &StoredMessage) -> Result<KeyEntry<T>, Error> {
    if is_deletion(Some(&stored.headers)) {
        return Ok(KeyEntry { revision: stored.seq, value: None });
    }
    let value = serde_json::from_slice(&stored.payload)
        .map_err(|error| Error::Unreadable { what: format!("lease {}", stored.subject), detail: error.to_string() })?;
    Ok(KeyEntry { revision: stored.seq, value: Some(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(owners: &[(u32, &str)]) -> Assignment {
        let claim = |owner: &str| KeyEntry { revision: 1, value: Some(SlotClaim { owner: owner.to_owned() }) };
        let slots = owners.iter().map(|(slot, owner)| (*slot, claim(owner))).collect();
        Assignment { members: BTreeMap::new(), slots }
    }

    fn living(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    fn owned(owners: &[(u32, &str)], me: &str) -> BTreeSet<u32> {
        owners.iter().filter(|(_, owner)| *owner == me).map(|(slot, _)| *slot).collect()
    }

    fn shares(me: &str, ids: &[&str], owners: &[(u32, &str)], total: u32) -> Shares {
        share(me, &living(ids), &table(owners), &owned(owners, me), &BTreeSet::new(), total)
    }

    #[test]
    fn one_instance_takes_all() {
        assert_eq!(shares("a", &["a"], &[], 4).take, [0, 1, 2, 3]);
        assert_eq!(shares("a", &["a"], &[(0, "a"), (1, "a")], 4).take, [2, 3]);
    }

    #[test]
    fn slots_beyond_the_share_are_handed_over() {
        let owners: Vec<_> = (0..5).map(|slot| (slot, "a")).collect();
        assert_eq!(shares("a", &["a", "b"], &owners, 5), Shares { take: vec![], leave: vec![4, 3] });
        assert_eq!(shares("b", &["a", "b"], &owners, 5), Shares::default());
    }

    #[test]
    fn slots_of_dead_owners_are_free() {
        let owners = [(0, "dead"), (1, "a"), (2, "dead"), (3, "b")];
        let mut taken = shares("a", &["a", "b"], &owners, 4).take;
        taken.extend(shares("b", &["a", "b"], &owners, 4).take);
        taken.sort_unstable();
        assert_eq!(taken, [0, 2], "each takes a different slot");
    }

    #[test]
    fn more_instances_than_slots_leave_some_standing_by() {
        assert_eq!(shares("c", &["a", "b", "c"], &[(0, "a"), (1, "b")], 2), Shares::default());
    }

    #[test]
    fn a_slot_that_is_being_handed_over_is_not_taken_back() {
        let owners = [(0, "a")];
        let taken = share("a", &living(&["a"]), &table(&owners), &BTreeSet::new(), &BTreeSet::from([0]), 1);
        assert_eq!(taken, Shares::default());
    }

    #[test]
    fn only_time_between_reads_makes_a_member_dead() {
        let look = |revision| {
            let member = Member { process: Process::default(), ttl_ms: 1_000 };
            let members = BTreeMap::from([("a".to_owned(), KeyEntry { revision, value: Some(member) })]);
            Assignment { members, slots: BTreeMap::new() }
        };
        let mut silences = Silences::default();
        let mut is_alive = |revision, since_last: u64| {
            let table = look(revision);
            silences.observe(&table, Duration::from_millis(since_last));
            !silences.living(&table, &Process::default()).is_empty()
        };
        assert!(is_alive(7, 60_000), "seen for the first time");
        assert!(is_alive(7, 600));
        assert!(is_alive(8, 600), "it was renewed");
        assert!(is_alive(8, 600));
        assert!(!is_alive(8, 600));
        assert!(is_alive(9, 600), "it is back");
    }
}
