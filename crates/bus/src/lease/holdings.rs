//! The slots of an instance, and what follows from a look at the bucket. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::lease::assignment::{Assignment, Claim, Entry, Member, Silences, share};
use crate::lease::process::Process;
use crate::lease::{Change, Lease};

/// Looks in a time to live. Two of them, and the time until the first sight, are what a crash may cost beyond it.
const LOOKS: u32 = 8;
const LOOK_MAX: Duration = Duration::from_millis(400);
/// Renewals in a time to live.
const RENEWALS: u32 = 3;

/// How far a slot of this instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    /// Its work was asked to end.
    Draining,
    /// Its work has ended; the key is still ours.
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
    /// Slots taken so far.
    terms: u64,
    /// Newest revision that we know of each slot's key: what an older look says is not news.
    revisions: HashMap<u32, u64>,
    silences: Silences,
    /// Members at the last look: a sign of a new one is a reason to look at once.
    known: BTreeSet<String>,
    is_settled: bool,
    changes: Vec<Change>,
}

impl Holdings {
    /// An instance of the process `here` that holds nothing yet.
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

    /// What it says of itself.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// How often it looks.
    pub fn look_every(&self) -> Duration {
        self.look_every
    }

    /// How often it gives a sign of life.
    pub fn renew_every(&self) -> Duration {
        self.renew_every
    }

    /// Whether it holds nothing, not even what it is about to give back.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a member was there at the last look.
    pub fn is_known(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.known.iter().any(|id| is_it(id))
    }

    /// What has changed since the last call, in order.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Nobody works on this slot any more, if it is still this lease.
    pub fn release(&mut self, Lease { slot, term }: Lease) {
        if let Some(hold) = self.slots.get_mut(&slot).filter(|hold| hold.term == term) {
            hold.stage = Stage::Released;
        }
    }

    /// Nobody works on any slot any more.
    pub fn release_all(&mut self) {
        self.slots.values_mut().for_each(|hold| hold.stage = Stage::Released);
    }

    /// The slots to give back, with the revision to expect.
    pub fn released(&self) -> Vec<(u32, u64)> {
        let slots = self.at_stage(|stage| stage == Stage::Released).into_iter();
        slots.map(|slot| (slot, self.revisions.get(&slot).copied().unwrap_or_default())).collect()
    }

    /// A slot was given back, with this revision; `None` when the revision to expect was another one.
    pub fn given_back(&mut self, slot: u32, revision: Option<u64>) {
        match revision {
            Some(revision) => drop(self.revisions.insert(slot, revision)),
            // Another instance has it already, which is as good; or three servers that choose a leader refused a request of
            // this instance for another one of it. The next look tells.
            None => drop(self.revisions.remove(&slot)),
        }
        self.slots.remove(&slot);
        self.is_settled = false;
    }

    /// Takes note of a look, `since_last` after the one before; returns who is alive.
    pub fn looked(&mut self, table: &Assignment, since_last: Duration) -> BTreeSet<String> {
        // More than looks are apart when all is well was an outage, in which nobody could give a sign.
        self.silences.observe(table, since_last.min(self.look_every * 2));
        let mut living = self.silences.living(table, &self.member.process);
        living.insert(self.id.clone());
        self.known = table.members.keys().cloned().collect();
        self.reconcile(table);
        living
    }

    /// Compares what we hold with what a look found, and says what another instance has taken.
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

    /// The slots whose key does not name this instance any more although nobody else has taken them, with the revision to
    /// expect: its name is to be written again, and the work just goes on.
    pub fn nameless(&self, table: &Assignment) -> Vec<(u32, u64)> {
        let held = self.at_stage(|stage| stage == Stage::Held).into_iter();
        held.filter(|slot| table.owner(*slot).is_none()).map(|slot| (slot, table.slot_revision(slot))).collect()
    }

    /// The name of this instance stands at a slot again.
    pub fn reclaimed(&mut self, slot: u32, revision: Option<u64>) {
        if let Some(revision) = revision {
            self.revisions.insert(slot, revision);
        }
    }

    /// Hands over what is more than a share; returns the free slots to take, with the revision to expect.
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

    /// A free slot was taken, with this revision; `None` when another instance was faster, or we knew a revision of a bucket
    /// that is no more.
    pub fn taken(&mut self, slot: u32, revision: Option<u64>) {
        match revision {
            Some(revision) => {
                self.revisions.insert(slot, revision);
                self.hold(slot);
            }
            None => drop(self.revisions.remove(&slot)),
        }
    }

    /// It has the share that it can have for now.
    pub fn settle(&mut self) {
        if !self.is_settled {
            self.is_settled = true;
            self.changes.push(Change::Settled);
        }
    }

    /// The members that are dead and still have a key, with the revision to expect.
    pub fn dead<'a>(&self, table: &'a Assignment, living: &BTreeSet<String>) -> Vec<(&'a str, u64)> {
        let dead = table.members.iter().filter(|(id, entry)| entry.value.is_some() && !living.contains(*id));
        dead.map(|(id, entry)| (id.as_str(), entry.revision)).collect()
    }

    fn at_stage(&self, is_wanted: impl Fn(Stage) -> bool) -> BTreeSet<u32> {
        self.slots.iter().filter(|(_, hold)| is_wanted(hold.stage)).map(|(slot, _)| *slot).collect()
    }

    /// A slot is ours from now on.
    fn hold(&mut self, slot: u32) {
        self.terms += 1;
        let term = self.terms;
        self.slots.insert(slot, Hold { stage: Stage::Held, term });
        self.changes.push(Change::Taken(Lease { slot, term }));
    }
}

/// What the key of a slot means to an instance.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// No news.
    Nothing,
    /// It names this instance, which does not work on the slot: by a request whose answer never came, or was a refusal of
    /// something else. Nobody else will take it.
    Ours,
    /// It names another instance.
    Theirs,
}

/// Judges a key; a replica that lags may show one that is older than what is `known`.
fn finding(entry: &Entry<Claim>, known: u64, id: &str, is_held: bool) -> Finding {
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
    fn a_key_that_names_an_instance_is_its_own_however_it_came() {
        let entry =
            |revision, owner: Option<&str>| Entry { revision, value: owner.map(|owner| Claim { owner: owner.into() }) };
        let check = |entry: Entry<Claim>, is_held, expected| assert_eq!(finding(&entry, 7, "a", is_held), expected);
        check(entry(8, Some("a")), false, Finding::Ours);
        // It was to be deleted, and the server refused that.
        check(entry(7, Some("a")), false, Finding::Ours);
        check(entry(7, Some("a")), true, Finding::Nothing);
        check(entry(6, Some("a")), false, Finding::Nothing);
        check(entry(8, Some("b")), true, Finding::Theirs);
        check(entry(6, Some("b")), true, Finding::Nothing);
        check(entry(8, None), true, Finding::Nothing);
    }
}
