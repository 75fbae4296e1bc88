//! The slots of an instance, and the changes that follow from a read of the bucket. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::lease::assignment::{Assignment, KeyEntry, Member, Silences, SlotClaim, share};
use crate::lease::change::{Change, Lease};
use crate::lease::process::Process;

/// Reads per time to live. A crash costs up to two reads and the time until the first one beyond the time to live.
const LOOKS: u32 = 8;
const LOOK_MAX: Duration = Duration::from_millis(400);
/// Renewals per time to live.
const RENEWALS: u32 = 3;

/// State of a slot of this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    /// Its worker was asked to stop.
    Draining,
    /// Its worker has stopped; the key still names this instance.
    Released,
}

/// A slot of this instance.
#[derive(Debug, Clone, Copy)]
struct Hold {
    stage: Stage,
    term: u64,
}

/// The slots of an instance of a group.
#[derive(Debug)]
pub struct Holdings {
    id: String,
    member: Member,
    total: u32,
    look_every: Duration,
    renew_every: Duration,
    slots: BTreeMap<u32, Hold>,
    /// Number of claims so far.
    terms: u64,
    /// Latest known revision of each slot's key; an older revision in a read is ignored.
    revisions: HashMap<u32, u64>,
    silences: Silences,
    /// Members at the last read; a renewal by a new member triggers a read at once.
    known: BTreeSet<String>,
    is_settled: bool,
    changes: Vec<Change>,
}

impl Holdings {
    /// An instance of the process `here` without slots.
    pub fn new(id: String, here: Process, total: u32, ttl: Duration) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Self {
            id,
            member: Member { process: here, ttl_ms },
            total,
            look_every: (ttl / LOOKS).min(LOOK_MAX),
            renew_every: ttl / RENEWALS,
            slots: BTreeMap::new(),
            terms: 0,
            revisions: HashMap::new(),
            silences: Silences::default(),
            known: BTreeSet::new(),
            is_settled: false,
            changes: Vec::new(),
        }
    }

    /// Its id in the group.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of its member key.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Interval between reads of the bucket.
    pub fn look_every(&self) -> Duration {
        self.look_every
    }

    /// Interval between renewals.
    pub fn renew_every(&self) -> Duration {
        self.renew_every
    }

    /// Whether it holds no slot, not even one that it is about to give back.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a member was there at the last read.
    pub fn is_known(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.known.iter().any(|id| is_it(id))
    }

    /// The changes since the last call, in order.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Marks a slot as unused, if it still belongs to this lease.
    pub fn release(&mut self, Lease { slot, term }: Lease) {
        if let Some(hold) = self.slots.get_mut(&slot).filter(|hold| hold.term == term) {
            hold.stage = Stage::Released;
        }
    }

    /// Marks all slots as unused.
    pub fn release_all(&mut self) {
        self.slots.values_mut().for_each(|hold| hold.stage = Stage::Released);
    }

    /// The slots to give back, each with the revision to expect.
    pub fn released(&self) -> Vec<(u32, u64)> {
        let slots = self.at_stage(|stage| stage == Stage::Released).into_iter();
        slots.map(|slot| (slot, self.revisions.get(&slot).copied().unwrap_or_default())).collect()
    }

    /// Records that a slot was given back, with the new revision; `None` when the expected revision was not the latest.
    pub fn given_back(&mut self, slot: u32, revision: Option<u64>) {
        match revision {
            Some(revision) => drop(self.revisions.insert(slot, revision)),
            // Either another instance has the slot already, or a cluster during an election answered with the refusal
            // of another request of this instance. The next read tells.
            None => drop(self.revisions.remove(&slot)),
        }
        self.slots.remove(&slot);
        self.is_settled = false;
    }

    /// Records a read, `since_last` after the one before; returns the living members.
    pub fn looked(&mut self, table: &Assignment, since_last: Duration) -> BTreeSet<String> {
        // A longer interval than usual was an outage, in which no member could renew.
        self.silences.observe(table, since_last.min(self.look_every * 2));
        let mut living = self.silences.living(table, &self.member.process);
        living.insert(self.id.clone());
        self.known = table.members.keys().cloned().collect();
        self.reconcile(table);
        living
    }

    /// Compares the held slots with a read, and records the slots that another instance has claimed.
    fn reconcile(&mut self, table: &Assignment) {
        for (&slot, entry) in &table.slots {
            let known = self.revisions.get(&slot).copied().unwrap_or_default();
            let finding = finding(entry, known, &self.id, self.slots.contains_key(&slot));
            self.revisions.insert(slot, known.max(entry.revision));
            match finding {
                Finding::Nothing => {}
                Finding::Ours => self.hold(slot),
                Finding::Theirs => {
                    if self.slots.remove(&slot).is_some_and(|hold| hold.stage != Stage::Released) {
                        self.changes.push(Change::Lost(slot));
                    }
                }
            }
        }
    }

    /// The held slots whose key names no instance although no other has claimed them, with the revision to expect: the
    /// key is written again and the work continues.
    pub fn nameless(&self, table: &Assignment) -> Vec<(u32, u64)> {
        let held = self.at_stage(|stage| stage == Stage::Held).into_iter();
        held.filter(|slot| table.owner(*slot).is_none()).map(|slot| (slot, table.slot_revision(slot))).collect()
    }

    /// Records that the key of a slot names this instance again.
    pub fn reclaimed(&mut self, slot: u32, revision: Option<u64>) {
        if let Some(revision) = revision {
            self.revisions.insert(slot, revision);
        }
    }

    /// Hands over slots beyond the share; returns the free slots to claim, with the revision to expect.
    pub fn share(&mut self, table: &Assignment, living: &BTreeSet<String>) -> Vec<(u32, u64)> {
        let held = self.at_stage(|stage| stage == Stage::Held);
        let busy = self.at_stage(|stage| stage != Stage::Held);
        let shares = share(&self.id, living, table, &held, &busy, self.total);
        for slot in shares.leave {
            if let Some(hold) = self.slots.get_mut(&slot) {
                hold.stage = Stage::Draining;
            }
            self.changes.push(Change::Wanted(slot));
        }
        let revision = |slot| self.revisions.get(&slot).copied().unwrap_or_default().max(table.slot_revision(slot));
        shares.take.into_iter().map(|slot| (slot, revision(slot))).collect()
    }

    /// Records that a free slot was claimed, with the new revision; `None` when another instance was faster, or the
    /// known revision was of a deleted bucket.
    pub fn taken(&mut self, slot: u32, revision: Option<u64>) {
        match revision {
            Some(revision) => {
                self.revisions.insert(slot, revision);
                self.hold(slot);
            }
            None => drop(self.revisions.remove(&slot)),
        }
    }

    /// Records that the instance has its share for now.
    pub fn settle(&mut self) {
        if !self.is_settled {
            self.is_settled = true;
            self.changes.push(Change::Settled);
        }
    }

    /// The dead members that still have a key, with the revision to expect.
    pub fn dead<'a>(&self, table: &'a Assignment, living: &BTreeSet<String>) -> Vec<(&'a str, u64)> {
        let dead = table.members.iter().filter(|(id, entry)| entry.value.is_some() && !living.contains(*id));
        dead.map(|(id, entry)| (id.as_str(), entry.revision)).collect()
    }

    fn at_stage(&self, is_wanted: impl Fn(Stage) -> bool) -> BTreeSet<u32> {
        self.slots.iter().filter(|(_, hold)| is_wanted(hold.stage)).map(|(slot, _)| *slot).collect()
    }

    /// Records the ownership of a slot.
    fn hold(&mut self, slot: u32) {
        self.terms += 1;
        let term = self.terms;
        self.slots.insert(slot, Hold { stage: Stage::Held, term });
        self.changes.push(Change::Taken(Lease { slot, term }));
    }
}

/// The meaning of a slot's key for an instance.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// No news.
    Nothing,
    /// It names this instance, which does not work on the slot: the answer to its request was lost, or was the refusal
    /// of another request. No other instance will claim it.
    Ours,
    /// It names another instance.
    Theirs,
}

/// Judges a key; a lagging replica may return a revision older than `known`.
fn finding(entry: &KeyEntry<SlotClaim>, known: u64, id: &str, is_held: bool) -> Finding {
    match &entry.value {
        _ if entry.revision < known => Finding::Nothing,
        Some(claim) if claim.owner != id => Finding::Theirs,
        Some(_) if !is_held => Finding::Ours,
        _ => Finding::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_names_an_instance_is_its_own() {
        let entry = |revision, owner: Option<&str>| KeyEntry {
            revision,
            value: owner.map(|owner| SlotClaim { owner: owner.into() }),
        };
        let check =
            |entry: KeyEntry<SlotClaim>, is_held, expected| assert_eq!(finding(&entry, 7, "a", is_held), expected);
        check(entry(8, Some("a")), false, Finding::Ours);
        // The deletion was refused by the server.
        check(entry(7, Some("a")), false, Finding::Ours);
        check(entry(7, Some("a")), true, Finding::Nothing);
        check(entry(6, Some("a")), false, Finding::Nothing);
        check(entry(8, Some("b")), true, Finding::Theirs);
        check(entry(6, Some("b")), true, Finding::Nothing);
        check(entry(8, None), true, Finding::Nothing);
    }
}
