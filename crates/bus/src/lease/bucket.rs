//! The keys of a group in the bucket of leases.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_TTL;
use bytes::Bytes;
use serde::Serialize;

use crate::connect::Connection;
use crate::error::Error;
use crate::lease::assignment::{Assignment, Member, SlotClaim};
use crate::lease::tombstone::{DELETED, OPERATION_HEADER};
use crate::revision::{expecting, unless_overtaken, write};
use crate::snapshot::all_last;
use crate::stream::LEASES_STREAM;
use crate::subject;

/// How long the deletion marker of a dead member stays. Without a limit the markers would accumulate with every
/// restart.
const MARK_TTL: &str = "60s";

/// The keys of one group.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    connection: Connection,
    group: String,
}

impl Bucket {
    pub(crate) fn new(connection: &Connection, group: &str) -> Self {
        Self { connection: connection.clone(), group: group.to_owned() }
    }

    /// Every subject of the group.
    pub(crate) fn subjects(&self) -> String {
        subject::leases(&self.group)
    }

    /// Reads all keys. A lagging replica may answer: a write based on an old revision is refused.
    pub(crate) async fn look(&self) -> Result<Assignment, Error> {
        Assignment::of(&self.group, &all_last(&self.connection, LEASES_STREAM, &self.subjects()).await?)
    }

    /// Renews a member key.
    pub(crate) async fn renew(&self, id: &str, member: &Member) -> Result<u64, Error> {
        self.write(subject::member(&self.group, id), HeaderMap::new(), encode(member)).await
    }

    /// Deletes a member key, if `revision` is still the latest.
    pub(crate) async fn remove_member(&self, id: &str, revision: u64) -> Result<Option<u64>, Error> {
        let mut headers = deletion(revision);
        headers.insert(NATS_MESSAGE_TTL, MARK_TTL);
        unless_overtaken(self.write(subject::member(&self.group, id), headers, Bytes::new()).await)
    }

    /// Claims a slot, if `revision` is still the latest. `None` when another instance was faster.
    pub(crate) async fn take(&self, slot: u32, owner: &str, revision: u64) -> Result<Option<u64>, Error> {
        let claim = encode(&SlotClaim { owner: owner.to_owned() });
        let written = self.write(subject::slot(&self.group, slot), expecting(revision), claim).await;
        unless_overtaken(written)
    }

    /// Releases a slot, if `revision` is still the latest.
    pub(crate) async fn release(&self, slot: u32, revision: u64) -> Result<Option<u64>, Error> {
        unless_overtaken(self.write(subject::slot(&self.group, slot), deletion(revision), Bytes::new()).await)
    }

    async fn write(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<u64, Error> {
        write(&self.connection, "a lease", subject, headers, payload).await
    }
}

fn deletion(revision: u64) -> HeaderMap {
    let mut headers = expecting(revision);
    headers.insert(OPERATION_HEADER, DELETED);
    headers
}

fn encode(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).expect("a lease is plain data").into()
}
