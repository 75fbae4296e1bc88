//! Cost of archiving: the time to write a million ticks, and their size on disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use market::{EventTime, Instrument, Span, Tick};
use pipeline_tests::test_pipeline::sample_candles;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use store::archive::catalog::SeqRange;
use store::archive::{Archive, ArchiveWriter, Through};
use store::ticks::TickRows;
use trainer::archive_writer::FILE_ROWS_MAX;

use super::effort::Effort;
use super::pipeline::bytes_in;
use super::report::Figure;

const SAMPLE: &str = "btcusdt_1m_2020-03.csv.gz";
const ROWS: usize = 1_000_000;
/// Ticks per message, as in a replay.
const MESSAGE_ROWS: usize = 500;
/// Seed for the times of quotes.
const SEED: u64 = 7;

/// Measures minutes with all columns, and quotes 5 to 55 s apart: from ticks in memory to synced files, including files
/// of the archiver's size and their merging.
///
/// # Errors
/// The sample cannot be read, or the archive cannot be written.
pub fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let minutes = minutes()?;
    let quotes = quotes(&minutes);
    let mut figures = Vec::new();
    for (name, ticks) in [("minutes", &minutes), ("quotes", &quotes)] {
        let (mut times, mut plain, mut bytes_a_row) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.runs {
            let folder = tempfile::tempdir()?;
            let start = Instant::now();
            write(folder.path(), ticks)?;
            times.push(start.elapsed());
            let bytes = bytes_in(folder.path())?;
            bytes_a_row.push(bytes as f64 / ROWS as f64);
            plain.push(write_plainly(bytes)?);
            check(folder.path(), ticks)?;
        }
        say(&format!("{} times {ROWS} {name} archived", effort.runs));
        let plain = Figure::ms(format!("archive.{name}.plain_ms"), &plain);
        let time = Figure::ms(format!("archive.{name}.ms"), &times).against(&plain);
        let in_memory = Figure::new(format!("archive.{name}.memory_a_row"), "B", vec![size_of::<Tick>() as f64]);
        let bytes = Figure::new(format!("archive.{name}.bytes_a_row"), "B", bytes_a_row).against(&in_memory);
        figures.extend([time, plain, bytes, in_memory]);
    }
    Ok(figures)
}

/// The bundled month, repeated at later times.
fn minutes() -> anyhow::Result<Vec<Tick>> {
    let month = sample_candles(SAMPLE)?;
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

/// Only the closes of these minutes, as one poll after another, each certified back to the one before.
fn quotes(minutes: &[Tick]) -> Vec<Tick> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut event = minutes[0].event.ms();
    let quote = |minute: &Tick| {
        let step = random.random_range(5_000..=55_000);
        event += step;
        let (event, complete, close) = (EventTime(event), Some(Span(step)), minute.close);
        Tick { event, grain: None, complete, open: close, high: close, low: close, volume: None, ..*minute }
    };
    minutes.iter().map(quote).collect()
}

/// Archives as the archiver does when it catches up: files of its size, merged where it would.
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

/// Time to write as many bytes of noise to disk.
fn write_plainly(bytes: u64) -> anyhow::Result<Duration> {
    let mut noise = vec![0; usize::try_from(bytes)?];
    StdRng::seed_from_u64(SEED).fill_bytes(&mut noise);
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let mut file = File::create(folder.path().join("plain"))?;
    file.write_all(&noise)?;
    file.sync_all()?;
    Ok(start.elapsed())
}

/// Figures of an archive with lost rows are worthless.
fn check(folder: &Path, ticks: &[Tick]) -> anyhow::Result<()> {
    let read = Archive::new(folder).series(&Instrument::new("bitcoin", "usdt")?, Through::ALL)?;
    ensure!(read.ticks == ticks, "the archive does not hold what was written");
    Ok(())
}
