//! What archiving costs: the time to write a million ticks, and their bytes on disk.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use market::{EventTime, Instrument, Span, Tick};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use store::archive::{Archive, ArchiveWriter, Through};
use store::listing::SeqRange;
use store::ticks::TickRows;
use trainer::archive::FILE_ROWS_MAX;

use super::figures::{Figures, ms};
use crate::world::sample;

const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
const ROWS: usize = 1_000_000;
/// Ticks in a message, as when a recording is replayed.
const MESSAGE_ROWS: usize = 500;
/// The promises: for each kind the bytes a row, and for all of it the time.
const CANDLE_BYTES_MAX: f64 = 28.0;
const QUOTE_BYTES_MAX: f64 = 8.0;
const TIME_MAX: Duration = Duration::from_secs(1);
/// Repetitions; the median counts.
const RUNS: usize = 5;
/// Makes the times of quotes.
const SEED: u64 = 7;

/// What was measured.
#[derive(Debug)]
pub struct Archiving {
    kinds: Vec<Kind>,
}

/// What ticks of one kind took.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// From ticks in memory to files that last, those of the archiver's size and their joining included.
    times: Figures,
    bytes_a_row: f64,
    bytes_max: f64,
}

/// Measures minutes with all their columns, and quotes.
///
/// # Errors
/// The sample cannot be read, or the archive not written.
pub fn measure(say: fn(&str)) -> anyhow::Result<Archiving> {
    let minutes = minutes()?;
    let kinds = [
        ("minutes with OHLC and volume", CANDLE_BYTES_MAX, &minutes),
        ("quotes 5 to 55 s apart", QUOTE_BYTES_MAX, &quotes(&minutes)),
    ];
    let mut measured = Vec::new();
    for (name, bytes_max, ticks) in kinds {
        let (mut times, mut bytes_a_row) = (Figures::default(), 0.0);
        for _ in 0..RUNS {
            let folder = tempfile::tempdir()?;
            let start = Instant::now();
            write(folder.path(), ticks)?;
            times.add(start.elapsed());
            bytes_a_row = bytes_of(folder.path())? as f64 / ROWS as f64;
            check(folder.path(), ticks)?;
        }
        say(&format!("{RUNS} times {ROWS} {name}"));
        measured.push(Kind { name, times, bytes_a_row, bytes_max });
    }
    Ok(Archiving { kinds: measured })
}

impl Kind {
    fn is_good(&self) -> bool {
        self.times.percentile(50) <= TIME_MAX && self.bytes_a_row <= self.bytes_max
    }

    fn row(&self) -> String {
        let [median, min, max] = [self.times.percentile(50), self.times.percentile(0), self.times.max()].map(ms);
        let rate = ROWS as f64 / self.times.percentile(50).as_secs_f64() / 1e6;
        format!(
            "{:<30} {median:>7.1} ms ({min:.1} to {max:.1}) {rate:>6.2} million rows/s {:>6.2} bytes a row (promise: {})",
            self.name, self.bytes_a_row, self.bytes_max
        )
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "p50_ms": ms(self.times.percentile(50)),
            "min_ms": ms(self.times.percentile(0)),
            "max_ms": ms(self.times.max()),
            "bytes_a_row": self.bytes_a_row,
            "promise_bytes_a_row": self.bytes_max,
        })
    }
}

impl Archiving {
    /// Whether every promise is kept.
    pub fn is_good(&self) -> bool {
        self.kinds.iter().all(Kind::is_good)
    }

    /// The printed table.
    pub fn rows(&self) -> Vec<String> {
        let promise = format!("({ROWS} ticks each; promise: {} ms)", TIME_MAX.as_millis());
        self.kinds.iter().map(Kind::row).chain([promise]).collect()
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        json!({
            "rows": ROWS,
            "promise_ms": ms(TIME_MAX),
            "kinds": self.kinds.iter().map(Kind::json).collect::<Vec<_>>(),
        })
    }
}

/// The bundled month, repeated with shifted time.
fn minutes() -> anyhow::Result<Vec<Tick>> {
    let sample = sample(SAMPLE);
    let file = File::open(&sample).with_context(|| format!("cannot read {}", sample.display()))?;
    let mut month = Vec::new();
    for line in BufReader::new(GzDecoder::new(file)).lines().skip(1) {
        let line = line?;
        let fields: Vec<_> = line.split(',').map(str::parse::<f64>).collect::<Result<_, _>>()?;
        let &[event, open, high, low, close, volume] = &fields[..] else { anyhow::bail!("not a candle: {line}") };
        let (event, grain, volume) = (EventTime(event as i64), Span::MINUTE, Some(volume));
        month.push(Tick { event, grain, id: None, open, high, low, close, volume, feed_seq: 0 });
    }
    let first = month.first().context("an empty sample")?.event.ms();
    let length = month.last().map_or(0, |last| last.event.ms()) - first + Span::MINUTE.ms();
    let months = (0..).flat_map(|number| month.iter().map(move |tick| (number, *tick)));
    let shifted = months.enumerate().take(ROWS).map(|(idx, (number, tick))| Tick {
        event: EventTime(tick.event.ms() + number * length),
        feed_seq: (idx / MESSAGE_ROWS) as u64 + 1,
        ..tick
    });
    Ok(shifted.collect())
}

/// The closes of these minutes alone, a poll after another.
fn quotes(minutes: &[Tick]) -> Vec<Tick> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut event = minutes[0].event.ms();
    let quote = |minute: &Tick| {
        event += random.random_range(5_000..=55_000);
        let close = minute.close;
        Tick { event: EventTime(event), open: close, high: close, low: close, volume: None, ..*minute }
    };
    minutes.iter().map(quote).collect()
}

/// Archives as the archiver does that catches up: files of its size, joined where they are to be.
fn write(folder: &Path, ticks: &[Tick]) -> anyhow::Result<()> {
    let instrument = Instrument::new("bitcoin", "usdt")?;
    let mut writer = ArchiveWriter::open(folder, "MARKET")?;
    for (number, part) in ticks.chunks(FILE_ROWS_MAX).enumerate() {
        let mut rows = TickRows::default();
        let first = number * FILE_ROWS_MAX / MESSAGE_ROWS + 1;
        for (idx, tick) in part.iter().enumerate() {
            rows.push(&instrument, tick, (first + idx / MESSAGE_ROWS) as u64);
        }
        let last = first + part.len().div_ceil(MESSAGE_ROWS) - 1;
        writer.append(SeqRange { first: first as u64, last: last as u64 }, &rows.into_batch())?;
        writer.join()?;
    }
    Ok(())
}

fn bytes_of(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// A figure of an archive that lost something is worth nothing.
fn check(folder: &Path, ticks: &[Tick]) -> anyhow::Result<()> {
    let read = Archive::new(folder).series(&Instrument::new("bitcoin", "usdt")?, Through::ALL)?;
    ensure!(read.ticks == ticks, "the archive does not hold what was written");
    Ok(())
}
