//! The task that looks, renews, takes and gives back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::time::Duration;

use async_nats::Message;
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::connect::{Connection, Reminder};
use crate::error::{Disposition, Error};
use crate::lease::bucket::{Bucket, is_deletion};
use crate::lease::process::Process;
use crate::lease::table::{Claim, Entry, Member, Silences, Table, share};
use crate::lease::{Change, Lease};

/// Looks in a time to live. Two of them, and the time until the first sight, are what a crash may cost beyond it.
const LOOKS: u32 = 8;
const LOOK_MAX: Duration = Duration::from_millis(400);
/// Renewals in a time to live.
const RENEWALS: u32 = 3;
/// An answer that takes longer than this is not waited for: the next round asks again.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What the work asks of the keeper.
#[derive(Debug)]
pub(crate) enum Command {
    /// Nobody works on this slot any more, if it is still this lease.
    Release(Lease),
    /// Give back what was released, then leave.
    Leave(oneshot::Sender<()>),
}

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

pub(crate) struct Keeper {
    bucket: Bucket,
    connection: Connection,
    id: String,
    member: Member,
    total: u32,
    look_every: Duration,
    renew_every: Duration,
    changes: mpsc::UnboundedSender<Result<Change, Error>>,
    slots: BTreeMap<u32, Hold>,
    /// Slots taken so far.
    terms: u64,
    /// Newest revision that we know of each slot's key: what an older look says is not news.
    revisions: HashMap<u32, u64>,
    silences: Silences,
    looked_at: Instant,
    renewed_at: Option<Instant>,
    /// Members at the last look: a sign of a new one is a reason to look at once.
    known: BTreeSet<String>,
    is_settled: bool,
    leaving: Option<oneshot::Sender<()>>,
}

impl Keeper {
    pub(crate) fn new(
        bucket: Bucket,
        connection: Connection,
        id: String,
        total: u32,
        ttl: Duration,
        changes: mpsc::UnboundedSender<Result<Change, Error>>,
    ) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Self {
            bucket,
            connection,
            id,
            member: Member { process: Process::current(), ttl_ms },
            total,
            look_every: (ttl / LOOKS).min(LOOK_MAX),
            renew_every: ttl / RENEWALS,
            changes,
            slots: BTreeMap::new(),
            terms: 0,
            revisions: HashMap::new(),
            silences: Silences::default(),
            looked_at: Instant::now(),
            renewed_at: None,
            known: BTreeSet::new(),
            is_settled: false,
            leaving: None,
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut reminder = Reminder::default();
        let Ok(mut signs) = self.connection.client().subscribe(self.bucket.subjects()).await else { return };
        loop {
            self.connection.connected().await;
            match self.round().await {
                Ok(()) => {}
                Err(error) if error.disposition() == Disposition::Stop => {
                    // Nobody listens when this fails: then nobody needs to know.
                    drop(self.changes.send(Err(error)));
                    return;
                }
                Err(error) => reminder.warn(&error),
            }
            if self.has_left().await {
                return;
            }
            let next = tokio::time::sleep(self.look_every);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    Some(message) = signs.next() => if self.is_news(&message) { break },
                    Some(command) = commands.recv() => {
                        self.take_note(command);
                        while let Ok(command) = commands.try_recv() {
                            self.take_note(command);
                        }
                        break;
                    }
                }
            }
        }
    }

    fn take_note(&mut self, command: Command) {
        match command {
            Command::Release(Lease { slot, term }) => {
                if let Some(hold) = self.slots.get_mut(&slot).filter(|hold| hold.term == term) {
                    hold.stage = Stage::Released;
                }
            }
            Command::Leave(done) => {
                self.leaving = Some(done);
                self.slots.values_mut().for_each(|hold| hold.stage = Stage::Released);
            }
        }
    }

    /// Whether a message of the bucket may change what this instance should do: a key was given back, or somebody joins.
    fn is_news(&self, message: &Message) -> bool {
        let is_known = || self.known.iter().any(|id| message.subject.ends_with(id.as_str()));
        is_deletion(message.headers.as_ref()) || (message.subject.contains(".member.") && !is_known())
    }

    /// One look, and what follows from it.
    async fn round(&mut self) -> Result<(), Error> {
        self.give_back().await?;
        if self.leaving.is_some() {
            return Ok(());
        }
        self.renew().await?;
        let table = within(self.bucket.look()).await?;
        // More than looks are apart when all is well was an outage, in which nobody could give a sign.
        let since_last = self.looked_at.elapsed().min(self.look_every * 2);
        self.looked_at = Instant::now();
        self.silences.observe(&table, since_last);
        let mut living = self.silences.living(&table, &self.member.process);
        living.insert(self.id.clone());
        self.known = table.members.keys().cloned().collect();
        self.reconcile(&table);
        self.reclaim(&table).await?;
        let held: BTreeSet<u32> = self.at_stage(|stage| stage == Stage::Held);
        let busy: BTreeSet<u32> = self.at_stage(|stage| stage != Stage::Held);
        let shares = share(&self.id, &living, &table, &held, &busy, self.total);
        for slot in shares.leave {
            if let Some(hold) = self.slots.get_mut(&slot) {
                hold.stage = Stage::Draining;
            }
            self.tell(Change::Wanted(slot));
        }
        self.take(&table, shares.take).await?;
        self.bury(&table, &living).await
    }

    fn at_stage(&self, is_wanted: impl Fn(Stage) -> bool) -> BTreeSet<u32> {
        self.slots.iter().filter(|(_, hold)| is_wanted(hold.stage)).map(|(slot, _)| *slot).collect()
    }

    async fn renew(&mut self) -> Result<(), Error> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < self.renew_every) {
            return Ok(());
        }
        // From before the question: a late answer must not make the next sign late.
        let now = Instant::now();
        within(self.bucket.renew(&self.id, &self.member)).await?;
        self.renewed_at = Some(now);
        Ok(())
    }

    /// Deletes the keys of slots whose work has ended here.
    async fn give_back(&mut self) -> Result<(), Error> {
        let released: Vec<u32> = self.at_stage(|stage| stage == Stage::Released).into_iter().collect();
        let bucket = &self.bucket;
        let revisions = &self.revisions;
        let given = released.into_iter().map(|slot| async move {
            let revision = revisions.get(&slot).copied().unwrap_or_default();
            (slot, within(bucket.release(slot, revision)).await)
        });
        let given: Vec<_> = join_all(given).await;
        for (slot, result) in given {
            match result? {
                Some(revision) => drop(self.revisions.insert(slot, revision)),
                // Another instance has it already, which is as good; or three servers that choose a leader refused a request of
                // this instance for another one of it. The next look tells.
                None => drop(self.revisions.remove(&slot)),
            }
            self.slots.remove(&slot);
            self.is_settled = false;
        }
        Ok(())
    }

    /// Compares what we hold with what a look found, and says what another instance has taken.
    fn reconcile(&mut self, table: &Table) {
        for (&slot, entry) in &table.slots {
            let known = self.revisions.get(&slot).copied().unwrap_or_default();
            let finding = finding(entry, known, &self.id, self.slots.contains_key(&slot));
            self.revisions.insert(slot, known.max(entry.revision));
            match finding {
                Finding::Nothing => {}
                Finding::Ours => self.hold(slot),
                Finding::Theirs => {
                    if self.slots.remove(&slot).is_some_and(|hold| hold.stage != Stage::Released) {
                        self.tell(Change::Lost(slot));
                    }
                }
            }
        }
    }

    /// A slot is ours from now on.
    fn hold(&mut self, slot: u32) {
        self.terms += 1;
        let term = self.terms;
        self.slots.insert(slot, Hold { stage: Stage::Held, term });
        self.tell(Change::Taken(Lease { slot, term }));
    }

    /// Writes our name again where it is gone although nobody else has taken the slot: the work just goes on.
    async fn reclaim(&mut self, table: &Table) -> Result<(), Error> {
        for slot in self.at_stage(|stage| stage == Stage::Held) {
            if table.owner(slot).is_none()
                && let Some(revision) = within(self.bucket.take(slot, &self.id, table.slot_revision(slot))).await?
            {
                self.revisions.insert(slot, revision);
            }
        }
        Ok(())
    }

    /// Takes free slots, and says so.
    async fn take(&mut self, table: &Table, free: Vec<u32>) -> Result<(), Error> {
        let wanted = free.len();
        let (bucket, id, revisions) = (&self.bucket, self.id.as_str(), &self.revisions);
        let taken = free.into_iter().map(|slot| async move {
            let known = revisions.get(&slot).copied().unwrap_or_default();
            (slot, within(bucket.take(slot, id, known.max(table.slot_revision(slot)))).await)
        });
        let results: Vec<_> = join_all(taken).await;
        let mut failure = None;
        let mut count = 0;
        for (slot, result) in results {
            match result {
                Ok(Some(revision)) => {
                    count += 1;
                    self.revisions.insert(slot, revision);
                    self.hold(slot);
                }
                // Another instance was faster, or we knew a revision of a bucket that is no more.
                Ok(None) => drop(self.revisions.remove(&slot)),
                Err(error) => failure = Some(error),
            }
        }
        if count == wanted && !self.is_settled {
            self.is_settled = true;
            self.tell(Change::Settled);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Removes the keys of members that are dead.
    async fn bury(&self, table: &Table, living: &BTreeSet<String>) -> Result<(), Error> {
        for (id, entry) in &table.members {
            if entry.value.is_some() && !living.contains(id) {
                tracing::info!(id, "an instance shows no sign of life: its share is free");
                within(self.bucket.remove_member(id, entry.revision)).await?;
            }
        }
        Ok(())
    }

    /// Whether this instance was asked to leave and everything is given back; then its member key goes too.
    async fn has_left(&mut self) -> bool {
        if !self.slots.is_empty() {
            return false;
        }
        let Some(done) = self.leaving.take() else { return false };
        let removed = async {
            let table = self.bucket.look().await?;
            let revision = table.members.get(&self.id).map_or(0, |entry| entry.revision);
            self.bucket.remove_member(&self.id, revision).await
        };
        if let Err(error) = within(removed).await {
            tracing::debug!(%error, "left without saying so");
        }
        // Whoever waited may have given up.
        done.send(()).ok();
        true
    }

    fn tell(&self, change: Change) {
        // Nobody listens when this fails: then this task is about to end too.
        drop(self.changes.send(Ok(change)));
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answered = tokio::time::timeout(ANSWER_MAX, answer).await;
    answered.unwrap_or_else(|_| Err(Error::Unanswered { what: "a lease".to_owned() }))
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
