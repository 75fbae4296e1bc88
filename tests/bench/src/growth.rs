//! Scaling: replays with other numbers of instruments, instances and ticks, and the memory used afterward.
//!
//! Every turn replays each case once into a fresh store, so that other load of the machine affects all cases alike.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aggregator::Aggregation;
use anyhow::{Context, ensure};
use bus::topology::Limits;
use pipeline_tests::process::{peak_bytes, pss_bytes};
use step::Operator;
use step::checkpoint::recover;
use stream_processor::Processing;

use super::effort::Effort;
use super::pipeline::{NATS, Pipeline};
use super::report::{Figure, Promise};
use super::workload::{TICKS, Workload};

/// Instruments of the cases in which the number of instances grows: a single instrument is always processed by one
/// instance.
const SHARED: usize = 100;
const MANY: usize = 10_000;
/// Pause after a replay before memory is measured, so that work in progress has finished.
const REST: Duration = Duration::from_secs(3);
/// The same where memory must not grow: nats-server keeps just-written blocks for ten seconds.
const REST_LONG: Duration = Duration::from_secs(30);
/// nats-server keeps unused buffers until Go has collected garbage twice; when idle it does so every two minutes.
const REST_COLLECTED: Duration = Duration::from_secs(250);
/// Promises: the rate of ten million ticks relative to one million, and the memory of the services likewise.
const TICKS_MIN: f64 = 0.9;
const MEMORY_MAX: f64 = 1.1;

/// Replay of a workload by a number of instances of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    ticks: usize,
    instruments: usize,
    instances: usize,
}

/// Results of one replay.
#[derive(Debug)]
struct Outcome {
    ticks_per_s: f64,
    /// Bytes by process, after the replay and at peak: PSS, and resident memory, in which shared pages count whole.
    memory: BTreeMap<String, (u64, u64)>,
    /// Total bytes of the stored states, by service.
    states: BTreeMap<&'static str, usize>,
}

/// The cases of one series, by their size.
struct Series {
    name: &'static str,
    cases: Vec<(usize, Case)>,
}

/// Measures all series.
///
/// # Errors
/// A program fails, or a tick is not accepted.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let all = series(effort.pick(TICKS, TICKS / 10));
    let mut cases: Vec<Case> = all.iter().flat_map(|series| &series.cases).map(|(_, case)| *case).collect();
    cases.sort_unstable();
    cases.dedup();
    let dir = tempfile::tempdir()?;
    let mut outcomes: BTreeMap<Case, Vec<Outcome>> = BTreeMap::new();
    let workloads = cases.iter().map(|case| Ok((*case, case.workload(dir.path())?)));
    let workloads: Vec<(Case, Workload)> = workloads.collect::<anyhow::Result<_>>()?;
    for run in 1..=effort.runs {
        for (case, workload) in &workloads {
            outcomes.entry(*case).or_default().push(case.replay(workload).await?);
        }
        say(&format!("growth: turn {run} of {}, {} cases", effort.runs, cases.len()));
    }
    let mut figures: Vec<Figure> = all.iter().flat_map(|series| series.figures(&outcomes)).collect();
    if !effort.is_quick {
        let [_, _, ticks] = &all;
        say(&format!("growth: nats-server's garbage, {} s", REST_COLLECTED.as_secs()));
        figures.extend(ticks.collected(&workloads).await?);
    }
    figures.extend(promises(&all, &outcomes, !effort.is_quick));
    Ok(figures)
}

/// Three series around a common replay: one instrument, one instance, and this many ticks.
fn series(ticks: usize) -> [Series; 3] {
    let instruments = |instruments| (instruments, Case { ticks, instruments, instances: 1 });
    let instances = |instances| (instances, Case { ticks, instruments: SHARED, instances });
    let tickses = |ticks| (ticks, Case { ticks, instruments: 1, instances: 1 });
    [
        Series { name: "instruments", cases: [1, 10, 100, 1_000, MANY].map(instruments).to_vec() },
        Series { name: "instances", cases: [1, 2, 4].map(instances).to_vec() },
        Series { name: "ticks", cases: [ticks / 10, ticks, ticks * 10].map(tickses).to_vec() },
    ]
}

impl Case {
    fn workload(self, dir: &Path) -> anyhow::Result<Workload> {
        let dir = dir.join(format!("{}-{}-{}", self.ticks, self.instruments, self.instances));
        std::fs::create_dir(&dir)?;
        Workload::side_by_side(&dir, self.ticks, self.instruments)
    }

    async fn replay(self, workload: &Workload) -> anyhow::Result<Outcome> {
        let pipeline = Pipeline::start(self.instances).await?;
        let replay = pipeline.replay(workload).await?;
        let accepted = pipeline.accepted().await?;
        ensure!(accepted == self.ticks as u64, "{accepted} of {} ticks were accepted", self.ticks);
        let is_long = self.instruments == 1 && self.ticks >= TICKS;
        tokio::time::sleep(if is_long { REST_LONG } else { REST }).await;
        let memory = pipeline.processes().map(|(name, id)| Ok((name.to_owned(), (pss_bytes(id)?, peak_bytes(id)?))));
        let memory = memory.collect::<anyhow::Result<_>>()?;
        let states =
            [state_bytes::<Processing>(&pipeline, self).await?, state_bytes::<Aggregation>(&pipeline, self).await?];
        Ok(Outcome { ticks_per_s: replay.rate(workload), memory, states: states.into() })
    }
}

/// Total bytes of the stored states of a step; there must be one per instrument.
async fn state_bytes<O: Operator>(pipeline: &Pipeline, case: Case) -> anyhow::Result<(&'static str, usize)> {
    let (mut states, mut bytes) = (0, 0);
    for partition in 0..Limits::default().partitions {
        let checkpoint = recover::<O::State, O::Counts>(pipeline.admin(), O::STEP, partition).await?;
        states += checkpoint.states.len();
        bytes += checkpoint.states.iter().map(|state| state.encoded.len()).sum::<usize>();
    }
    ensure!(states == case.instruments, "{} states of {} instruments", states, case.instruments);
    Ok((O::STEP.service, bytes))
}

impl Outcome {
    fn services(&self, which: fn(&(u64, u64)) -> u64) -> f64 {
        let services = self.memory.iter().filter(|(name, _)| *name != NATS);
        services.map(|(_, memory)| which(memory)).sum::<u64>() as f64
    }

    fn nats(&self, which: fn(&(u64, u64)) -> u64) -> f64 {
        self.memory.get(NATS).map_or(0.0, |memory| which(memory) as f64)
    }
}

impl Series {
    /// The figures of each case; rates are relative to the first case.
    fn figures(&self, outcomes: &BTreeMap<Case, Vec<Outcome>>) -> Vec<Figure> {
        let mut figures: Vec<Figure> = Vec::new();
        for (size, case) in &self.cases {
            let figure = |what: &str, unit, value: &dyn Fn(&Outcome) -> f64| {
                let values = outcomes[case].iter().map(value).collect();
                Figure::new(format!("growth.{}.{size}.{what}", self.name), unit, values)
            };
            let of_first = |figure: Figure, first: Option<&Figure>| match first {
                Some(first) => figure.against(first),
                None => figure,
            };
            let of_case = [
                figure("ticks_per_s", "/s", &|outcome| outcome.ticks_per_s),
                figure("services_mb", "MB", &|outcome| outcome.services(|memory| memory.0) / 1e6),
                figure("services_peak_mb", "MB", &|outcome| outcome.services(|memory| memory.1) / 1e6),
                figure("nats_mb", "MB", &|outcome| outcome.nats(|memory| memory.0) / 1e6),
                figure("nats_peak_mb", "MB", &|outcome| outcome.nats(|memory| memory.1) / 1e6),
            ];
            let first: Vec<Figure> = figures.iter().take(of_case.len()).cloned().collect();
            figures.extend(of_case.into_iter().enumerate().map(|(idx, figure)| of_first(figure, first.get(idx))));
        }
        figures
    }

    /// Memory of nats-server in each case but the smallest, once its garbage is collected. The servers wait for that
    /// together, and share the pages of their code meanwhile.
    async fn collected(&self, workloads: &[(Case, Workload)]) -> anyhow::Result<Vec<Figure>> {
        let mut pipelines = Vec::new();
        for (size, case) in &self.cases[1..] {
            let pipeline = Pipeline::start(case.instances).await?;
            let (_, workload) = workloads.iter().find(|(of, _)| of == case).context("a workload for each case")?;
            pipeline.replay(workload).await?;
            pipelines.push((size, pipeline));
        }
        tokio::time::sleep(REST_COLLECTED).await;
        let mut figures: Vec<Figure> = Vec::new();
        for (size, pipeline) in &pipelines {
            let held = pss_bytes(pipeline.base.server.id())? as f64 / 1e6;
            let figure = Figure::new(format!("growth.{}.{size}.nats_collected_mb", self.name), "MB", vec![held]);
            figures.push(figures.first().map_or(figure.clone(), |first| figure.against(first)));
        }
        Ok(figures)
    }

    /// The outcomes of the case with this index.
    fn at<'a>(&self, outcomes: &'a BTreeMap<Case, Vec<Outcome>>, idx: usize) -> &'a [Outcome] {
        &outcomes[&self.cases[idx].1]
    }
}

/// The promises about growth, turn by turn. Not judged in a quick check.
fn promises(all: &[Series; 3], outcomes: &BTreeMap<Case, Vec<Outcome>>, are_held: bool) -> Vec<Figure> {
    let [instruments, _, ticks] = all;
    let (one, many) = (instruments.at(outcomes, 0), instruments.at(outcomes, instruments.cases.len() - 1));
    let (million, ten) = (ticks.at(outcomes, 1), ticks.at(outcomes, 2));
    let figure = |name: &str, unit, small: &[Outcome], large: &[Outcome], value: &dyn Fn(&Outcome, &Outcome) -> f64| {
        let values = large.iter().zip(small).map(|(large, small)| value(large, small)).collect();
        Figure::new(format!("growth.{name}"), unit, values)
    };
    let held = |figure: Figure, promise| if are_held { figure.promise(promise) } else { figure };
    let rate = |large: &Outcome, small: &Outcome| large.ticks_per_s / small.ticks_per_s;
    let memory =
        |large: &Outcome, small: &Outcome| large.services(|memory| memory.0) / small.services(|memory| memory.0);
    let peak = |large: &Outcome, small: &Outcome| large.services(|memory| memory.1) / small.services(|memory| memory.1);
    let nats = |large: &Outcome, small: &Outcome| large.nats(|memory| memory.0) / small.nats(|memory| memory.0);
    let mut figures = vec![
        figure("rate_ratio.instruments", "", one, many, &rate),
        held(figure("rate_ratio.ticks", "", million, ten, &rate), Promise::AtLeast(TICKS_MIN)),
        held(figure("memory_ratio.ticks", "", million, ten, &memory), Promise::AtMost(MEMORY_MAX)),
        figure("peak_ratio.ticks", "", million, ten, &peak),
        figure("nats_ratio.ticks", "", million, ten, &nats),
    ];
    for service in many[0].states.keys() {
        let grown = |large: &Outcome, small: &Outcome| {
            let bytes = |outcome: &Outcome| outcome.memory[*service].0 as f64;
            (bytes(large) - bytes(small)) / (MANY - 1) as f64
        };
        let stored = |large: &Outcome, _: &Outcome| large.states[service] as f64 / MANY as f64;
        let in_memory = figure(&format!("instrument_b.{service}"), "B", one, many, &grown);
        figures.push(in_memory);
        let stored = figure(&format!("stored_state_b.{service}"), "B", one, many, &stored);
        figures.push(stored);
    }
    figures
}
