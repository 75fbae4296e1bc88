//! Random valid recordings through the whole pipeline; every table must equal a plain computation written from the
//! rules alone: bars and points, membership of windows, coverage as a union, conflicts, partial volumes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipeline_tests::oracle::{close_enough, covered_ms};
use pipeline_tests::programs::succeed;
use pipeline_tests::test_pipeline::TestPipeline;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2020-01-01T00:00:00Z, a multiple of every window length.
const BEGINNING: i64 = 1_577_836_800_000;
/// A single row further than this from all others is refused as a typing error, unless `--max-step` allows it.
const STEP_MAX: i64 = 30 * DAY;
/// Recordings per run.
const RECORDINGS: usize = 48;

/// Kind of the rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Candles of this length in milliseconds.
    Bars(i64),
    /// Prices, mostly this many milliseconds apart.
    Prices(i64),
    /// Trades at multiples of this many milliseconds, often several at one instant, with ids that are multiples of the
    /// second number.
    Trades(i64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    Shuffled,
}

/// An observation, as its row gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    ms: i64,
    id: u64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: Option<f64>,
}

/// A file of one coin.
#[derive(Debug, Clone)]
struct Recording {
    shape: Shape,
    order: Order,
    /// In file order.
    rows: Vec<Row>,
    is_windows_text: bool,
    times: Times,
}

/// Notation of the timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Whole,
    /// As written by programs that only know floats.
    Float,
    Quoted,
    /// All digits with an exponent.
    Exponent,
}

/// Percentage of rows with a volume.
fn volumes() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0_u32), Just(100), 5_u32..95]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        4 => select(vec![1_000, 15_000, MINUTE, 5 * MINUTE, HOUR, DAY, 7 * DAY]).prop_map(Shape::Bars),
        2 => select(vec![500, 10_000, MINUTE, 7 * MINUTE, HOUR]).prop_map(Shape::Prices),
        2 => (select(vec![137, 1_000]), select(vec![1, 3])).prop_map(|(apart, stride)| Shape::Trades(apart, stride)),
    ]
}

/// One step of a random walk: number of places forward, moves of four prices, and the chance that decides volumes and
/// copies.
type Step = (i64, [f64; 4], u32, u32);

fn recording() -> impl Strategy<Value = Recording> {
    let places = prop_oneof![12 => Just(1_i64), 1 => 2_i64..5, 1 => 5_i64..40];
    let step = (places, prop::array::uniform4(-1.0..1.0_f64), 0_u32..100, 0_u32..100);
    let order = select(vec![Order::Ascending, Order::Descending, Order::Shuffled]);
    let steps = prop::collection::vec(step, 40..160);
    let offset = prop_oneof![Just(0_i64), 1..DAY];
    let text = (any::<bool>(), select(vec![Times::Whole, Times::Float, Times::Quoted, Times::Exponent]));
    (shape(), order, steps, offset, -14.0..14.0_f64, volumes(), text, any::<u64>()).prop_map(
        |(shape, order, steps, offset, magnitude, volumes, (is_windows_text, times), seed)| {
            let mut rows = walk(shape, &steps, BEGINNING + offset, 10_f64.powf(magnitude), volumes);
            match order {
                Order::Ascending => {}
                Order::Descending => rows.reverse(),
                Order::Shuffled => shuffle(&mut rows, seed),
            }
            Recording { shape, order, rows, is_windows_text, times }
        },
    )
}

fn walk(shape: Shape, steps: &[Step], start: i64, level: f64, volumes: u32) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let (mut ms, mut price) = (start, level);
    for (idx, &(places, moves, chance, copies)) in steps.iter().enumerate() {
        let apart = match shape {
            Shape::Bars(grain) => places.min(STEP_MAX / grain) * grain,
            Shape::Prices(usual) => places * usual,
            // Most trades share the instant of the previous one.
            Shape::Trades(apart, _) => {
                if chance < 60 {
                    0
                } else {
                    places * apart
                }
            }
        };
        ms += if idx == 0 { 0 } else { apart };
        price *= 1.0 + moves[0] / 100.0;
        let of = |change: f64| price * (1.0 + change / 50.0);
        let (open, close) = (of(moves[1]), of(moves[2]));
        // Sometimes open or close lie outside [low, high].
        let slack = if chance % 7 == 0 { -0.005 } else { 0.01 };
        let (high, low) = (open.max(close) * (1.0 + slack), open.min(close) * (1.0 - slack));
        let volume = (copies.wrapping_mul(37) % 100 < volumes).then(|| (moves[3].abs() * 1e6).round() / 1e3);
        let row = match shape {
            Shape::Bars(_) => Row { ms, id: 0, open, high: high.max(low), low: low.min(high), close, volume },
            Shape::Prices(_) => Row { ms, id: 0, open: close, high: close, low: close, close, volume },
            Shape::Trades(_, stride) => {
                Row { ms, id: idx as u64 * stride, open: close, high: close, low: close, close, volume }
            }
        };
        rows.push(row);
        match copies {
            0..4 => rows.push(row),
            4..6 => rows.push(Row { volume: Some(1.25), ..row }),
            6..8 => rows.push(corrected(row, shape)),
            _ => {}
        }
    }
    rows
}

/// A row with the time of another and a different price.
fn corrected(row: Row, shape: Shape) -> Row {
    let close = row.close * 1.001;
    match shape {
        Shape::Bars(_) => Row { close, ..row },
        _ => Row { open: close, high: close, low: close, close, ..row },
    }
}

/// Shuffles the rows; any order other than by time will do.
fn shuffle(rows: &mut [Row], seed: u64) {
    let mut state = seed | 1;
    for idx in (1..rows.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rows.swap(idx, (state >> 33) as usize % (idx + 1));
    }
}

impl Times {
    fn write(self, ms: i64) -> String {
        match self {
            Self::Whole => ms.to_string(),
            Self::Float => format!("{ms}.0"),
            Self::Quoted => format!("\"{ms}\""),
            Self::Exponent => format!("{:.12e}", ms as f64),
        }
    }
}

impl Recording {
    fn text(&self) -> String {
        let end = if self.is_windows_text { "\r\n" } else { "\n" };
        let mut text = if self.is_windows_text { "\u{feff}".to_owned() } else { String::new() };
        text += match self.shape {
            Shape::Bars(_) => "index,volume,close,low,high,open,Timestamp_MS",
            Shape::Prices(_) => "timestamp_ms,close,volume",
            Shape::Trades(..) => "timestamp_ms,id,price,volume",
        };
        text += end;
        for (idx, Row { ms, id, open, high, low, close, volume }) in self.rows.iter().enumerate() {
            let volume = volume.map(|volume| volume.to_string()).unwrap_or_default();
            let ms = self.times.write(*ms);
            match self.shape {
                Shape::Bars(_) => write!(text, "{idx},{volume},{close},{low},{high},{open},{ms}"),
                Shape::Prices(_) => write!(text, "{ms},{close},{volume}"),
                Shape::Trades(..) => write!(text, "{ms},{id},{close},{volume}"),
            }
            .unwrap();
            text += end;
        }
        text
    }

    /// The observations that count, by time: of rows of one time the later one, with a range widened to its open and
    /// close.
    fn observations(&self) -> Vec<Row> {
        let mut counting: BTreeMap<(i64, u64), Row> = BTreeMap::new();
        for row in &self.rows {
            let (high, low) = (row.high.max(row.open).max(row.close), row.low.min(row.open).min(row.close));
            counting.insert((row.ms, row.id), Row { high, low, ..*row });
        }
        counting.into_values().collect()
    }

    fn grain(&self) -> Option<i64> {
        match self.shape {
            Shape::Bars(grain) => Some(grain),
            _ => None,
        }
    }

    /// The certified spans: between two prices, unless that is a gap.
    fn certified(&self, rows: &[Row]) -> Vec<(i64, i64)> {
        let longest = match self.shape {
            Shape::Bars(_) => return Vec::new(),
            Shape::Prices(usual) => (2 * usual).max(MINUTE),
            Shape::Trades(..) => i64::MAX,
        };
        let spans = rows.windows(2).map(|pair| (pair[0].ms, pair[1].ms));
        spans.filter(|(from, to)| to - from <= longest).collect()
    }
}

/// A row of a candle table: open, high, low, close, average, volume, volume_count, count, coverage, grain.
#[derive(Debug, Clone, Copy)]
struct Expected {
    prices: [f64; 4],
    average: f64,
    volume: Option<f64>,
    volume_count: Option<usize>,
    count: usize,
    coverage: f64,
}

/// Every window of a length that starts every `hop`, by start.
fn windows(recording: &Recording, size: i64, hop: i64) -> BTreeMap<i64, Expected> {
    let rows = recording.observations();
    let certified = recording.certified(&rows);
    let mut members: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for row in &rows {
        let mut start = row.ms.div_euclid(hop) * hop;
        while start + size > row.ms {
            let is_whole = recording.grain().is_none_or(|grain| grain <= MINUTE || row.ms + grain <= start + size);
            if is_whole {
                members.entry(start).or_default().push(*row);
            }
            start -= hop;
        }
    }
    let summary = |(start, rows): (i64, Vec<Row>)| {
        let bars = rows.iter().filter_map(|row| Some((row.ms, row.ms + recording.grain()?)));
        let covered = covered_ms(bars.chain(certified.iter().copied()), (start, start + size));
        let volumes: Vec<f64> = rows.iter().filter_map(|row| row.volume).collect();
        let expected = Expected {
            prices: [
                rows[0].open,
                rows.iter().map(|row| row.high).fold(f64::MIN, f64::max),
                rows.iter().map(|row| row.low).fold(f64::MAX, f64::min),
                rows[rows.len() - 1].close,
            ],
            average: rows.iter().map(|row| row.close).sum::<f64>() / rows.len() as f64,
            volume: (!volumes.is_empty()).then(|| volumes.iter().sum()),
            volume_count: (!volumes.is_empty() && volumes.len() < rows.len()).then_some(volumes.len()),
            count: rows.len(),
            coverage: covered as f64 / size as f64,
        };
        (start, expected)
    };
    members.into_iter().map(summary).collect()
}

fn check_candles(csv: &str, coin: &str, recording: &Recording, (size, hop): (i64, i64)) {
    let expected = windows(recording, size, hop);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let records: Vec<_> = reader.records().map(Result::unwrap).filter(|record| &record[0] == coin).collect();
    let starts: Vec<String> = expected.keys().map(|start| market::EventTime(*start).to_rfc3339()).collect();
    let found: Vec<&str> = records.iter().map(|record| &record[column("start")]).collect();
    assert_eq!(found, starts, "windows of {size} ms");
    for (record, expected) in records.iter().zip(expected.values()) {
        let cell = |name: &str| &record[column(name)];
        let number = |name: &str| cell(name).parse::<f64>().unwrap();
        let whole = |count: Option<usize>| count.map(|count| count.to_string()).unwrap_or_default();
        assert_eq!(["open", "high", "low", "close"].map(number), expected.prices, "{record:?}");
        assert!(close_enough(number("average"), expected.average), "{expected:?} {record:?}");
        match expected.volume {
            Some(volume) => assert!(close_enough(number("volume"), volume), "{expected:?} {record:?}"),
            None => assert_eq!(cell("volume"), "", "{record:?}"),
        }
        assert_eq!(
            [cell("volume_count"), cell("count")],
            [whole(expected.volume_count), whole(Some(expected.count))],
            "{record:?}"
        );
        assert_eq!(number("coverage"), expected.coverage, "{record:?}");
        assert_eq!(
            cell("grain_ms"),
            recording.grain().map(|grain| grain.to_string()).unwrap_or_default(),
            "{record:?}"
        );
        assert_eq!(cell("final"), "true", "{record:?}");
    }
}

/// The hour of the day counts points, and bars within one hour. Its rows appear with the candles of that hour.
fn check_hours(csv: &str, coin: &str, recording: &Recording) {
    let mut expected: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for row in recording.observations() {
        if row.ms.rem_euclid(HOUR) + recording.grain().unwrap_or(0) <= HOUR {
            expected.entry(row.ms.div_euclid(HOUR).rem_euclid(24)).or_default().push(row.close);
        }
    }
    let rows = csv.lines().filter(|line| line.starts_with(&format!("{coin},")));
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), expected.len(), "hours of the day");
    for (row, (hour, closes)) in rows.iter().zip(expected) {
        let number = |idx: usize| row[idx].parse::<f64>().unwrap();
        assert_eq!([row[2], row[6]], [hour.to_string(), closes.len().to_string()], "{row:?}");
        assert!(close_enough(number(3), closes.iter().sum::<f64>() / closes.len() as f64), "{row:?}");
        assert_eq!(number(4), closes.iter().copied().fold(f64::MAX, f64::min), "{row:?}");
        assert_eq!(number(5), closes.iter().copied().fold(f64::MIN, f64::max), "{row:?}");
    }
}

/// New random recordings in each run. A failure prints the seed, which repeats them as `TEST_SEED`.
fn recordings() -> (u64, Vec<Recording>) {
    let seed = std::env::var("TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) ^ now_ms());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = recording();
    let mut next = || strategy.new_tree(&mut runner).unwrap().current();
    (seed, (0..RECORDINGS).map(|_| next()).collect())
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn any_recording_gives_the_tables_of_a_plain_computation() {
    let (seed, recordings) = recordings();
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    let mut replay = pipeline.program("producer");
    replay.args(["run", "--source", "recording"]);
    for (number, recording) in recordings.iter().enumerate() {
        let file = pipeline.dir.path().join(format!("{number}.csv"));
        std::fs::write(&file, recording.text()).unwrap();
        replay.arg("--file").arg(format!("c{number}/usd={}", file.display()));
    }
    succeed(&mut replay);
    pipeline.wait();
    let tables = pipeline.tables();
    for (number, recording) in recordings.iter().enumerate() {
        let coin = format!("c{number}");
        let check = || {
            for (table, shape) in [
                ("candles-1m", (MINUTE, MINUTE)),
                ("hourly", (HOUR, HOUR)),
                ("daily", (DAY, DAY)),
                ("moving-average", (HOUR, HOUR / 2)),
            ] {
                check_candles(&tables[table], &coin, recording, shape);
            }
            check_hours(&tables["hour-of-day"], &coin, recording);
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        assert!(outcome.is_ok(), "TEST_SEED={seed}, recording {number}: {:?} {:?}", recording.shape, recording.order);
    }
    succeed(pipeline.program("aggregator").arg("audit"));
}
