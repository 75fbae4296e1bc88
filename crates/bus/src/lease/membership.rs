//! Background task: renews the membership, reads the bucket, claims and releases slots.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use async_nats::Message;
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::connect::Connection;
use crate::error::{Disposition, Error};
use crate::lease::assignment::Assignment;
use crate::lease::bucket::Bucket;
use crate::lease::change::{Change, Lease};
use crate::lease::holdings::Holdings;
use crate::lease::tombstone::is_deletion;
use crate::reminder::Reminder;

/// Time limit for an answer: the next round asks again.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// A command to the membership task.
#[derive(Debug)]
pub(crate) enum Command {
    /// No worker uses the slot any more, if it still belongs to this lease.
    Release(Lease),
    /// Give back released slots, then leave the group.
    Leave(oneshot::Sender<()>),
}

pub(crate) struct Membership {
    bucket: Bucket,
    connection: Connection,
    holdings: Holdings,
    changes: mpsc::UnboundedSender<Result<Change, Error>>,
    looked_at: Instant,
    renewed_at: Option<Instant>,
    leaving: Option<oneshot::Sender<()>>,
}

impl Membership {
    pub(crate) fn new(
        bucket: Bucket,
        connection: Connection,
        holdings: Holdings,
        changes: mpsc::UnboundedSender<Result<Change, Error>>,
    ) -> Self {
        Self { bucket, connection, holdings, changes, looked_at: Instant::now(), renewed_at: None, leaving: None }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut reminder = Reminder::default();
        let Ok(mut signs) = self.connection.client().subscribe(self.bucket.subjects()).await else { return };
        loop {
            self.connection.connected().await;
            let round = self.round().await;
            self.tell();
            match round {
                Ok(()) => {}
                Err(error) if error.disposition() == Disposition::Stop => {
                    // The receiver is gone when this fails, so the error has no reader.
                    drop(self.changes.send(Err(error)));
                    return;
                }
                Err(error) => reminder.warn(&error),
            }
            if self.has_left().await {
                return;
            }
            let next = tokio::time::sleep(self.holdings.look_every());
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
            Command::Release(lease) => self.holdings.release(lease),
            Command::Leave(done) => {
                self.leaving = Some(done);
                self.holdings.release_all();
            }
        }
    }

    /// Whether a message of the bucket may change the shares: a key was deleted, or a member joins.
    fn is_news(&self, message: &Message) -> bool {
        let is_known = || self.holdings.is_known(|id| message.subject.ends_with(id));
        is_deletion(message.headers.as_ref()) || (message.subject.contains(".member.") && !is_known())
    }

    /// Renews, reads the bucket, and applies the changes that follow.
    async fn round(&mut self) -> Result<(), Error> {
        self.give_back().await?;
        if self.leaving.is_some() {
            return Ok(());
        }
        self.renew().await?;
        let table = within(self.bucket.look()).await?;
        let since_last = self.looked_at.elapsed();
        self.looked_at = Instant::now();
        let living = self.holdings.looked(&table, since_last);
        self.tell();
        self.reclaim(&table).await?;
        let free = self.holdings.share(&table, &living);
        self.tell();
        self.take(free).await?;
        self.tell();
        self.delete_dead(&table, &living).await
    }

    async fn renew(&mut self) -> Result<(), Error> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < self.holdings.renew_every()) {
            return Ok(());
        }
        // The time before the request: a late answer must not delay the next renewal.
        let now = Instant::now();
        within(self.bucket.renew(self.holdings.id(), self.holdings.member())).await?;
        self.renewed_at = Some(now);
        Ok(())
    }

    /// Deletes the keys of slots whose work has ended here.
    async fn give_back(&mut self) -> Result<(), Error> {
        let bucket = &self.bucket;
        let released = self.holdings.released().into_iter();
        let given = released.map(async |(slot, revision)| (slot, within(bucket.release(slot, revision)).await));
        let given: Vec<_> = join_all(given).await;
        for (slot, result) in given {
            self.holdings.given_back(slot, result?);
        }
        Ok(())
    }

    /// Writes the name of this instance again into keys that lost it.
    async fn reclaim(&mut self, table: &Assignment) -> Result<(), Error> {
        for (slot, revision) in self.holdings.nameless(table) {
            let revision = within(self.bucket.take(slot, self.holdings.id(), revision)).await?;
            self.holdings.reclaimed(slot, revision);
        }
        Ok(())
    }

    /// Takes free slots.
    async fn take(&mut self, free: Vec<(u32, u64)>) -> Result<(), Error> {
        let wanted = free.len();
        let (bucket, id) = (&self.bucket, self.holdings.id());
        let taken = free.into_iter().map(async |(slot, known)| (slot, within(bucket.take(slot, id, known)).await));
        let results: Vec<_> = join_all(taken).await;
        let mut failure = None;
        let mut count = 0;
        for (slot, result) in results {
            match result {
                Ok(revision) => {
                    count += usize::from(revision.is_some());
                    self.holdings.taken(slot, revision);
                }
                Err(error) => failure = Some(error),
            }
        }
        if count == wanted {
            self.holdings.settle();
        }
        failure.map_or(Ok(()), Err)
    }

    /// Deletes the keys of dead members.
    async fn delete_dead(&self, table: &Assignment, living: &BTreeSet<String>) -> Result<(), Error> {
        for (id, revision) in self.holdings.dead(table, living) {
            tracing::info!(id, "an instance did not renew its membership: its share is free");
            within(self.bucket.remove_member(id, revision)).await?;
        }
        Ok(())
    }

    /// Whether this instance was asked to leave and has given everything back; then it deletes its member key.
    async fn has_left(&mut self) -> bool {
        if !self.holdings.is_empty() {
            return false;
        }
        let Some(done) = self.leaving.take() else { return false };
        let removed = async {
            let (table, id) = (self.bucket.look().await?, self.holdings.id());
            let revision = table.members.get(id).map_or(0, |entry| entry.revision);
            self.bucket.remove_member(id, revision).await
        };
        if let Err(error) = within(removed).await {
            tracing::debug!(%error, "left the group without deleting the member key");
        }
        // The waiting side may have given up.
        done.send(()).ok();
        true
    }

    fn tell(&mut self) {
        for change in self.holdings.changes() {
            // The receiver is gone when this fails: then this task ends too.
            drop(self.changes.send(Ok(change)));
        }
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answered = tokio::time::timeout(ANSWER_MAX, answer).await;
    answered.unwrap_or_else(|_| Err(Error::Unanswered { what: "a lease".to_owned() }))
}
