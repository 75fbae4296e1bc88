//! Requests of a recovery as a trait, so that the simulation can answer them.

use std::future::Future;
use std::time::Duration;

use bus::query::{self, StoredMessage};
use bus::snapshot::{ISOLATED_MAX, isolated, last_per_subject, multi_last};
use bus::stream::Stream;
use bus::{Connection, Error, subject};
use serde_json::json;

/// Answers the requests of a recovery.
pub trait CheckpointSource: Sync {
    /// The last message on a subject, which may have wildcards, from the leader.
    fn last(&self, stream: Stream, subject: &str) -> impl Future<Output = Result<Option<StoredMessage>, Error>> + Send;

    /// The last message on each subject of a partition's checkpoint with `states` states, and whether the read was
    /// consistent. It may come from a lagging replica.
    fn checkpoint(
        &self,
        stream: Stream,
        partition: u32,
        states: u64,
    ) -> impl Future<Output = Result<(Vec<StoredMessage>, bool), Error>> + Send;

    /// The sequences of all messages on a subject between two sequences (both exclusive), from the leader.
    fn between(
        &self,
        stream: Stream,
        subject: &str,
        bounds: (u64, u64),
    ) -> impl Future<Output = Result<Vec<u64>, Error>> + Send;

    /// Deletes a message.
    fn remove(&self, stream: Stream, seq: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sleeps.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

impl CheckpointSource for Connection {
    async fn last(&self, stream: Stream, subject: &str) -> Result<Option<StoredMessage>, Error> {
        query::last(self, stream, subject).await
    }

    async fn checkpoint(
        &self,
        stream: Stream,
        partition: u32,
        states: u64,
    ) -> Result<(Vec<StoredMessage>, bool), Error> {
        let subject = subject::checkpoint(stream, partition);
        if states < ISOLATED_MAX {
            let _permit = isolated().await;
            if let Some(messages) = multi_last(self, stream.name(), &subject).await? {
                return Ok((messages, true));
            }
        }
        Ok((last_per_subject(self, stream, &subject).await?, false))
    }

    async fn between(&self, stream: Stream, subject: &str, (after, before): (u64, u64)) -> Result<Vec<u64>, Error> {
        let found = query::between(self, stream, subject, after, before).await?;
        Ok(found.iter().map(|found| found.message.seq).collect())
    }

    async fn remove(&self, stream: Stream, seq: u64) -> Result<(), Error> {
        let body = json!({ "seq": seq, "no_erase": true });
        self.api::<serde_json::Value>(&format!("STREAM.MSG.DELETE.{stream}"), &body).await.map(drop)
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
