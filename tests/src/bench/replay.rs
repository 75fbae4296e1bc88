//! A recording through the whole pipeline: file → FEED → MARKET → STATS, until everything is committed.

use std::collections::BTreeMap;

use bus::Stream;

use super::pipeline::{Pipeline, Replay};
use super::report::{Figure, Promise};
use super::workload::{TICKS, Workload};

/// What a replay of W1 may take, in seconds.
const SECONDS_MAX: f64 = 2.0;

/// Replays of one workload.
#[derive(Debug)]
pub struct Replays {
    name: &'static str,
    ticks: usize,
    runs: Vec<Replay>,
    /// Bytes on disk, by stream.
    bytes: BTreeMap<&'static str, u64>,
}

/// Replays W1, W4 and Wm so often each, every time into a fresh store.
///
/// # Errors
/// A program fails.
pub async fn measure(runs: usize, say: fn(&str)) -> anyhow::Result<Vec<Replays>> {
    let dir = tempfile::tempdir()?;
    type Make = fn(&std::path::Path) -> anyhow::Result<Workload>;
    let make: [(&str, Make); 3] = [
        ("w1", |dir| Workload::one(dir, TICKS)),
        ("w4", |dir| Workload::dealt(dir, TICKS, 4)),
        ("wm", |dir| Workload::minutes(dir, TICKS)),
    ];
    let mut measured = Vec::new();
    for (name, make) in make {
        measured.push(replays(name, &make(dir.path())?, runs).await?);
        say(&format!("{runs} replays of {TICKS} ticks ({name})"));
    }
    Ok(measured)
}

/// Replays a workload so often.
///
/// # Errors
/// A program fails.
pub async fn replays(name: &'static str, workload: &Workload, runs: usize) -> anyhow::Result<Replays> {
    let mut measured = Replays { name, ticks: workload.ticks, runs: Vec::new(), bytes: BTreeMap::new() };
    for _ in 0..runs {
        let pipeline = Pipeline::start(1).await?;
        measured.runs.push(pipeline.replay(workload).await?);
        for stream in [Stream::Feed, Stream::Market, Stream::Stats] {
            measured.bytes.insert(stream.name(), pipeline.stored(stream).await?.0);
        }
    }
    Ok(measured)
}

impl Replays {
    /// The figures; those of W1 carry the promises.
    pub fn figures(&self) -> Vec<Figure> {
        let Self { name, ticks, runs, bytes } = self;
        let each = |value: &dyn Fn(&Replay) -> f64| runs.iter().map(value).collect::<Vec<_>>();
        let figure = |what: &str, unit, value: &dyn Fn(&Replay) -> f64| {
            Figure::new(format!("replay.{name}.{what}"), unit, each(value))
        };
        let mut seconds = figure("seconds", "s", &|run| run.stats.as_secs_f64());
        if *name == "w1" {
            seconds = seconds.promise(Promise::AtMost(SECONDS_MAX));
        }
        let of_whole = |figure: Figure| figure.against(&seconds);
        let mut figures = vec![
            figure("ticks_per_s", "/s", &|run| *ticks as f64 / run.stats.as_secs_f64()),
            of_whole(figure("feed_s", "s", &|run| run.produced.as_secs_f64())),
            of_whole(figure("market_s", "s", &|run| run.market.as_secs_f64())),
        ];
        for process in runs[0].cpu.keys() {
            let cpu = figure(&format!("cpu_s.{process}"), "s", &|run| run.cpu[process]);
            figures.push(of_whole(cpu));
        }
        for (stream, bytes) in bytes {
            let a_tick = *bytes as f64 / *ticks as f64;
            figures.push(Figure::new(
                format!("replay.{name}.bytes_a_tick.{}", stream.to_lowercase()),
                "B",
                vec![a_tick],
            ));
        }
        figures.insert(0, seconds);
        figures
    }
}
