//! Lower bound from JetStream alone: stores and reads the bytes of a replay again, in messages and batches of the same
//! sizes, read as often as the steps read them, without decoding. Once with payloads of the length of their lines, once
//! of their stored length.

use std::time::{Duration, Instant};

use anyhow::Context;
use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_ID, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use bus::batch::{self, Numbered, ROLLUP_HEADER};
use bus::codec::SCHEMA_HEADER;
use bus::reader::{Form, Reader, ReaderEvent, Selection, read_to_end, read_to_end_as};
use bus::stream::{MARKET_STEP, STATS_STEP, Step};
use bus::{Connection, RecordKind, Stream, subject};
use bytes::Bytes;
use market::Instrument;
use pipeline_tests::test_pipeline::TestPipeline;

use super::pipeline::Pipeline;
use super::report::{Figure, Promise};

/// Promise: most time of a replay, relative to nats-server alone with the same lines.
const RATIO_MAX: f64 = 0.7;
/// Approximate size of a position.
const POSITION_BYTES: usize = 420;
/// Source of the payloads.
static ZEROS: [u8; 1024 * 1024] = [0; 1024 * 1024];

/// A message: its subject and the length of its payload.
type Sized = (String, usize);
/// Messages that are stored together.
type Batch = Vec<Sized>;

/// The sizes of a one-instrument replay's messages, by batch.
#[derive(Debug)]
pub struct MessageSizes {
    /// Lengths of the lines.
    pub lines: Sizes,
    /// Lengths as stored, possibly compressed.
    pub stored: Sizes,
}

/// The batches of each stream.
#[derive(Debug)]
pub struct Sizes {
    partition: u32,
    feed: Vec<Batch>,
    market: Vec<Batch>,
    stats: Vec<Batch>,
}

/// Results of both forms.
#[derive(Debug)]
pub struct Raw {
    lines: Runs,
    stored: Runs,
}

#[derive(Debug)]
struct Runs {
    times: Vec<Duration>,
    bytes: usize,
}

impl MessageSizes {
    /// Reads the sizes from the streams of a replay.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn of(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let admin = pipeline.admin();
        let lines = Sizes::read(admin, Form::Lines).await?;
        Ok(Self { lines, stored: Sizes::read(admin, Form::Stored).await? })
    }
}

impl Sizes {
    async fn read(admin: &Connection, form: Form) -> anyhow::Result<Self> {
        let mut partition = None;
        let filters = vec![subject::all(Stream::Market)];
        read_to_end(admin, Selection { stream: Stream::Market, filters, from: 1 }, |delivery| {
            partition = delivery.subject.split('.').nth(1).and_then(|token| token.parse().ok());
            Ok::<_, bus::Error>(())
        })
        .await?;
        Ok(Self {
            partition: partition.context("nothing was stored")?,
            feed: batches(admin, Stream::Feed, form).await?,
            market: batches(admin, Stream::Market, form).await?,
            stats: batches(admin, Stream::Stats, form).await?,
        })
    }

    fn bytes(&self) -> usize {
        let batches = [&self.feed, &self.market, &self.stats].into_iter().flatten();
        batches.flatten().map(|(_, bytes)| bytes).sum()
    }
}

async fn batches(connection: &Connection, stream: Stream, form: Form) -> anyhow::Result<Vec<Batch>> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut last = None;
    let selection = Selection { stream, filters: vec![subject::all(stream)], from: 1 };
    read_to_end_as(connection, selection, form, |delivery| {
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

/// Writes and reads both forms this often, in turns.
///
/// # Errors
/// The server fails.
pub async fn measure(sizes: &MessageSizes, runs: usize) -> anyhow::Result<Raw> {
    let start = |sizes: &Sizes| Runs { times: Vec::new(), bytes: sizes.bytes() };
    let mut raw = Raw { lines: start(&sizes.lines), stored: start(&sizes.stored) };
    for _ in 0..runs {
        raw.lines.times.push(run(&sizes.lines).await?);
        raw.stored.times.push(run(&sizes.stored).await?);
    }
    Ok(raw)
}

/// Writes and reads one form once, on a fresh store: three writers and two readers at a time, as in a replay.
async fn run(sizes: &Sizes) -> anyhow::Result<Duration> {
    let base = TestPipeline::new().await;
    let connect = async |user| base.server.connect(user).await;
    let (producer, market, stats) =
        (connect("producer").await, connect("stream-processor").await, connect("aggregator").await);
    let start = Instant::now();
    tokio::try_join!(
        publish(&producer, &sizes.feed),
        read(&market, MARKET_STEP, sizes.partition, &sizes.feed),
        commit(&market, MARKET_STEP, sizes),
        read(&stats, STATS_STEP, sizes.partition, &sizes.market),
        commit(&stats, STATS_STEP, sizes),
    )?;
    Ok(start.elapsed())
}

async fn publish(connection: &Connection, batches: &[Batch]) -> anyhow::Result<()> {
    let subject = subject::feed(RecordKind::Tick, &Instrument::new("bitcoin", "usd")?);
    for (number, messages) in batches.iter().enumerate() {
        let message = |(idx, (_, bytes)): (usize, &Sized)| {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, format!("{number}-{idx}"));
            headers.insert(NATS_EXPECTED_STREAM, Stream::Feed.name());
            headers.insert(SCHEMA_HEADER, RecordKind::Tick.schema());
            (subject.clone(), headers, Bytes::from_static(&ZEROS[..*bytes]))
        };
        store(connection, messages.iter().enumerate().map(message).collect()).await?;
    }
    Ok(())
}

/// Stores messages as one batch; returns its last sequence.
async fn store(connection: &Connection, mut messages: Vec<Numbered>) -> anyhow::Result<u64> {
    let id = batch::unguessable();
    for (number, (_, headers, _)) in (1..).zip(&mut messages) {
        batch::number(headers, &id, number);
    }
    Ok(batch::send(connection, "bytes", messages).await?.seq)
}

/// Reads the subjects that the step would read.
async fn read(connection: &Connection, step: Step, partition: u32, batches: &[Batch]) -> anyhow::Result<()> {
    let filters: Vec<_> = step.kinds.iter().map(|&kind| subject::of_partition(step.input, partition, kind)).collect();
    let is_input =
        |(subject, _): &&Sized| filters.iter().any(|filter| subject.starts_with(filter.trim_end_matches('>')));
    let mut left = batches.iter().flatten().filter(is_input).count();
    let mut reader = Reader::start(connection, Selection { stream: step.input, filters, from: 1 });
    while left > 0 {
        if let ReaderEvent::Message(_) = reader.next().await? {
            left -= 1;
        }
    }
    Ok(())
}

async fn commit(connection: &Connection, step: Step, sizes: &Sizes) -> anyhow::Result<()> {
    let batches = if step.output == Stream::Market { &sizes.market } else { &sizes.stats };
    let (stream, partition) = (step.output, sizes.partition);
    let mut fence = 0;
    for messages in batches {
        let message = |subject: String, bytes: usize, name: &str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            (subject, headers, Bytes::from_static(&ZEROS[..bytes]))
        };
        let output =
            |(subject, bytes): &Sized| message(subject.clone(), *bytes, SCHEMA_HEADER, RecordKind::Price.schema());
        let mut messages: Vec<_> = messages.iter().map(output).collect();
        // Most commits hold no states: these are stored by schedule, a few per replay.
        let mut position = message(subject::position(stream, partition), POSITION_BYTES, ROLLUP_HEADER, "sub");
        position.1.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, fence.to_string());
        messages.push(position);
        fence = store(connection, messages).await?;
    }
    Ok(())
}

impl Raw {
    /// The figures; `replay` is the time of the replay with these sizes and this many ticks.
    pub fn figures(&self, replay: &Figure, ticks: usize) -> Vec<Figure> {
        // The promise is about the uncompressed lines: compression is an achievement of the replay.
        let [megabytes, seconds, ratio] = self.lines.figures("raw", replay);
        let [stored_megabytes, stored_seconds, stored_ratio] = self.stored.figures("raw.stored", replay);
        let (stored_megabytes, stored_seconds) =
            (stored_megabytes.against(&megabytes), stored_seconds.against(&seconds));
        let ratio = ratio.promise(Promise::AtMost(RATIO_MAX));
        let rate = Figure::new("raw.ticks_per_s", "/s", vec![ticks as f64 / seconds.median()]);
        vec![megabytes, seconds, rate, ratio, stored_megabytes, stored_seconds, stored_ratio]
    }
}

impl Runs {
    /// Megabytes, seconds, and the ratio to the replay.
    fn figures(&self, name: &str, replay: &Figure) -> [Figure; 3] {
        let seconds = Figure::seconds(format!("{name}.seconds"), &self.times);
        let megabytes = self.bytes as f64 / 1e6;
        let ratio = replay.in_parts_of(&seconds, format!("{name}.ratio"), "");
        [Figure::new(format!("{name}.megabytes"), "MB", vec![megabytes]), seconds, ratio]
    }
}
