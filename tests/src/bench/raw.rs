//! What JetStream itself can do: all bytes of a replay again, in messages and batches of the same sizes, read as often as the
//! steps read them, and nothing decoded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use async_nats::header::NATS_BATCH_ID;
use bus::checkpoint::Position;
use bus::publish::{FeedMessage, publish_all};
use bus::reader::{Event, Reader, Selection, read_to_end};
use bus::subject;
use bus::topology::{MARKET_STEP, STATS_STEP, Step};
use bus::transaction::{Outcome, Outgoing, Part, Role, Transactions};
use bus::{Connection, Kind, Stream};
use bytes::Bytes;
use market::Instrument;
use serde_json::Value;

use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use crate::world::World;

/// A replay may take so many times as long.
const RATIO_MAX: f64 = 2.0;
/// What messages are cut from.
static ZEROS: [u8; 1024 * 1024] = [0; 1024 * 1024];

/// Messages that are stored together: the subject of each, and the bytes of its payload.
type Batch = Vec<(String, usize)>;

/// What a replay of one instrument stored, batch by batch.
#[derive(Debug)]
pub struct Shape {
    partition: u32,
    feed: Vec<Batch>,
    market: Vec<Batch>,
    stats: Vec<Batch>,
    /// Bytes of a checkpoint's state, by stream.
    states: BTreeMap<&'static str, usize>,
}

/// What came of it.
#[derive(Debug)]
pub struct Raw {
    times: Vec<Duration>,
    bytes: usize,
}

impl Shape {
    /// Reads what a replay has stored.
    ///
    /// # Errors
    /// The server does not answer, or there was more than one instrument.
    pub async fn of(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let admin = pipeline.admin();
        let mut states = BTreeMap::new();
        let mut partition = None;
        for stream in [Stream::Market, Stream::Stats] {
            let filters = vec![format!("checkpoint.{}.*.state.>", stream.root())];
            read_to_end(admin, Selection { stream, filters, from: 1 }, |delivery| {
                ensure!(states.insert(stream.name(), delivery.payload.len()).is_none(), "more than one instrument");
                partition = delivery.subject.split('.').nth(2).and_then(|token| token.parse().ok());
                Ok(())
            })
            .await?;
        }
        Ok(Self {
            partition: partition.context("nothing was stored")?,
            feed: batches(admin, Stream::Feed).await?,
            market: batches(admin, Stream::Market).await?,
            stats: batches(admin, Stream::Stats).await?,
            states,
        })
    }

    fn bytes(&self) -> usize {
        let batches = [&self.feed, &self.market, &self.stats].into_iter().flatten();
        let outputs: usize = batches.flatten().map(|(_, bytes)| bytes).sum();
        outputs + self.market.len() * self.states["MARKET"] + self.stats.len() * self.states["STATS"]
    }
}

async fn batches(connection: &Connection, stream: Stream) -> anyhow::Result<Vec<Batch>> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut last = None;
    let selection = Selection { stream, filters: vec![subject::all(stream)], from: 1 };
    read_to_end(connection, selection, |delivery| {
        let id = delivery.headers.as_ref().and_then(|headers| headers.get(NATS_BATCH_ID));
        let id = id.map_or_else(|| delivery.seq.to_string(), ToString::to_string);
        if last.as_ref() != Some(&id) {
            batches.push(Vec::new());
            last = Some(id);
        }
        let message = (delivery.subject.to_string(), delivery.payload.len());
        batches.last_mut().expect("pushed above").push(message);
        Ok::<_, bus::Error>(())
    })
    .await?;
    Ok(batches)
}

/// Writes and reads it so often, each time on a fresh store: three writers and two readers at once, as in a replay.
///
/// # Errors
/// The server fails.
pub async fn measure(shape: &Shape, runs: usize) -> anyhow::Result<Raw> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let world = World::new().await;
        let connect = async |user| world.server.connect(user).await;
        let (producer, market, stats) =
            (connect("producer").await, connect("stream-processor").await, connect("aggregator").await);
        let start = Instant::now();
        tokio::try_join!(
            publish(&producer, &shape.feed),
            read(&market, MARKET_STEP, shape.partition, &shape.feed),
            commit(&market, MARKET_STEP, shape),
            read(&stats, STATS_STEP, shape.partition, &shape.market),
            commit(&stats, STATS_STEP, shape),
        )?;
        times.push(start.elapsed());
    }
    Ok(Raw { times, bytes: shape.bytes() })
}

async fn publish(connection: &Connection, batches: &[Batch]) -> anyhow::Result<()> {
    let instrument = Instrument::new("bitcoin", "usd")?;
    for (batch, messages) in batches.iter().enumerate() {
        let message = |(idx, (_, bytes)): (usize, &(String, usize))| FeedMessage {
            kind: Kind::Tick,
            instrument: instrument.clone(),
            payload: Bytes::from_static(&ZEROS[..*bytes]),
            id: format!("{batch}-{idx}"),
        };
        let messages: Vec<_> = messages.iter().enumerate().map(message).collect();
        publish_all(connection, &messages).await?;
    }
    Ok(())
}

/// Reads what the step reads of these messages.
async fn read(connection: &Connection, step: Step, partition: u32, batches: &[Batch]) -> anyhow::Result<()> {
    let filters: Vec<_> = step.kinds.iter().map(|&kind| subject::of_partition(step.input, partition, kind)).collect();
    let is_input = |(subject, _): &&(String, usize)| {
        filters.iter().any(|filter| subject.starts_with(filter.trim_end_matches('>')))
    };
    let mut left = batches.iter().flatten().filter(is_input).count();
    let mut reader = Reader::start(connection, Selection { stream: step.input, filters, from: 1 });
    while left > 0 {
        if let Event::Message(_) = reader.next().await? {
            left -= 1;
        }
    }
    Ok(())
}

async fn commit(connection: &Connection, step: Step, shape: &Shape) -> anyhow::Result<()> {
    let batches = if step.output == Stream::Market { &shape.market } else { &shape.stats };
    let (stream, partition) = (step.output, shape.partition);
    let transactions = Transactions::new(connection, stream);
    let mut fence = 0;
    for (number, messages) in (1..).zip(batches) {
        let message = |subject: String, bytes: usize, role| Outgoing {
            subject,
            payload: Bytes::from_static(&ZEROS[..bytes]),
            role,
        };
        let output = |(subject, bytes): &(String, usize)| message(subject.clone(), *bytes, Role::Output("price/1"));
        let mut messages: Vec<_> = messages.iter().map(output).collect();
        let state = subject::state(stream, partition, "bitcoin", "usd");
        messages.push(message(state, shape.states[stream.name()], Role::State));
        let part = Part { partition, fence, messages, position: position(number) };
        let outcomes = transactions.commit(&[part]).await?;
        let [Outcome::Stored(stored)] = outcomes[..] else { bail!("a commit to {stream} was refused") };
        fence = stored;
    }
    Ok(())
}

fn position(number: u64) -> Position<Value> {
    Position {
        position: number,
        frontier: number,
        verified: number,
        batch: String::new(),
        input_created: "2026-01-01T00:00:00.000000000Z".to_owned(),
        partitions: 16,
        config: "disorder=5000 lateness=600000 windows=1m".to_owned(),
        states: 1,
        applied: number,
        lost: 0,
        lost_to: 0,
        counts: Value::Null,
    }
}

impl Raw {
    /// The figures; `replay` is the time of the replay whose shape it has.
    pub fn figures(&self, replay: &Figure) -> Vec<Figure> {
        let seconds = Figure::seconds("raw.seconds", &self.times);
        let megabytes = self.bytes as f64 / 1e6;
        let rate = self.times.iter().map(|time| megabytes / time.as_secs_f64()).collect();
        let ratio = Figure::new("raw.ratio", "", vec![replay.median() / seconds.median()]);
        vec![
            Figure::new("raw.megabytes", "MB", vec![megabytes]),
            Figure::new("raw.mb_per_s", "MB/s", rate),
            seconds,
            ratio.promise(Promise::AtMost(RATIO_MAX)),
        ]
    }
}
