//! The leases of a process: the decisions of `bus::lease::Holdings`, with requests over the simulated network.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bus::lease::{Assignment, Change, Holdings, Lease, SlotClaim};
use bus::{Error, subject};

use crate::jetstream::{Answer, Message, Request};
use crate::world::client::Client;
use crate::world::executor::{Destination, Mailbox, ProcessIo};
use crate::world::wire;

const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The stream that backs the bucket.
pub(crate) const LEASES: &str = "KV_LEASES";
const OVERTAKEN: [u32; 2] = [10_071, 10_164];

/// A command to the membership task.
pub(crate) enum Command {
    Release(Lease),
    Leave,
}

/// Renews the membership, reads the bucket, claims and releases slots.
pub(crate) struct Membership {
    pub(crate) client: Client,
    pub(crate) group: &'static str,
    pub(crate) holdings: Arc<Mutex<Holdings>>,
    pub(crate) commands: Mailbox<Command>,
    pub(crate) changes: Mailbox<Change>,
    pub(crate) left: Mailbox<()>,
}

impl Membership {
    fn io(&self) -> &ProcessIo {
        &self.client.io
    }

    fn held(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().expect("one thread runs a world")
    }

    /// Runs until it is told to leave.
    pub(crate) async fn run(self) {
        let (mut looked_at, mut renewed_at, mut is_leaving) = (self.io().now(), None, false);
        loop {
            // Another round follows a failed one.
            drop(self.round(&mut looked_at, &mut renewed_at, is_leaving).await);
            self.tell();
            if is_leaving && self.held().is_empty() {
                self.left.put(self.io(), ());
                return;
            }
            let look_every = self.held().look_every();
            self.commands.filled_within(self.io(), look_every).await;
            for command in self.commands.take_all() {
                match command {
                    Command::Release(lease) => self.held().release(lease),
                    Command::Leave => {
                        is_leaving = true;
                        self.held().release_all();
                    }
                }
            }
        }
    }

    async fn round(
        &self,
        looked_at: &mut Duration,
        renewed_at: &mut Option<Duration>,
        is_leaving: bool,
    ) -> Result<(), Error> {
        let released = self.held().released();
        for (slot, revision) in released {
            let message = Message::new(&subject::slot(self.group, slot), "").expecting(revision).deletion();
            let given = self.write(message).await?;
            self.held().given_back(slot, given);
        }
        if is_leaving {
            return Ok(());
        }
        self.renew(renewed_at).await?;
        let messages = self.client.picture(LEASES, &subject::leases(self.group)).await?;
        let table = Assignment::of(self.group, &messages)?;
        let (now, since_last) = (self.io().now(), self.io().now() - *looked_at);
        *looked_at = now;
        let living = self.held().looked(&table, since_last);
        self.tell();
        let nameless = self.held().nameless(&table);
        for (slot, revision) in nameless {
            let revision = self.take(slot, revision).await?;
            self.held().reclaimed(slot, revision);
        }
        self.share(&table, &living).await?;
        self.delete_dead(&table, &living).await
    }

    async fn renew(&self, renewed_at: &mut Option<Duration>) -> Result<(), Error> {
        let now = self.io().now();
        let (every, subject, member) = {
            let held = self.held();
            let member = serde_json::to_vec(held.member()).expect("a member is plain data");
            (held.renew_every(), subject::member(self.group, held.id()), member)
        };
        if renewed_at.is_none_or(|at| now - at >= every) {
            self.write(Message::new(&subject, member)).await?;
            *renewed_at = Some(now);
        }
        Ok(())
    }

    async fn share(&self, table: &Assignment, living: &BTreeSet<String>) -> Result<(), Error> {
        let free = self.held().share(table, living);
        self.tell();
        for (slot, revision) in free {
            let revision = self.take(slot, revision).await?;
            self.held().taken(slot, revision);
            self.tell();
        }
        self.held().settle();
        Ok(())
    }

    async fn delete_dead(&self, table: &Assignment, living: &BTreeSet<String>) -> Result<(), Error> {
        let dead: Vec<(String, u64)> =
            self.held().dead(table, living).into_iter().map(|(id, revision)| (id.to_owned(), revision)).collect();
        for (id, revision) in dead {
            let message = Message::new(&subject::member(self.group, &id), "").expecting(revision);
            self.write(message.deletion().ending(60)).await?;
        }
        Ok(())
    }

    async fn take(&self, slot: u32, revision: u64) -> Result<Option<u64>, Error> {
        let owner = self.held().id().to_owned();
        let claim = serde_json::to_vec(&SlotClaim { owner }).expect("a claim is plain data");
        self.write(Message::new(&subject::slot(self.group, slot), claim).expecting(revision)).await
    }

    /// Writes a key; `None` when another instance was faster.
    async fn write(&self, message: Message) -> Result<Option<u64>, Error> {
        const WHAT: &str = "a lease";
        match self
            .io()
            .ask(Destination::Leader, Request::Publish(message), ANSWER_MAX)
            .await
            .map(|response| response.answer)
        {
            Some(Answer::Stored { seq, .. }) => Ok(Some(seq)),
            Some(Answer::Refused(refusal)) if OVERTAKEN.contains(&refusal.err_code) => Ok(None),
            Some(answer) => Err(wire::failed(WHAT, answer)),
            None => Err(wire::unanswered(WHAT)),
        }
    }

    fn tell(&self) {
        let changes = self.held().changes();
        changes.into_iter().for_each(|change| self.changes.put(self.io(), change));
    }
}
