//! Numbered batches: every message names its batch, so that the store can be checked message by message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus::protocol::{LogId, POSITION_VERSION, Position, StepConfig};
use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, query, subject};
use bytes::Bytes;
use market::windowing::EventTimePolicy;
use pipeline_tests::transactions::{Outcome, TestTransactions};
use serde_json::{Value, json};
use step::part::{Outgoing, Part, Role};

const PARTITION: u32 = 3;
/// Outputs of a batch.
const OUTPUTS: u64 = 849;
/// States of a batch; with the position it has 900 messages.
const STATES: u64 = 50;

/// Commits one batch after the other until cancelled.
#[derive(Debug, Default, Clone)]
pub(super) struct NumberedBatches {
    acknowledged: Arc<AtomicU64>,
    published: Arc<AtomicU64>,
}

impl NumberedBatches {
    /// Batches confirmed by the server.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Messages of FEED confirmed by the server.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    /// Commits until it is cancelled.
    ///
    /// # Errors
    /// A batch was refused although there is no other owner.
    pub(super) async fn commit(self, connection: Connection) -> anyhow::Result<()> {
        let transactions = TestTransactions::new(&connection, Stream::Market);
        let mut fence = 0;
        for number in 1.. {
            fence = stored(&transactions.commit(&[part(number, fence)]).await?)?;
            self.acknowledged.store(number, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Publishes ticks into FEED until it is cancelled.
    ///
    /// # Errors
    /// FEED refused one.
    pub(super) async fn publish(self, connection: Connection) -> anyhow::Result<()> {
        let instrument = &pipeline_tests::ticks::instruments(1)[0];
        for number in 1_u64.. {
            let message = pipeline_tests::ticks::tick(instrument, 1_600_000_000_000 + number as i64);
            bus::publish::publish(&connection, &message).await?;
            self.published.store(number, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn stored(outcomes: &[Outcome]) -> anyhow::Result<u64> {
    match outcomes {
        [Outcome::Stored(fence)] => Ok(*fence),
        _ => anyhow::bail!("a batch was refused although there is no other owner"),
    }
}

fn part(number: u64, fence: u64) -> Part {
    let payload = |idx: u64| Bytes::from(json!({ "batch": number, "idx": idx }).to_string());
    let output = |idx: u64| Outgoing {
        subject: subject::stored(
            Stream::Market,
            PARTITION,
            RecordKind::Price,
            &format!("coin-{}", idx % STATES),
            "usd",
        ),
        payload: payload(idx),
        role: Role::Output("price/1"),
    };
    let state = |idx: u64| Outgoing {
        subject: subject::state(Stream::Market, PARTITION, &format!("coin-{idx}"), "usd"),
        payload: payload(idx),
        role: Role::State,
    };
    let position = Position {
        version: POSITION_VERSION,
        position: number,
        frontier: number,
        verified: number,
        batch: String::new(),
        log: LogId::new("then"),
        partitions: 16,
        config: StepConfig::new(EventTimePolicy::default(), "settings"),
        settled: number * STATES,
        states: STATES,
        states_applied: number * STATES,
        applied: number * STATES,
        lost: 0,
        lost_to: 0,
        counts: json!({}),
    };
    Part {
        partition: PARTITION,
        fence,
        messages: (0..OUTPUTS).map(output).chain((0..STATES).map(state)).collect(),
        position,
    }
}

/// Confirmed counts, to be compared with the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    /// Batches.
    pub(super) batches: u64,
    /// Messages of FEED.
    pub(super) feed: u64,
}

/// Describes every fault: a confirmed message is missing, or a batch is stored in part.
///
/// # Errors
/// The streams cannot be read.
pub(super) async fn check(admin: &Connection, confirmed: Confirmed) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let position = query::last(admin, Stream::Market, &subject::position(Stream::Market, PARTITION)).await?;
    let last = match &position {
        Some(stored) => serde_json::from_slice::<Position<Value>>(&stored.payload)?.position,
        None => 0,
    };
    if last < confirmed.batches {
        wrong.push(format!("batch {} was confirmed, the position is {last}", confirmed.batches));
    }
    let outputs = read_counts(admin, &subject::all_of_partition(Stream::Market, PARTITION)).await?;
    for number in 1..=last.max(outputs.keys().max().copied().unwrap_or(0)) {
        let (found, expected) = (outputs.get(&number).copied().unwrap_or(0), if number <= last { OUTPUTS } else { 0 });
        if found != expected {
            wrong.push(format!("batch {number} has {found} outputs instead of {expected}, the position is {last}"));
        }
    }
    let mut states = read_counts(admin, &subject::checkpoint(Stream::Market, PARTITION)).await?;
    // The position has no batch number here.
    states.remove(&0);
    if last > 0 && states != BTreeMap::from([(last, STATES)]) {
        wrong.push(format!("states by batch: {states:?}, the position is {last}"));
    }
    let feed = bus::topology::stream_info(admin, Stream::Feed.name()).await?.state.last_seq;
    if feed < confirmed.feed {
        wrong.push(format!("{} messages of FEED were confirmed, it has {feed}", confirmed.feed));
    }
    Ok(wrong)
}

/// Counts the messages of each batch.
async fn read_counts(admin: &Connection, filter: &str) -> anyhow::Result<BTreeMap<u64, u64>> {
    let mut counts = BTreeMap::new();
    let selection = Selection { stream: Stream::Market, filters: vec![filter.to_owned()], from: 1 };
    read_to_end(admin, selection, |delivery| {
        let payload: Value = serde_json::from_slice(&delivery.payload)?;
        *counts.entry(payload["batch"].as_u64().unwrap_or(0)).or_insert(0) += 1;
        anyhow::Ok(())
    })
    .await?;
    Ok(counts)
}
