//! A recording through the whole pipeline: file → FEED → MARKET → STATS, until everything is committed.

use std::collections::BTreeMap;

use bus::Stream;

use super::effort::Effort;
use super::pipeline::{Pipeline, Replay};
use super::raw::{self, MessageSizes, Raw};
use super::report::{self, Figure};
use super::workload::{TICKS, Workload};

/// Figures shown relative to another figure of this part.
const BESIDE: [(&str, &str); 6] = [
    ("replay.w1.seconds", "raw.seconds"),
    ("replay.w1.ticks_per_s", "raw.ticks_per_s"),
    ("replay.w4.seconds", "replay.w1.seconds"),
    ("replay.w4.ticks_per_s", "replay.w1.ticks_per_s"),
    ("replay.wm.seconds", "replay.w1.seconds"),
    ("replay.wm.ticks_per_s", "replay.w1.ticks_per_s"),
];

/// Replays of one workload.
#[derive(Debug)]
pub struct Replays {
    name: &'static str,
    ticks: usize,
    runs: Vec<Replay>,
    /// Bytes of the recordings.
    recorded: u64,
    /// Bytes on disk after each run, by stream.
    bytes: BTreeMap<&'static str, Vec<u64>>,
    /// The sizes of the last replay's messages, if nats-server alone is to store them again.
    sizes: Option<MessageSizes>,
}

/// Replays W1, W4 and Wm, each time into a fresh store, and lets nats-server alone store the bytes of W1 again.
///
/// # Errors
/// A program fails.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    type Make = fn(&std::path::Path, usize) -> anyhow::Result<Workload>;
    let ticks = effort.pick(TICKS, TICKS / 10);
    let make: [(&str, Make); 3] =
        [("w1", Workload::one), ("w4", |dir, ticks| Workload::dealt(dir, ticks, 4)), ("wm", Workload::minutes)];
    let mut figures = Vec::new();
    for (name, make) in make {
        let dir = tempfile::tempdir()?;
        let replays = replays(name, &make(dir.path(), ticks)?, effort.runs).await?;
        say(&format!("{} replays of {ticks} ticks ({name})", effort.runs));
        let raw = match &replays.sizes {
            Some(sizes) => Some(raw::measure(sizes, effort.runs).await?),
            None => None,
        };
        figures.extend(replays.figures(raw.as_ref()));
    }
    report::compare(&mut figures, &BESIDE);
    Ok(figures)
}

/// Replays a workload this often.
///
/// # Errors
/// A program fails.
pub async fn replays(name: &'static str, workload: &Workload, runs: usize) -> anyhow::Result<Replays> {
    let recorded = workload.recordings.iter().map(|(_, path)| Ok(std::fs::metadata(path)?.len()));
    let mut measured = Replays {
        name,
        ticks: workload.ticks,
        runs: Vec::new(),
        recorded: recorded.sum::<anyhow::Result<u64>>()?,
        bytes: BTreeMap::new(),
        sizes: None,
    };
    for run in 1..=runs {
        let pipeline = Pipeline::start(1).await?;
        measured.runs.push(pipeline.replay(workload).await?);
        for stream in [Stream::Feed, Stream::Market, Stream::Stats] {
            measured.bytes.entry(stream.name()).or_default().push(pipeline.bytes_on_disk(stream)?);
        }
        if name == "w1" && run == runs {
            measured.sizes = Some(MessageSizes::of(&pipeline).await?);
        }
    }
    Ok(measured)
}

impl Replays {
    /// The figures; those of W1 are followed by those of nats-server alone.
    pub fn figures(&self, raw: Option<&Raw>) -> Vec<Figure> {
        let Self { name, ticks, runs, recorded, bytes, .. } = self;
        let each = |value: &dyn Fn(&Replay) -> f64| runs.iter().map(value).collect::<Vec<_>>();
        let figure = |what: &str, unit, value: &dyn Fn(&Replay) -> f64| {
            Figure::new(format!("replay.{name}.{what}"), unit, each(value))
        };
        let seconds = figure("seconds", "s", &|run| run.stats.as_secs_f64());
        let raw = raw.map(|raw| raw.figures(&seconds, *ticks)).unwrap_or_default();
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
        let a_tick = |what: &str, bytes: &[u64]| {
            let values = bytes.iter().map(|bytes| *bytes as f64 / *ticks as f64).collect();
            Figure::new(format!("replay.{name}.bytes_a_tick.{what}"), "B", values)
        };
        let recording = a_tick("recording", &[*recorded]);
        figures.extend(bytes.iter().map(|(stream, bytes)| a_tick(&stream.to_lowercase(), bytes).against(&recording)));
        figures.push(recording);
        figures.insert(0, seconds);
        figures.extend(raw);
        figures
    }
}
