//! Latency of a live tick, and of the candle that it closes, at three rates.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use super::effort::Effort;
use super::live_feed::{Arrivals, Schedule, feed};
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::times::Times;

/// Ticks per second, and the length of a run.
const FEEDS: [(u64, Duration); 3] =
    [(10, Duration::from_secs(20)), (100, Duration::from_secs(20)), (1_000, Duration::from_secs(10))];
/// At this speed ticks are 15 seconds of event time apart, so a candle has four.
const EVENT_SPEED: u64 = 15;
const QUICK: Duration = Duration::from_secs(5);
/// Warm-up of each feed: new instruments appear and files are created.
const WARM: Duration = Duration::from_secs(4);

/// Promises: ticks per second, quantile in thousandths, and most milliseconds.
const PROMISES: [(u64, usize, f64); 3] = [(100, 500, 3.0), (100, 990, 10.0), (1_000, 990, 20.0)];

/// Measures feeds of 10, 100 and 1,000 ticks a second, each with a fresh store.
///
/// # Errors
/// A program fails, or a result does not arrive.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    // Pending writes of other measurements are no load of a live feed.
    ensure!(Command::new("sync").status()?.success(), "cannot write out what waits for the disk");
    let mut figures = Vec::new();
    for (rate, length) in FEEDS {
        let ticks = |length: Duration| rate * length.as_secs();
        let run = ticks(effort.pick(length, QUICK));
        let schedule = Schedule { rate, speed: EVENT_SPEED, warm: ticks(WARM), run, runs: effort.runs };
        let pipeline = Pipeline::start(1).await?;
        let arrivals = feed(&pipeline, schedule, |_| ()).await?;
        schedule.check_complete(&arrivals)?;
        say(&format!("{} runs of {run} ticks, {rate} a second", effort.runs));
        figures.extend(schedule.figures(&arrivals));
    }
    Ok(figures)
}

impl Schedule {
    /// Medians over the runs for frequent results; rare ones are taken over all runs together.
    fn figures(self, arrivals: &Arrivals) -> Vec<Figure> {
        let numbered = |times: &[Option<Duration>]| -> Vec<(u64, Duration)> {
            times.iter().zip(0..).filter_map(|(time, number)| Some((number, (*time)?))).collect()
        };
        let stored = self.figures_of("publish", &numbered(&arrivals.stored), None);
        let prices = self.figures_of("price", &numbered(&arrivals.prices), Some(&stored[0]));
        let candles = self.figures_of("candle", &arrivals.candles, Some(&stored[0]));
        [prices, candles, stored].into_iter().flatten().collect()
    }

    fn figures_of(self, what: &str, times: &[(u64, Duration)], beside: Option<&Figure>) -> Vec<Figure> {
        let by_run: Vec<Times> = (0..self.runs).map(|run| self.of_run(run, times.iter().copied())).collect();
        let all: Times =
            times.iter().filter(|(number, _)| self.run_of(*number).is_some()).map(|(_, time)| *time).collect();
        let figure = |name: &str, thousandths: usize, times: &[Times]| {
            let times: Vec<_> = times.iter().map(|times| times.of_thousand(thousandths)).collect();
            let figure = Figure::ms(format!("latency.{}.{what}_{name}_ms", self.rate), &times);
            let figure = beside.map_or(figure.clone(), |beside| figure.against(beside));
            let kept =
                PROMISES.into_iter().find(|&(rate, of, _)| what == "price" && (rate, of) == (self.rate, thousandths));
            kept.map_or(figure.clone(), |(.., limit)| figure.promise(Promise::AtMost(limit)))
        };
        let all = std::slice::from_ref(&all);
        let p50 = figure("p50", 500, &by_run);
        let rare = [figure("p99", 990, &by_run), figure("p999", 999, all), figure("max", 1_000, all)];
        // The figure that the others are relative to has no ratio itself.
        let rare = rare.map(|figure| if beside.is_none() { figure.against(&p50) } else { figure });
        [p50].into_iter().chain(rare).collect()
    }
}
