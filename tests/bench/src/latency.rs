//! Latency of a live tick, and of the candle that it closes, at three rates.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use super::effort::Effort;
use super::live_feed::{Arrivals, Schedule, feed};
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::times::Times;

/// Ticks per second, length of a run, and speed of event time relative to the clock.
const FEEDS: [(u64, Duration, u64); 5] = [
    (10, Duration::from_secs(20), FAST),
    (100, Duration::from_secs(20), FAST),
    (1_000, Duration::from_secs(10), FAST),
    (100, Duration::from_secs(20), 1),
    (1_000, Duration::from_secs(10), 1),
];
/// At this speed ticks are 15 seconds of event time apart, so a candle has four.
const FAST: u64 = 15;
const QUICK: Duration = Duration::from_secs(5);
/// Warm-up of each feed: new instruments appear and files are created.
const WARM: Duration = Duration::from_secs(4);

/// Promise at the median of 100 ticks a second: a price takes at most this multiple of the time to store its tick in FEED.
const RATIO: (u64, f64) = (100, 6.0);

/// Measures feeds of 10, 100 and 1,000 ticks a second, each with a fresh store.
///
/// # Errors
/// A program fails, or a result does not arrive.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    // Pending writes of other measurements are no load of a live feed.
    ensure!(Command::new("sync").status()?.success(), "cannot write out what waits for the disk");
    let mut figures = Vec::new();
    for (rate, length, speed) in FEEDS {
        let ticks = |length: Duration| rate * length.as_secs();
        let run = ticks(effort.pick(length, QUICK));
        let schedule = Schedule { rate, speed, warm: ticks(WARM), run, runs: effort.runs };
        let pipeline = Pipeline::start(1).await?;
        let arrivals = feed(&pipeline, schedule, |_| ()).await?;
        schedule.check_complete(&arrivals)?;
        say(&format!("{} runs of {run} ticks, {rate} a second, event time {speed} ×", effort.runs));
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
        let ratio = prices[0].in_parts_of(&stored[0], format!("{}.price_ratio", self.name()), "×");
        let ratio = match RATIO {
            (rate, limit) if (rate, FAST) == (self.rate, self.speed) => ratio.promise(Promise::AtMost(limit)),
            _ => ratio,
        };
        [prices, vec![ratio], candles, stored].into_iter().flatten().collect()
    }

    /// The beginning of the names of its figures.
    fn name(self) -> String {
        match self.speed {
            FAST => format!("latency.{}", self.rate),
            speed => format!("latency.event_time_{speed}x.{}", self.rate),
        }
    }

    fn figures_of(self, what: &str, times: &[(u64, Duration)], beside: Option<&Figure>) -> Vec<Figure> {
        let by_run: Vec<Times> = (0..self.runs).map(|run| self.of_run(run, times.iter().copied())).collect();
        let all: Times =
            times.iter().filter(|(number, _)| self.run_of(*number).is_some()).map(|(_, time)| *time).collect();
        let figure = |name: &str, thousandths: usize, times: &[Times]| {
            let times: Vec<_> = times.iter().map(|times| times.of_thousand(thousandths)).collect();
            let figure = Figure::ms(format!("{}.{what}_{name}_ms", self.name()), &times);
            beside.map_or(figure.clone(), |beside| figure.against(beside))
        };
        let all = std::slice::from_ref(&all);
        let p50 = figure("p50", 500, &by_run);
        let rare = [figure("p99", 990, &by_run), figure("p999", 999, all), figure("max", 1_000, all)];
        // The figure that the others are relative to has no ratio itself.
        let rare = rare.map(|figure| if beside.is_none() { figure.against(&p50) } else { figure });
        [p50].into_iter().chain(rare).collect()
    }
}
