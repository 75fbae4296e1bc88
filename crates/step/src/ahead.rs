//! Results that are stored by themselves, ahead of the commit that stores the state and the position they belong to.
//!
//! A batch costs the server nine syncs of its disk whatever is in it, a message by itself one. So what a live input gives, a
//! price and at times a candle, does not wait for a batch: each message is stored alone, names its input, and is refused
//! unless the partition's owner is still the one that sends it. The commit that covers it follows within seconds, with
//! whatever else has come.
//!
//! An owner's first commit writes down that it is the owner. When it ends before a commit has covered what it stored ahead,
//! the next owner's first commit refuses whatever it might still send. What is stored ahead then is known for good: the
//! inputs that it names are applied again, like all others behind the position, and of what they give is left out what is
//! there. An owner that cannot tell whether a result was stored does the same.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use crate::transaction::{Outgoing, Role};
use bus::ahead::{AHEAD_HEADER, Mark};
use bus::codec::SCHEMA_HEADER;
use bus::connect::{ANSWER_MAX, parse_answer};
use bus::publish::Receipt;
use bus::{Connection, Error, Stream, history, subject};

/// So many messages of one input are stored ahead; more of them are cheaper in a batch.
pub(crate) const MESSAGES_MAX: usize = 3;
/// Several servers refuse a message while another one that expects the same is under way to all of them. It is not stored.
const IN_PROCESS: u32 = 10164;
const AGAIN: Duration = Duration::from_millis(2);
const EXPECTED_SUBJECT_HEADER: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// A result to be stored ahead of its commit.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// What it is.
    pub(crate) mark: Mark,
    /// The result.
    pub(crate) message: Outgoing,
    /// What is shown once it is stored.
    pub(crate) open: Vec<Open>,
}

/// A window that is still open, for those who watch it.
#[derive(Debug)]
pub(crate) struct Open {
    /// Where it is shown.
    pub(crate) subject: String,
    /// Its candle so far.
    pub(crate) payload: Bytes,
}

impl Open {
    /// Shows it, at most once by design: whoever watches gets the next one in a second.
    pub(crate) async fn show(self, connection: &Connection) {
        drop(connection.client().publish(self.subject, self.payload).await);
    }
}

/// Stores results, each unless the partition has another owner than the one that was written down at `owner`; returns where
/// those are that are stored for certain, and what came of the one behind them, if there is one. Results of one instrument go
/// one after the other, so that none overtakes another; a single server gets those of several together.
pub(crate) async fn store(
    connection: &Connection,
    output: Stream,
    partition: u32,
    owner: u64,
    results: &[Ahead],
) -> (Vec<u64>, Result<(), Error>) {
    let is_alone = connection.client().server_info().cluster.is_none();
    let mut stored = Vec::with_capacity(results.len());
    while stored.len() < results.len() {
        let left = &results[stored.len()..];
        let wave = &left[..if is_alone { wave(left) } else { 1 }];
        for ended in join_all(wave.iter().map(|result| store_one(connection, output, partition, owner, result))).await {
            match ended {
                Ok(seq) => stored.push(seq),
                Err(error) => return (stored, Err(error)),
            }
        }
    }
    (stored, Ok(()))
}

/// How many results, from the first on, are of different instruments.
fn wave(results: &[Ahead]) -> usize {
    let mut seen = HashSet::new();
    results.iter().take_while(|result| seen.insert(subject::instrument_of(&result.message.subject))).count()
}

async fn store_one(
    connection: &Connection,
    output: Stream,
    partition: u32,
    owner: u64,
    Ahead { mark, message, .. }: &Ahead,
) -> Result<u64, Error> {
    let mut headers = HeaderMap::new();
    if let Role::Output(schema) = message.role {
        headers.insert(SCHEMA_HEADER, schema);
    }
    headers.insert(AHEAD_HEADER, mark.text());
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, owner.to_string());
    headers.insert(EXPECTED_SUBJECT_HEADER, subject::owner(output, partition));
    let start = Instant::now();
    loop {
        let sent = connection.request(message.subject.clone(), Some(headers.clone()), message.payload.clone());
        match parse_answer::<Receipt>("a result ahead of its commit", &sent.await?.payload) {
            Err(Error::Api { err_code: IN_PROCESS, .. }) if start.elapsed() < ANSWER_MAX => {
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer.map(|receipt| receipt.seq),
        }
    }
}

/// What is stored ahead between two sequences of the output, both not included: which results of which inputs, and where.
///
/// # Errors
/// Whatever reading can meet.
pub(crate) async fn stored(
    connection: &Connection,
    output: Stream,
    partition: u32,
    after: u64,
    before: u64,
) -> Result<Vec<(Mark, String)>, Error> {
    let results = subject::all_of_partition(output, partition);
    let found = history::between(connection, output, &results, after, before).await?;
    let messages = found.into_iter().map(|found| found.message);
    Ok(messages.filter_map(|message| Some((Mark::of(Some(&message.headers))?, message.subject))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_result_of_an_instrument_is_sent_before_the_one_before_it_is_stored() {
        let ahead = |kind: &str, coin: &str| Ahead {
            mark: Mark { input: 1, number: 1, of: 1 },
            message: Outgoing {
                subject: format!("market.3.{kind}.{coin}.usd"),
                payload: "{}".into(),
                role: Role::Output("price/1"),
            },
            open: Vec::new(),
        };
        let results = [ahead("price", "bitcoin"), ahead("candle-1m", "ethereum"), ahead("price", "ethereum")];
        assert_eq!([0, 1, 2, 3].map(|from| wave(&results[from..])), [2, 1, 1, 0]);
    }
}
