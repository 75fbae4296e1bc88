//! Footprint of the programs: memory with everything running, size on disk, and time until ready.

use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bus::stream::{FORECAST_STEP, MARKET_STEP, STATS_STEP};
use pipeline_tests::coingecko::CoinGecko;
use pipeline_tests::health::Watched;
use pipeline_tests::process::{cpu_seconds_of_children, peak_bytes, pss_bytes_of_all};
use pipeline_tests::programs::{NEVER, children, name_of, programs};
use pipeline_tests::server::{Server, checkout};
use service::Shutdown;

use super::effort::Effort;
use super::pipeline::{NATS, Pipeline};
use super::report::Figure;
use super::workload::{TICKS, Workload};

/// The programs that are services.
const SERVICES: [&str; 5] = ["producer", "stream-processor", "aggregator", "trainer", "reporter"];
/// Pause after the replay before memory is measured.
const REST: Duration = Duration::from_secs(30);
const REST_QUICK: Duration = Duration::from_secs(3);
/// W1 passes one multiple of it: one training, as late in the data as possible.
const TRAIN_EVERY: &str = "300d";
/// Interval of readiness checks.
const LOOK: Duration = Duration::from_millis(1);
/// Interval of samples during a fit, which takes a few hundred milliseconds.
const LOOK_AT_FIT: Duration = Duration::from_millis(5);
/// Process name of a fit.
const FIT: &str = "trainer-fit";
/// Polled by the producer meanwhile, as in normal use.
const LIVE_COIN: &str = "ethereum";

/// Measures memory after W1 with all five services, sizes, and start times.
///
/// # Errors
/// A program fails.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let coingecko = CoinGecko::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    coingecko.set(LIVE_COIN, 1_894.75, i64::try_from(now.as_millis())?);
    let mut figures = memory(effort, &coingecko, say).await?;
    figures.extend(sizes()?);
    figures.extend(starts(effort, &coingecko, say).await?);
    Ok(figures)
}

/// A service, started like a user does.
fn service(pipeline: &Pipeline, name: &str, coingecko: &CoinGecko) -> Command {
    let mut command = pipeline.program(name);
    command.arg("run");
    match name {
        "producer" => {
            command.args([
                "--source",
                "coingecko",
                "--coin",
                LIVE_COIN,
                "--quote",
                "usd",
                "--base-url",
                coingecko.url(),
                "--history",
                "0",
            ]);
        }
        "trainer" => {
            command.args(["--archive", "archive", "--coin", "bitcoin", "--quote", "usd", "--every", TRAIN_EVERY]);
        }
        "reporter" => {
            command.args(["--listen", "127.0.0.1:0", "--out", "."]);
        }
        _ => {}
    }
    command
}

/// PSS of each process some time after W1, with one training of the trainer.
async fn memory(effort: Effort, coingecko: &CoinGecko, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let workload = Workload::one(dir.path(), TICKS)?;
    let mut runs: Vec<Vec<(String, f64)>> = Vec::new();
    let (mut fits, mut replays): (Vec<Fit>, Vec<Duration>) = (Vec::new(), Vec::new());
    for run in 1..=effort.runs {
        let mut pipeline = Pipeline::start(1).await?;
        for name in SERVICES.into_iter().filter(|name| ![MARKET_STEP.service, STATS_STEP.service].contains(name)) {
            let mut command = service(&pipeline, name, coingecko);
            pipeline.add(name, &mut command);
        }
        pipeline.until_ready().await?;
        let trainer = pipeline.services["trainer"].process.id();
        let fit = FitWatch::start(trainer);
        replays.push(pipeline.replay(&workload).await?.stats);
        pipeline.until_committed(FORECAST_STEP).await?;
        fits.push(Fit { peak_mb: fit.peak_mb()?, cpu_s: cpu_seconds_of_children(trainer)? });
        let trained = pipeline.services["trainer"].metric("models_total{outcome=\"trained\"}");
        ensure!(trained == Some(1.0), "the trainer has trained {trained:?} times, not once");
        tokio::time::sleep(effort.pick(REST, REST_QUICK)).await;
        let (names, ids): (Vec<_>, Vec<_>) = pipeline.processes().unzip();
        let memory = names.into_iter().zip(pss_bytes_of_all(&ids)?);
        runs.push(memory.map(|(name, bytes)| (name.to_owned(), bytes as f64 / 1e6)).collect());
        say(&format!("footprint: run {run} of {}", effort.runs));
    }
    let each = |wanted: &dyn Fn(&str) -> bool| -> Vec<f64> {
        let sum = |run: &Vec<(String, f64)>| run.iter().filter(|(name, _)| wanted(name)).map(|(_, mb)| mb).sum();
        runs.iter().map(sum).collect()
    };
    let nats = Figure::new("footprint.nats_mb", "MB", each(&|name| name == NATS));
    let services = Figure::new("footprint.services_mb", "MB", each(&|name| name != NATS)).against(&nats);
    let of_all = |name: &'static str| {
        Figure::new(format!("footprint.mb.{name}"), "MB", each(&|found| found == name)).against(&services)
    };
    let parts: Vec<Figure> = SERVICES.into_iter().map(of_all).collect();
    let replay = Figure::seconds("footprint.replay_s", &replays);
    let of_fits = |name: &str, unit, value: fn(&Fit) -> f64| Figure::new(name, unit, fits.iter().map(value).collect());
    let peak = of_fits("footprint.fit_peak_mb", "MB", |fit| fit.peak_mb).against(&services);
    let cpu = of_fits("footprint.fit_cpu_s", "s", |fit| fit.cpu_s).against(&replay);
    let whole = [services, nats];
    Ok(whole.into_iter().chain(parts).chain([replay, peak, cpu]).collect())
}

/// Peak memory of the fit process, which has ended when memory is measured.
struct Fit {
    peak_mb: f64,
    cpu_s: f64,
}

/// Samples the fits of a trainer while they run, until dropped.
struct FitWatch {
    stop: Shutdown,
    watching: Option<JoinHandle<u64>>,
}

impl FitWatch {
    fn start(trainer: u32) -> Self {
        let stop = Shutdown::new();
        let told = stop.clone();
        let watching = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.is_requested() {
                // A process that has just ended has no values any more; one that has just started is still a copy of
                // the trainer.
                let fits = children(trainer).into_iter().filter(|id| name_of(*id) == FIT);
                peak = fits.flat_map(peak_bytes).fold(peak, u64::max);
                std::thread::sleep(LOOK_AT_FIT);
            }
            peak
        });
        Self { stop, watching: Some(watching) }
    }

    /// Peak memory of a fit, in megabytes.
    fn peak_mb(mut self) -> anyhow::Result<f64> {
        let peak = self.end().filter(|peak| *peak > 0).context("no fit was met while it ran")?;
        Ok(peak as f64 / 1e6)
    }

    fn end(&mut self) -> Option<u64> {
        self.stop.request();
        self.watching.take()?.join().ok()
    }
}

impl Drop for FitWatch {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sizes of the built programs.
fn sizes() -> anyhow::Result<Vec<Figure>> {
    let size = |name: &str, path: &Path| {
        let bytes = std::fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.len();
        anyhow::Ok(Figure::new(format!("footprint.binary_mb.{name}"), "MB", vec![bytes as f64 / 1e6]))
    };
    let nats = size(NATS, &checkout().join(".tools/nats-server"))?;
    let own = SERVICES.into_iter().chain(["topology"]);
    let own = own.map(|name| Ok(size(name, &programs().join(name))?.against(&nats)));
    let mut figures = own.collect::<anyhow::Result<Vec<_>>>()?;
    figures.push(nats);
    Ok(figures)
}

/// Time from the start of a process until it reports ready, on a running server.
async fn starts(effort: Effort, coingecko: &CoinGecko, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let pipeline = Pipeline::start(0).await?;
    let servers = (0..effort.runs).map(|_| {
        let start = Instant::now();
        drop(Server::start());
        start.elapsed()
    });
    let nats = Figure::ms("footprint.ready_ms.nats-server", &servers.collect::<Vec<_>>());
    let mut figures = Vec::new();
    for name in SERVICES {
        let mut times = Vec::new();
        for _ in 0..effort.runs {
            let mut command = service(&pipeline, name, coingecko);
            let time = tokio::task::spawn_blocking(move || until_ready(&mut command)).await??;
            times.push(time);
        }
        let ready = Figure::ms(format!("footprint.ready_ms.{name}"), &times).against(&nats);
        figures.push(ready);
    }
    figures.push(nats);
    say(&format!("{} starts of each service", effort.runs));
    Ok(figures)
}

/// Starts a service, stops it gracefully once it is ready, and returns the time until ready.
fn until_ready(command: &mut Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut service = Watched::start(command, |_| {});
    while !service.is_ready() {
        ensure!(start.elapsed() < NEVER, "{command:?} does not get ready: {}", service.page("/readyz").1);
        std::thread::sleep(LOOK);
    }
    let time = start.elapsed();
    service.process.terminate();
    ensure!(service.process.wait() == Some(0), "{command:?} failed");
    Ok(time)
}
