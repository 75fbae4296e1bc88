//! Overload: more live messages than a machine can process. Measures what FEED stores and MARKET processes each second,
//! and the time to catch up.
//!
//! Single messages sent without waiting for answers are what a custom producer may send. The shipped producer waits for
//! answers and packs waiting ticks, so it slows down instead.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bus::Stream;
use bus::stream::MARKET_STEP;
use bus::topology::stream_info;
use pipeline_tests::programs::Running;
use pipeline_tests::users::password;

use super::effort::Effort;
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::workload::Workload;

/// Single messages per second, each of an instrument of its own.
const RATE: u64 = 3_000;
const LENGTH: Duration = Duration::from_secs(20);
/// Instruments of the shipped producer, each with a one-minute row every second.
const INSTRUMENTS: usize = 10_000;
const ROWS: Duration = Duration::from_secs(60);
const ROWS_QUICK: Duration = Duration::from_secs(10);
const SPEED: &str = "60x";
/// Interval of stream samples.
const LOOK: Duration = Duration::from_millis(500);
/// Samples in the window in which MARKET must progress.
const WINDOW: usize = 10;
/// A step that is behind for this long must have warned.
const SAID: Duration = Duration::from_secs(15);
/// Length of a burst of writes.
const TURN: Duration = Duration::from_millis(10);
const FIRST_MS: i64 = 1_672_531_200_000;

/// Overloads one pipeline with single messages and another with the shipped producer.
///
/// # Errors
/// A program fails, or a message is lost.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let mut figures = single(say).await?;
    figures.extend(shipped(effort.pick(ROWS, ROWS_QUICK), say).await?);
    Ok(figures)
}

/// Contents of the streams at one moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    feed: u64,
    accepted: u64,
}

impl Seen {
    /// The step measures its backlog partition by partition, at different times: twice its limit is certainly above it.
    fn is_behind(&self) -> bool {
        self.feed - self.accepted > 2_000
    }
}

async fn single(say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let mut pipeline = Pipeline::start(1).await?;
    let port = pipeline.base.server.port();
    let start = Instant::now();
    let sending = tokio::task::spawn_blocking(move || send(port));
    let seen = watch(&pipeline, start, || !sending.is_finished()).await;
    let sent = sending.await??;
    let feed = stored(&pipeline).await?;
    say(&format!("{sent} messages sent, {feed} stored, behind for {:.1} s", behind(&seen).as_secs_f64()));
    let over = Instant::now();
    pipeline.until_committed(MARKET_STEP).await?;
    let caught_up = over.elapsed();
    let is_said = pipeline.has_warned("messages of FEED in");
    ensure!(is_said || behind(&seen) < SAID, "the step has not said that it is behind");
    ensure!(pipeline.accepted().await? == feed, "not every stored tick has its price");
    check_running(&mut pipeline)?;
    let last = seen.last().context("nothing was seen")?;
    let per_s = |count: u64| count as f64 / last.at.as_secs_f64();
    let slowest = seen.windows(WINDOW).map(moved).fold(f64::MAX, f64::min);
    Ok(vec![
        Figure::new("overload.single.feed_per_s", "1/s", vec![per_s(last.feed)]),
        Figure::new("overload.single.market_per_s", "1/s", vec![per_s(last.accepted)]),
        // It must progress, however slowly.
        Figure::new("overload.single.market_slowest_per_s", "1/s", vec![slowest]).promise(Promise::AtLeast(1.0)),
        Figure::seconds("overload.single.caught_up_s", &[caught_up]),
    ])
}

/// Size of FEED once it has stored or dropped everything: messages wait in the server's memory.
async fn stored(pipeline: &Pipeline) -> anyhow::Result<u64> {
    let mut before = None;
    loop {
        let now = stream_info(pipeline.admin(), Stream::Feed.name()).await?.state.last_seq;
        if before.replace(now) == Some(now) {
            return Ok(now);
        }
        tokio::time::sleep(LOOK * 2).await;
    }
}

/// How long a step was behind by more than the limit for a warning.
fn behind(seen: &[Seen]) -> Duration {
    let runs = seen.chunk_by(|a, b| a.is_behind() == b.is_behind()).filter(|run| run[0].is_behind());
    runs.map(|run| run[run.len() - 1].at - run[0].at).max().unwrap_or_default()
}

/// Prices per second from the first to the last of these samples.
fn moved(seen: &[Seen]) -> f64 {
    let (first, last) = (seen[0], seen[seen.len() - 1]);
    (last.accepted - first.accepted) as f64 / (last.at - first.at).as_secs_f64()
}

/// Samples FEED and MARKET during some work. An unanswered sample is skipped.
async fn watch(pipeline: &Pipeline, start: Instant, goes_on: impl Fn() -> bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    while goes_on() {
        let feed = stream_info(pipeline.admin(), Stream::Feed.name()).await.map(|info| info.state.last_seq);
        if let (Ok(feed), Ok(accepted)) = (feed, pipeline.accepted().await) {
            seen.push(Seen { at: start.elapsed(), feed, accepted });
        }
        tokio::time::sleep(LOOK).await;
    }
    seen
}

/// Sends ticks at the rate, without waiting for answers; returns their number.
fn send(port: u16) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let password = password("producer");
    write!(stream, "CONNECT {{\"verbose\":false,\"user\":\"producer\",\"pass\":\"{password}\"}}\r\nPING\r\n")?;
    // Reads the server's pings and other output, which do not matter here.
    let mut heard = stream.try_clone()?;
    std::thread::spawn(move || while matches!(heard.read(&mut [0; 4_096]), Ok(1..)) {});
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < LENGTH {
        let due = start.elapsed().as_millis() as u64 * RATE / 1_000;
        let text: String = (sent..due).map(message).collect();
        stream.write_all(text.as_bytes())?;
        sent = due;
        std::thread::sleep(TURN);
    }
    Ok(sent)
}

fn message(number: u64) -> String {
    let (coin, event_ms) = (number % RATE, FIRST_MS + (number / RATE) as i64 * 1_000);
    let tick = format!(
        r#"{{"coin":"c{coin}","quote":"usd","event_ms":{event_ms},"grain_ms":1000,"close":100.5,"ingest_ms":{event_ms}}}"#
    );
    format!("PUB feed.tick.c{coin}.usd {}\r\n{tick}\r\n", tick.len())
}

/// As many rows per second as there are instruments.
async fn shipped(length: Duration, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let mut pipeline = Pipeline::start(1).await?;
    let dir = tempfile::tempdir()?;
    let rows = length.as_secs() as usize;
    let workload = Workload::minutes_of_each(dir.path(), rows, INSTRUMENTS)?;
    let mut command = pipeline.producer(&workload);
    let start = Instant::now();
    let mut producer = Running::start(command.args(["--speed", SPEED]).stdout(Stdio::null()));
    let seen = watch(&pipeline, start, || start.elapsed() < length).await;
    say(&format!(
        "{} rows in {} s offered, producer running: {}",
        workload.ticks,
        length.as_secs(),
        producer.is_running()
    ));
    let code = tokio::task::spawn_blocking(move || producer.wait()).await?;
    ensure!(code == Some(0), "the producer failed");
    pipeline.until_committed(MARKET_STEP).await?;
    let done = start.elapsed();
    let accepted = pipeline.accepted().await?;
    ensure!(accepted == workload.ticks as u64, "{accepted} of {} rows were accepted", workload.ticks);
    check_running(&mut pipeline)?;
    let last = seen.last().context("nothing was seen")?;
    Ok(vec![
        Figure::new("overload.shipped.offered_per_s", "1/s", vec![INSTRUMENTS as f64]),
        Figure::new("overload.shipped.live_per_s", "1/s", vec![last.accepted as f64 / last.at.as_secs_f64()]),
        Figure::new("overload.shipped.sustained_per_s", "1/s", vec![accepted as f64 / done.as_secs_f64()]),
    ])
}

fn check_running(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    for (name, service) in &mut pipeline.services {
        ensure!(service.process.is_running(), "the {name} has ended by itself");
    }
    Ok(())
}
