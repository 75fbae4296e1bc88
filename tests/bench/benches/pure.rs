//! Benchmarks of the pure code: everything between a received message and a batch ready to be sent, and the columns of
//! the archive. No server, no socket, no disk.
//!
//! ```sh
//! cargo bench --workspace --bench pure             # times, each beside those of the run before
//! cargo bench --workspace --bench pure -- apply    # only those whose name contains "apply"
//! ```
//!
//! A figure is the time of one call, with that per tick. On a busy machine compare instructions, which do not vary:
//! valgrind counts those of one call, here a message of 500 lines through the stream-processor.
//!
//! ```sh
//! cargo bench --workspace --bench pure --no-run    # prints the program's path
//! valgrind --tool=callgrind --callgrind-out-file=calls --collect-atstart=no --toggle-collect='*Bencher*iter*' \
//!     PROGRAM --bench --test apply/stream-processor
//! callgrind_annotate calls                         # by function
//! ```
//!
//! For a profile by time: `perf record --call-graph dwarf PROGRAM --bench --profile-time 5 apply/aggregator`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use aggregator::Aggregation;
use async_nats::HeaderMap;
use bench::workload;
use bus::codec::{Decoder, Encoder, LINES_MAX, LineReader, Pack, lines};
use bus::protocol::{LogId, POSITION_VERSION, Position, StepConfig};
use bus::{RecordKind, Stream};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use market::acceptance::Acceptance;
use market::tick::{PriceLine, Tick, TickLine};
use market::validate::{revalidate, validate};
use market::watermark::Watermark;
use market::windowing::{EventTimePolicy, Windowing};
use market::{Candle, EventTime, Instrument, Span, Window};
use serde_json::Value;
use step::checkpoint::{decode_state, encode_state};
use step::{Input, Operator, Outputs};
use store::archive::ArchiveWriter;
use store::archive::catalog::SeqRange;
use store::ticks::TickRows;
use stream_processor::Processing;
use tempfile::TempDir;

/// Messages of each input. After the last one, the input starts again with an empty state.
const MESSAGES: usize = 256;
/// Messages whose results are packed together, as when catching up.
const COMMIT: usize = 64;
/// Rows of a Parquet file.
const ROWS: usize = 65_536;

fn instrument() -> Instrument {
    Instrument::new("bitcoin", "usd").unwrap()
}

/// The ticks of W1, in messages of FEED: one price each, 5 to 55 s apart.
static FEED: LazyLock<Vec<Bytes>> = LazyLock::new(feed);
/// Output of the stream-processor for them: messages of MARKET.
static PRICES: LazyLock<Vec<Bytes>> = LazyLock::new(|| processing().results(RecordKind::Price));
static TICKS: LazyLock<Vec<Tick>> = LazyLock::new(ticks);

fn feed() -> Vec<Bytes> {
    let instrument = instrument();
    let quotes: Vec<_> = workload::quotes(workload::SEED).take(MESSAGES * LINES_MAX).collect();
    let message = |quotes: &[(i64, String)]| {
        let mut pack = Pack::default();
        for (event_ms, close) in quotes {
            let bar = Tick::bar(EventTime(*event_ms), Span::seconds(5), [close.parse().unwrap(); 4]);
            let line = TickLine::new(instrument.coin(), instrument.quote(), &bar, 1_747_517_893_120);
            pack.push(&TickLine { source: Some("recording".into()), ..line });
        }
        pack.into_payloads().swap_remove(0)
    };
    quotes.chunks(LINES_MAX).map(message).collect()
}

fn ticks() -> Vec<Tick> {
    let instrument = instrument();
    let read = |raw: &'static [u8]| LineReader::default().tick(raw).unwrap().line;
    let tick = |raw: &'static [u8], seq| validate(&read(raw), &instrument, seq, i64::MAX).unwrap();
    let messages = FEED.iter().zip(1..);
    messages
        .flat_map(|(payload, seq)| lines(payload).map(move |(_, raw)| (raw, seq)))
        .map(|(raw, seq)| tick(raw, seq))
        .collect()
}

/// A step that processes the messages of its input, without a runner.
struct Step<'a, O: Operator> {
    operator: O,
    kind: RecordKind,
    input: &'a [Bytes],
    instrument: Instrument,
    state: O::State,
    counts: O::Counts,
    outputs: Outputs,
    next: usize,
}

impl<'a, O: Operator> Step<'a, O> {
    fn new(operator: O, kind: RecordKind, input: &'a [Bytes]) -> Self {
        Self {
            operator,
            kind,
            input,
            instrument: instrument(),
            state: O::State::default(),
            counts: O::Counts::default(),
            outputs: Outputs::default(),
            next: 0,
        }
    }

    /// Applies the next message; returns the packed output, if any.
    fn message(&mut self) -> Vec<(String, Bytes)> {
        if self.next == self.input.len() {
            (self.next, self.state) = (0, O::State::default());
        }
        let input = Input {
            seq: self.next as u64 + 1,
            kind: self.kind,
            stored_ms: i64::MAX,
            instrument: Some(&self.instrument),
            is_known_schema: true,
            is_after_loss: false,
            payload: &self.input[self.next],
            lines_done: 0,
        };
        self.operator.apply(input, &mut self.state, &mut self.counts, &mut self.outputs);
        self.next += 1;
        if !self.next.is_multiple_of(COMMIT) {
            return Vec::new();
        }
        let outputs = std::mem::take(&mut self.outputs);
        let messages = outputs.into_messages(O::STEP.output, 0, |_| ("bitcoin", "usd"));
        messages.into_iter().map(|message| (message.subject, message.payload)).collect()
    }

    /// All payloads of one kind from the whole input.
    fn results(mut self, kind: RecordKind) -> Vec<Bytes> {
        let subject = bus::subject::stored(O::STEP.output, 0, kind, "bitcoin", "usd");
        let messages: Vec<_> = (0..self.input.len()).flat_map(|_| self.message()).collect();
        messages.into_iter().filter(|message| message.0 == subject).map(|message| message.1).collect()
    }

    /// The state after the whole input.
    fn state(mut self) -> O::State {
        (0..self.input.len()).for_each(|_| drop(self.message()));
        self.state
    }
}

fn processing() -> Step<'static, Processing> {
    Step::new(Processing::new(EventTimePolicy::default()), RecordKind::Tick, &FEED)
}

fn aggregation() -> Step<'static, Aggregation> {
    Step::new(Aggregation::new(EventTimePolicy::default()), RecordKind::Price, &PRICES)
}

fn decode(c: &mut Criterion) {
    let instrument = instrument();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(LINES_MAX as u64));
    group.bench_function("lines", |b| b.iter(|| lines(black_box(&FEED[0])).map(|(_, raw)| raw.len()).sum::<usize>()));
    group.bench_function("tick", |b| {
        b.iter(|| {
            let mut reader = LineReader::default();
            lines(black_box(&FEED[0])).for_each(|(_, raw)| drop(black_box(reader.tick(raw).unwrap())));
        });
    });
    group.bench_function("price", |b| {
        b.iter(|| {
            let mut reader = LineReader::default();
            lines(black_box(&PRICES[0])).for_each(|(_, raw)| drop(black_box(reader.price(raw).unwrap())));
        });
    });
    let (headers, compressed) = compressed(&PRICES[0]);
    let mut decoder = Decoder::default();
    group.bench_function("decompress", |b| {
        b.iter(|| decoder.decode(Some(black_box(&headers).clone()), compressed.clone()));
    });
    let (tick, price) = (lines(&FEED[0]).next().unwrap().1, lines(&PRICES[0]).next().unwrap().1);
    let mut reader = LineReader::default();
    let (tick, price) = (reader.tick(tick).unwrap().line, reader.price(price).unwrap());
    group.throughput(Throughput::Elements(1));
    group.bench_function("validate", |b| b.iter(|| validate(black_box(&tick), &instrument, 1, i64::MAX)));
    group.bench_function("revalidate", |b| b.iter(|| revalidate(black_box(&price), &instrument)));
    group.finish();
}

fn compressed(payload: &Bytes) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    let payload = Encoder::default().encode(&mut headers, payload);
    (headers, payload)
}

fn judge(c: &mut Criterion) {
    let ticks = &*TICKS;
    let mut group = c.benchmark_group("judge");
    group.throughput(Throughput::Elements(ticks.len() as u64));
    group.bench_function("acceptance", |b| {
        b.iter(|| {
            let mut acceptance = Acceptance::default();
            for tick in ticks {
                black_box(acceptance.judge(tick, EventTimePolicy::default()));
            }
        });
    });
    group.finish();
}

/// Pushes all ticks through the windows; returns the candles.
fn window(kinds: &[Window], ticks: &[Tick], instrument: &Instrument, mut each: impl FnMut(Candle)) {
    let settings = EventTimePolicy::default();
    let (mut windowing, mut watermark) = (Windowing::new(kinds), Watermark::default());
    for tick in ticks {
        let progress = watermark.advance(tick.event, settings.disorder);
        windowing.push(tick, progress, settings, |issue| each(issue.candle(instrument)));
    }
}

fn windows(c: &mut Criterion) {
    let (ticks, instrument) = (&*TICKS, instrument());
    let mut group = c.benchmark_group("windows");
    group.throughput(Throughput::Elements(ticks.len() as u64));
    let kinds = [("market", &[Window::Minute][..]), ("stats", &bus::stream::STATS_WINDOWS)];
    for (name, kinds) in kinds {
        group.bench_function(name, |b| b.iter(|| window(kinds, ticks, &instrument, |candle| drop(black_box(candle)))));
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let (ticks, instrument) = (&TICKS[..LINES_MAX], instrument());
    let mut candles = Vec::new();
    window(&[Window::Minute], ticks, &instrument, |candle| candles.push(candle));
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(ticks.len() as u64));
    group.bench_function("price", |b| {
        b.iter(|| {
            let mut outputs = Outputs::default();
            ticks.iter().for_each(|tick| outputs.append(RecordKind::Price, &PriceLine::new("bitcoin", "usd", tick)));
            outputs.into_messages(Stream::Market, 0, |_| ("bitcoin", "usd"))
        });
    });
    let mut encoder = Encoder::default();
    group.bench_function("compress", |b| {
        b.iter(|| encoder.encode(&mut HeaderMap::new(), black_box(&PRICES[0])));
    });
    group.throughput(Throughput::Elements(candles.len() as u64));
    group.bench_function("candle", |b| {
        b.iter(|| {
            let mut outputs = Outputs::default();
            candles.iter().for_each(|candle| outputs.append_newest(RecordKind::Candle, candle.start.ms(), candle));
            outputs.into_messages(Stream::Market, 0, |_| ("bitcoin", "usd"))
        });
    });
    group.finish();
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(LINES_MAX as u64));
    let mut step = processing();
    group.bench_function("stream-processor", |b| b.iter(|| step.message()));
    let mut step = aggregation();
    group.bench_function("aggregator", |b| b.iter(|| step.message()));
    group.finish();
}

/// A state decoded, as the next input needs it.
fn decoded<O: Operator>(encoded: &[u8]) -> O::State {
    let (_, _, state) = decode_state(encoded).unwrap();
    state
}

fn checkpoint(c: &mut Criterion) {
    let (market, stats) = (processing().state(), aggregation().state());
    let mut group = c.benchmark_group("checkpoint");
    group.bench_function("stream-processor", |b| b.iter(|| encode_state(1, 1, black_box(&market))));
    group.bench_function("aggregator", |b| b.iter(|| encode_state(1, 1, black_box(&stats))));
    let (market, stats) = (encode_state(1, 1, &market), encode_state(1, 1, &stats));
    group.bench_function("stream-processor/decode", |b| b.iter(|| decoded::<Processing>(black_box(&market))));
    group.bench_function("aggregator/decode", |b| b.iter(|| decoded::<Aggregation>(black_box(&stats))));
    let position = Position {
        version: POSITION_VERSION,
        position: 2_000,
        frontier: 2_000,
        verified: 2_000,
        batch: "0123456789abcdef0123456789abcdef-1".to_owned(),
        log: LogId::new("2026-01-01T00:00:00.123456789Z"),
        partitions: 16,
        config: StepConfig::new(EventTimePolicy::default(), "windows=1m"),
        settled: 2_000,
        states: 1,
        states_applied: 2_000,
        applied: 2_000,
        lost: 0,
        lost_to: 0,
        counts: Value::Null,
    };
    group.bench_function("position", |b| b.iter(|| serde_json::to_vec(black_box(&position)).unwrap()));
    group.finish();
}

fn parquet(c: &mut Criterion) {
    let (ticks, instrument) = (&*TICKS, instrument());
    // In memory if possible, since only encoding is measured.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut group = c.benchmark_group("parquet");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    group.bench_function("ticks", |b| {
        let writer = || {
            let dir = tempfile::tempdir_in(folder.path()).unwrap();
            (ArchiveWriter::open(dir.path(), "MARKET").unwrap(), dir)
        };
        let write = |(mut writer, dir): (ArchiveWriter, TempDir)| {
            let mut rows = TickRows::default();
            ticks[..ROWS].iter().for_each(|tick| rows.push(&instrument, tick, tick.feed_seq));
            writer.append(SeqRange { first: 1, last: MESSAGES as u64 }, &rows.into_batch()).unwrap();
            (writer, dir)
        };
        b.iter_batched(writer, write, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = decode, judge, windows, encode, apply, checkpoint, parquet
}
criterion_main!(benches);
