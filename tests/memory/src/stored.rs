//! Stored results, states and positions of a partition, with one sequence, as in a stream.

use std::collections::BTreeMap;

use bus::protocol::Position;
use bus::query::StoredMessage as Message;
use bus::{Error, subject};
use bytes::Bytes;
use serde_json::Value;
use step::Operator;
use step::checkpoint::{Checkpoint, assemble};
use step::commit::CommitAnswer;
use step::part::{Outgoing, Part, Role, StoredPosition};
use step::transaction::MESSAGES_MAX;

use crate::log::PARTITION;

/// JetStream error code: the last sequence of the subject is not the expected one.
const OTHER_LAST_SEQUENCE: u32 = 10071;

/// Stored results, states and position of a partition.
#[derive(Debug, Default)]
pub struct StoredPartition {
    outputs: Vec<Outgoing>,
    /// The last state of each instrument, by subject.
    states: BTreeMap<String, Message>,
    /// The last position, with its sequence.
    position: Option<(u64, Position<Value>)>,
    /// Sequence of the last message.
    last_seq: u64,
    batches: u64,
    refused: u64,
}

impl StoredPartition {
    /// The results, in order.
    pub fn outputs(&self) -> &[Outgoing] {
        &self.outputs
    }

    /// Number of batches that were refused because another owner had stored one.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The position; `None` before the first commit.
    pub fn position(&self) -> Option<&Position<Value>> {
        self.position.as_ref().map(|(_, position)| position)
    }

    /// The stored states, by coin and quote.
    pub fn states(&self) -> impl Iterator<Item = ((&str, &str), &Bytes)> {
        self.states.values().filter_map(|state| Some((subject::state_instrument(&state.subject)?, &state.payload)))
    }

    /// The checkpoint of a new owner.
    pub(crate) fn recover<O: Operator>(&self) -> Checkpoint<O::State, O::Counts> {
        let Some((seq, position)) = &self.position else {
            return Checkpoint { fence: 0, position: None, states: Vec::new() };
        };
        let payload = serde_json::to_vec(position).expect("a position is plain data");
        let position = message(*seq, subject::position(O::STEP.output, PARTITION), payload.into());
        let messages: Vec<Message> = self.states.values().cloned().chain([position]).collect();
        assemble(O::STEP, PARTITION, &messages).expect("a position of this version").expect("a batch is stored whole")
    }

    /// Sequence and batch of the position.
    pub(crate) fn stored_position(&self) -> Option<StoredPosition> {
        let stored =
            |(seq, position): &(u64, Position<_>)| StoredPosition { seq: *seq, batch: Some(position.batch.clone()) };
        self.position.as_ref().map(stored)
    }

    /// Stores all of a part, or nothing when its fence is not the sequence of the position.
    pub(crate) fn commit(&mut self, part: &Part) -> CommitAnswer {
        assert!(part.messages.len() < MESSAGES_MAX, "a batch of {} messages was not split", part.messages.len());
        self.batches += 1;
        let batch = format!("batch-{}", self.batches);
        let fence = self.position.as_ref().map_or(0, |(seq, _)| *seq);
        if fence != part.fence {
            self.refused += 1;
            let description = format!("wrong last sequence: {fence}");
            let refusal = Error::refusal("a commit".to_owned(), 400, OTHER_LAST_SEQUENCE, description);
            return CommitAnswer { batch, result: Err(refusal) };
        }
        for outgoing in &part.messages {
            self.last_seq += 1;
            match outgoing.role {
                Role::Output(_) => self.outputs.push(outgoing.clone()),
                Role::State => {
                    let state = message(self.last_seq, outgoing.subject.clone(), outgoing.payload.clone());
                    self.states.insert(outgoing.subject.clone(), state);
                }
            }
        }
        self.last_seq += 1;
        self.position = Some((self.last_seq, Position { batch: batch.clone(), ..part.position.clone() }));
        CommitAnswer { batch, result: Ok(self.last_seq) }
    }
}

/// A message of a checkpoint, as a recovery reads it.
fn message(seq: u64, subject: String, payload: Bytes) -> Message {
    Message { seq, subject, payload, headers: Default::default(), server_ms: 0 }
}
