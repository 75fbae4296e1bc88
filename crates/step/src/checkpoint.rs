//! Recovery of a checkpoint: the position and the states with which a new owner of a partition starts.

mod source;

use std::time::Duration;

use bus::error::Disposition;
use bus::protocol::{Position, decode_position};
use bus::query::StoredMessage;
use bus::reminder::Reminder;
use bus::retry::Backoff;
use bus::stream::{Step, Stream};
use bus::{Error, subject};
use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

pub use source::CheckpointSource;

/// Reads with one position and other sums before the checkpoint counts as torn.
const TORN_READS_MAX: u32 = 10;
/// Upper bound of the outputs that a torn batch can have left after its position.
const ORPHANS_MAX: usize = 1_000;
/// Delay before a read that met another owner's commit is repeated.
const REREAD_DELAY: Duration = Duration::from_millis(10);
const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
/// Version of the encoding of states.
const STATE_VERSION: u8 = 5;

/// A recovered checkpoint.
#[derive(Debug)]
pub struct Checkpoint<S, C> {
    /// Stream sequence of the position message, the fence; 0 without a position.
    pub fence: u64,
    /// The position; `None` before the first commit.
    pub position: Option<Position<C>>,
    /// The states.
    pub states: Vec<InstrumentState<S>>,
}

/// The state of one instrument.
#[derive(Debug)]
pub struct InstrumentState<S> {
    /// Coin, as in the subject.
    pub coin: String,
    /// Quote currency, as in the subject.
    pub quote: String,
    /// Number of inputs applied to it.
    pub applied: u64,
    /// Its last input.
    pub last_seq: u64,
    /// The state of the operator.
    pub state: S,
    /// The stored form.
    pub encoded: Bytes,
}

/// Encodes a state with the number of inputs applied to it and the sequence of the last one.
///
/// # Panics
/// Never for states, which are plain data.
pub fn encode_state<S: Serialize>(applied: u64, last_seq: u64, state: &S) -> Bytes {
    let bytes = postcard::to_allocvec(&(STATE_VERSION, applied, last_seq, state));
    bytes.expect("states are plain data and memory takes every byte").into()
}

/// Decodes the output of [`encode_state`]: the number of inputs applied, the sequence of the last one, and the state.
///
/// # Errors
/// Why it cannot be decoded.
pub fn decode_state<S: DeserializeOwned>(encoded: &[u8]) -> Result<(u64, u64, S), String> {
    match encoded.first() {
        Some(&STATE_VERSION) => {}
        Some(found) => {
            return Err(format!(
                "another version of candlewire stored it (its form has version {found}, this one reads version \
                {STATE_VERSION})"
            ));
        }
        None => return Err("it is empty".to_owned()),
    }
    let decoded: postcard::Result<(u8, u64, u64, S)> = postcard::from_bytes(encoded);
    decoded.map(|(_, applied, last_seq, state)| (applied, last_seq, state)).map_err(|error| error.to_string())
}

fn stored_state<S: DeserializeOwned>(stored: &StoredMessage) -> Result<InstrumentState<S>, Error> {
    let of_stream = stored.subject.split('.').nth(1).unwrap_or_default();
    let unreadable = |fault: String| Error::Unreadable {
        what: format!("state {}", stored.subject),
        detail: format!("{fault}: run `topology rebuild {of_stream}`"),
    };
    let (coin, quote) =
        subject::state_instrument(&stored.subject).ok_or_else(|| unreadable("its subject".to_owned()))?;
    let (applied, last_seq, state) = decode_state(&stored.payload).map_err(unreadable)?;
    let encoded = stored.payload.clone();
    Ok(InstrumentState { coin: coin.to_owned(), quote: quote.to_owned(), applied, last_seq, state, encoded })
}

/// Recovers a partition of a step: the position from the leader, the states in one isolated read, accepted only when
/// both agree. Outages are waited for.
///
/// # Errors
/// [`Error::CheckpointLost`] when outputs, states and position contradict each other.
pub async fn recover<S: DeserializeOwned, C: DeserializeOwned>(
    source: &impl CheckpointSource,
    step: Step,
    partition: u32,
) -> Result<Checkpoint<S, C>, Error> {
    let mut reminder = Reminder::default();
    let mut delays = RETRY.delays();
    let (mut torn_reads, mut torn_at) = (0, 0);
    loop {
        match attempt(source, step, partition).await {
            Ok(Attempt::Whole(checkpoint)) => return Ok(checkpoint),
            Ok(Attempt::Moving) => source.pause(REREAD_DELAY).await,
            Ok(Attempt::Torn(Torn { fence, detail })) => {
                // While another owner commits, reads of many states can be torn again and again, each at another
                // position.
                torn_reads = if fence == torn_at { torn_reads + 1 } else { 1 };
                torn_at = fence;
                if torn_reads == TORN_READS_MAX {
                    return Err(lost(step.output, partition, detail));
                }
                source.pause(REREAD_DELAY).await;
            }
            Err(error) if error.disposition() == Disposition::Stop => return Err(error),
            Err(error) => {
                reminder.warn(&error);
                source.pause(delays.next_delay()).await;
            }
        }
    }
}

enum Attempt<S, C> {
    Whole(Checkpoint<S, C>),
    /// Another owner committed during the read.
    Moving,
    /// Position and states disagree although the position did not change.
    Torn(Torn),
}

/// Reads in an order that makes the result safe: each later read is at least as new as the one before.
async fn attempt<S: DeserializeOwned, C: DeserializeOwned>(
    source: &impl CheckpointSource,
    step: Step,
    partition: u32,
) -> Result<Attempt<S, C>, Error> {
    let output = step.output;
    let Some(known) = source.last(output, &subject::position(output, partition)).await? else {
        return beginning(source, output, partition).await;
    };
    let states = decode_position::<Position<IgnoredAny>>(&known)?.states;
    let (messages, is_one_picture) = source.checkpoint(output, partition, states).await?;
    let checkpoint = match assemble(step, partition, &messages)? {
        Ok(checkpoint) => checkpoint,
        Err(torn) if known.seq == torn.fence => return Ok(Attempt::Torn(torn)),
        Err(_) => return Ok(Attempt::Moving),
    };
    // A consistent read may be newer than the position of the leader, which was read before. An older one is from a
    // lagging replica.
    let is_current = if is_one_picture { checkpoint.fence >= known.seq } else { checkpoint.fence == known.seq };
    if !is_current || !remove_orphans(source, output, partition, checkpoint.fence).await? {
        return Ok(Attempt::Moving);
    }
    Ok(Attempt::Whole(checkpoint))
}

/// A position and states that disagree.
#[derive(Debug)]
pub struct Torn {
    /// Stream sequence of the position.
    pub fence: u64,
    /// The contradiction.
    detail: String,
}

/// Assembles a checkpoint from the last messages on the subjects of a partition. The position holds the number of
/// stored states and the number of inputs that they contain. If a state is newer, older or missing, the sums differ.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn assemble<S: DeserializeOwned, C: DeserializeOwned>(
    step: Step,
    partition: u32,
    messages: &[StoredMessage],
) -> Result<Result<Checkpoint<S, C>, Torn>, Error> {
    let subject = subject::position(step.output, partition);
    let Some(stored) = messages.iter().find(|message| message.subject == subject) else {
        return Ok(Err(Torn { fence: 0, detail: "no position".to_owned() }));
    };
    let position: Position<C> = decode_position(stored)?;
    let states = messages.iter().filter(|message| subject::state_instrument(&message.subject).is_some());
    let states = states.map(stored_state).collect::<Result<Vec<InstrumentState<S>>, Error>>()?;
    let applied: u64 = states.iter().map(|state| state.applied).sum();
    if states.len() as u64 != position.states || applied != position.states_applied {
        let (count, expected, fence) = (states.len(), position.states, stored.seq);
        let states_applied = position.states_applied;
        let detail =
            format!("{count} states with {applied} inputs, the position says {expected} with {states_applied}");
        return Ok(Err(Torn { fence, detail }));
    }
    Ok(Ok(Checkpoint { fence: stored.seq, position: Some(position), states }))
}

/// A partition without a position starts at the beginning, but only if none of its results was ever stored.
async fn beginning<S, C>(
    source: &impl CheckpointSource,
    output: Stream,
    partition: u32,
) -> Result<Attempt<S, C>, Error> {
    for subject in [subject::all_of_partition(output, partition), subject::checkpoint(output, partition)] {
        if let Some(found) = source.last(output, &subject).await? {
            if source.last(output, &subject::position(output, partition)).await?.is_some() {
                return Ok(Attempt::Moving);
            }
            return Err(lost(
                output,
                partition,
                format!("no position, but {} at sequence {}", found.subject, found.seq),
            ));
        }
    }
    Ok(Attempt::Whole(Checkpoint { fence: 0, position: None, states: Vec::new() }))
}

/// Deletes outputs after the position. A commit stores outputs before its position, so these belong to a batch that a
/// power cut tore. Returns false when the position changed meanwhile: then they belong to the commit of another owner.
async fn remove_orphans(
    source: &impl CheckpointSource,
    output: Stream,
    partition: u32,
    fence: u64,
) -> Result<bool, Error> {
    let outputs = subject::all_of_partition(output, partition);
    let last = source.last(output, &outputs).await?.map_or(0, |last| last.seq);
    let orphans = source.between(output, &outputs, (fence, last + 1)).await?;
    if orphans.is_empty() {
        return Ok(true);
    }
    let now = source.last(output, &subject::position(output, partition)).await?;
    if now.is_none_or(|position| position.seq != fence) {
        return Ok(false);
    }
    if orphans.len() > ORPHANS_MAX {
        return Err(lost(output, partition, format!("more than {ORPHANS_MAX} outputs after the position")));
    }
    tracing::warn!(stream = %output, partition, count = orphans.len(), "removing the outputs of a torn batch");
    for seq in orphans {
        source.remove(output, seq).await?;
    }
    Ok(true)
}

pub(crate) fn lost(output: Stream, partition: u32, detail: String) -> Error {
    Error::CheckpointLost { output: output.name().to_owned(), partition, detail }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    fn read(payload: &[u8]) -> Result<InstrumentState<String>, String> {
        let (subject, payload) = ("checkpoint.stats.3.state.bitcoin.usd".to_owned(), Bytes::copy_from_slice(payload));
        let stored = StoredMessage { seq: 1, subject, payload, headers: HeaderMap::new(), server_ms: 0 };
        stored_state(&stored).map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_state_of_this_version_is_read() {
        let encoded = encode_state(3, 7, &"state");
        let state = read(&encoded).expect("a state");
        assert_eq!((state.applied, state.last_seq, state.state.as_str()), (3, 7, "state"));
        for version in [STATE_VERSION - 1, STATE_VERSION + 1] {
            let error = read(&[&[version], &encoded[1..]].concat()).expect_err("another version");
            assert!(error.contains(&format!("its form has version {version}")), "{error}");
            assert!(error.ends_with("run `topology rebuild stats`"), "{error}");
        }
        assert!(read(&[]).is_err_and(|error| error.contains("empty")));
    }
}
