//! A minimal step that owns one partition of MARKET and counts. Every output carries the count so far, so that a single
//! output proves that all before it were stored once.

use bus::protocol::{LogId, POSITION_VERSION, Position, StepConfig};
use bus::reader::{Selection, read_to_end};
use bus::stream::MARKET_STEP;
use bus::{Connection, Error, Stream};
use market::windowing::EventTimePolicy;
use serde_json::{Value, json};
use step::checkpoint::encode_state;
use step::part::{Outgoing, Part, Role};

use crate::transactions::{Outcome, TestTransactions};

/// Instruments that take turns.
const INSTRUMENTS: u64 = 20;

/// An owner of the partition.
#[derive(Debug)]
pub struct Counting {
    connection: Connection,
    partition: u32,
    fence: u64,
    /// Inputs applied so far; each makes one output.
    pub count: u64,
}

impl Counting {
    /// Recovers the partition.
    pub async fn recover(connection: &Connection, partition: u32) -> Self {
        let mut owner = Self { connection: connection.clone(), partition, fence: 0, count: 0 };
        owner.recover_again().await;
        owner
    }

    /// Drops all state and recovers. The recovered states must belong to one commit: each instrument has had its turns.
    pub async fn recover_again(&mut self) {
        let found =
            step::checkpoint::recover::<(), Value>(&self.connection, MARKET_STEP, self.partition).await.unwrap();
        (self.fence, self.count) = (found.fence, found.position.map_or(0, |position| position.position));
        assert_eq!(found.states.len() as u64, self.count.min(INSTRUMENTS));
        for state in found.states {
            let instrument: u64 = state.coin.trim_start_matches("coin-").parse().unwrap();
            assert_eq!(state.applied, turns(instrument, self.count), "{} of {}", state.coin, self.count);
        }
    }

    /// The commit after this many more inputs.
    pub fn part(&self, inputs: u64) -> Part {
        let partition = self.partition;
        let after = self.count + inputs;
        let outputs = (self.count + 1..=after).map(|count| Outgoing {
            subject: format!("market.{partition}.price.coin-{}.usd", count % INSTRUMENTS),
            payload: json!({ "count": count }).to_string().into(),
            role: Role::Output("price/1"),
        });
        let states = (self.count + 1..=after).rev().take(INSTRUMENTS as usize).map(|count| Outgoing {
            subject: format!("checkpoint.market.{partition}.state.coin-{}.usd", count % INSTRUMENTS),
            payload: encode_state(turns(count % INSTRUMENTS, after), count, &()),
            role: Role::State,
        });
        let position = Position {
            version: POSITION_VERSION,
            position: after,
            frontier: after,
            verified: after,
            batch: String::new(),
            log: LogId::new("then"),
            partitions: 16,
            config: StepConfig::new(EventTimePolicy::default(), "counting"),
            settled: after,
            states: after.min(INSTRUMENTS),
            states_applied: after,
            applied: after,
            lost: 0,
            lost_to: 0,
            counts: json!({}),
        };
        Part { partition, fence: self.fence, messages: outputs.chain(states).collect(), position }
    }

    /// Records the result of a commit.
    pub fn settle(&mut self, part: &Part, outcome: Outcome) {
        if let Outcome::Stored(fence) = outcome {
            assert!(fence > self.fence, "a commit lowered the fence");
            (self.fence, self.count) = (fence, part.position.position);
        }
    }

    /// Applies and commits this many more inputs.
    pub async fn commit(&mut self, transactions: &TestTransactions, inputs: u64) -> Result<Outcome, Error> {
        let parts = [self.part(inputs)];
        let outcome = transactions.commit(&parts).await?[0];
        self.settle(&parts[0], outcome);
        Ok(outcome)
    }

    /// Asserts that the partition holds every output once and in order, and nothing else; returns their number.
    pub async fn check(connection: &Connection, partition: u32) -> u64 {
        let owner = Self::recover(connection, partition).await;
        let filters = vec![format!("market.{partition}.>")];
        let mut counts = Vec::new();
        let selection = Selection { stream: Stream::Market, filters, from: 1 };
        let read = read_to_end(connection, selection, |delivery| {
            let line: Value = serde_json::from_slice(&delivery.payload).unwrap();
            counts.push(line["count"].as_u64().unwrap());
            Ok::<_, Error>(())
        });
        read.await.unwrap();
        assert_eq!(counts, (1..=owner.count).collect::<Vec<_>>());
        owner.count
    }
}

/// The number of an instrument's turns among the first inputs.
fn turns(instrument: u64, inputs: u64) -> u64 {
    let first = if instrument == 0 { INSTRUMENTS } else { instrument };
    if inputs < first { 0 } else { (inputs - first) / INSTRUMENTS + 1 }
}
