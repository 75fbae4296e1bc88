//! Commits without a partition: drives the transaction of a partition directly.

use std::sync::Arc;

use bus::retry::Backoff;
use bus::{Connection, Error, Stream};
use futures::future::try_join_all;
use step::commit::{Commit, CommitAnswer, Next};
use step::part::Part;
use step::transaction::read_position;
use tokio::time::Duration;

/// Result of a part's commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored; the new fence.
    Stored(u64),
    /// The partition has another owner.
    Fenced,
}

/// Commits of a process to one stream.
#[derive(Debug)]
pub struct TestTransactions {
    connection: Connection,
    output: Stream,
    attempts: step::transaction::Transactions,
}

impl TestTransactions {
    /// Prepares commits to a stream.
    pub fn new(connection: &Connection, output: Stream) -> Self {
        let attempts = step::transaction::Transactions::new(connection, output);
        Self { connection: connection.clone(), output, attempts }
    }

    /// Stores all parts in one batch, repeating the unfinished ones until the result of each is known; results are in
    /// order.
    pub async fn commit(&self, parts: &[Part]) -> Result<Vec<Outcome>, Error> {
        let mut commits: Vec<_> = parts.iter().cloned().map(Commit::new).collect();
        let mut outcomes = vec![None; parts.len()];
        while outcomes.contains(&None) {
            let open: Vec<usize> = (0..parts.len()).filter(|&idx| outcomes[idx].is_none()).collect();
            let together: Vec<_> = open.iter().map(|&idx| Arc::clone(commits[idx].part())).collect();
            let id = self.attempts.next_id();
            let result = self.attempts.attempt(&together, &id).await;
            let next = open.iter().zip(0..).map(|(&idx, place)| {
                let result = result.as_ref().map(|fences| fences[place]).map_err(Error::clone);
                commits[idx].answered(CommitAnswer { batch: id.clone(), result })
            });
            let next: Vec<_> = next.collect();
            let positions = open.iter().map(|&idx| self.position_of(&parts[idx]));
            let positions = if result.is_ok() { vec![None; open.len()] } else { try_join_all(positions).await? };
            let mut pause = Duration::ZERO;
            for ((&idx, next), position) in open.iter().zip(next).zip(positions) {
                let commit = &mut commits[idx];
                let next = if let Next::ReadPosition = next { commit.position_read(position.as_ref()) } else { next };
                match next {
                    Next::Stored(fence) => outcomes[idx] = Some(Outcome::Stored(fence)),
                    Next::Fenced => outcomes[idx] = Some(Outcome::Fenced),
                    Next::Again(delay) => pause = pause.max(delay),
                    Next::Failed(error) => return Err(error),
                    Next::ReadPosition => unreachable!("it was read"),
                }
            }
            tokio::time::sleep(pause).await;
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    async fn position_of(&self, part: &Part) -> Result<Option<step::part::StoredPosition>, Error> {
        Backoff::constant(Duration::from_millis(20))
            .retry(|| read_position(&self.connection, self.output, part.partition))
            .await
    }
}
