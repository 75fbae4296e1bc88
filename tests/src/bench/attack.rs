//! What strangers without a password can do to live prices: one feed of 100 ticks a second goes on through calm and attack in
//! turns, and each attack is judged beside the calm before all of them.

mod stranger;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::effort::Effort;
use super::live_feed::{Arrivals, Schedule, feed};
use super::pipeline::Pipeline;
use super::process::peak_bytes;
use super::report::{Figure, Promise};
use super::times::Times;
use stranger::Deed;

/// Ticks a second.
const RATE: u64 = 100;
/// Before anything is measured.
const WARM: Duration = Duration::from_secs(4);
/// How long a calm and an attack take, each.
const PHASE: Duration = Duration::from_secs(10);
const PHASE_QUICK: Duration = Duration::from_secs(6);
/// A flood that does not take all it can takes so much of a core.
const HALF: f64 = 0.5;

/// The attacks, with the share of a core that a flood takes.
const ATTACKS: [(Deed, f64); 11] = [
    (Deed::HoldUnknown, HALF),
    (Deed::HoldReading, HALF),
    (Deed::HoldNotReading, HALF),
    (Deed::FloodPublish, HALF),
    (Deed::FloodSubscribe, HALF),
    (Deed::FloodConnect, HALF),
    (Deed::FloodGet, HALF),
    (Deed::FloodPublish, 1.0),
    (Deed::FloodSubscribe, 1.0),
    (Deed::FloodConnect, 1.0),
    (Deed::FloodGet, 1.0),
];

/// So many times the undisturbed 99th percentile while connections are only held, at most.
const HELD_RATIO_MAX: f64 = 3.0;
/// While half a core floods the server every price comes live within so many milliseconds.
const FLOODED_MS_MAX: f64 = 1_000.0;
/// So many seconds after a flood all is as before, at most.
const RECOVERY_S_MAX: f64 = 5.0;

/// Feeds through all attacks; nothing that the pipeline runs may end.
///
/// # Errors
/// A program fails.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let phase = effort.pick(PHASE, PHASE_QUICK);
    let run = RATE * phase.as_secs();
    // A calm, and an attack with the calm behind it for each.
    let schedule = Schedule { rate: RATE, warm: RATE * WARM.as_secs(), run, runs: 1 + 2 * ATTACKS.len() };
    let mut pipeline = Pipeline::start(1).await?;
    let server = pipeline.world.server.url();
    let server: SocketAddr = server.trim_start_matches("nats://").parse().context("the server's address")?;
    say(&format!("{} attacks of {} s each, {RATE} ticks a second", ATTACKS.len(), phase.as_secs()));
    let begins = move |run: usize| schedule.due(schedule.warm + schedule.run * run as u64);
    let attackers = move |start: Instant| {
        std::thread::spawn(move || {
            for (number, (deed, share)) in ATTACKS.into_iter().enumerate() {
                let (from, to) = (start + begins(1 + 2 * number), start + begins(2 + 2 * number));
                std::thread::sleep(from.saturating_duration_since(Instant::now()));
                deed.run(server, to, share);
            }
        });
    };
    let arrivals = feed(&pipeline, schedule, attackers).await?;
    for (name, service) in &mut pipeline.services {
        ensure!(service.process.is_running(), "the {name} has ended by itself");
    }
    let peak = peak_bytes(pipeline.world.server.id())? as f64 / 1e6;
    let mut figures = Judge { schedule, arrivals }.figures();
    figures.push(Figure::new("attack.nats_peak_mb", "MB", vec![peak]));
    Ok(figures)
}

/// What became of the prices.
struct Judge {
    schedule: Schedule,
    arrivals: Arrivals,
}

impl Judge {
    fn figures(&self) -> Vec<Figure> {
        let calm = self.came(0);
        let p99 = Figure::ms("attack.none.price_p99_ms", &[calm.of_thousand(990)]);
        let p50 = Figure::ms("attack.none.price_p50_ms", &[calm.of_thousand(500)]).against(&p99);
        let mut figures = vec![p50, p99.clone()];
        for (number, (deed, share)) in ATTACKS.into_iter().enumerate() {
            figures.extend(self.figures_of(1 + 2 * number, deed, share, &p99));
        }
        figures
    }

    fn figures_of(&self, run: usize, deed: Deed, share: f64, calm: &Figure) -> Vec<Figure> {
        let unlimited = if share < 1.0 { "" } else { "_unlimited" };
        let name = |what: &str| format!("attack.{}{unlimited}.{what}", deed.name());
        let times = self.came(run);
        let p50 = Figure::ms(name("price_p50_ms"), &[times.of_thousand(500)]).against(calm);
        let p99 = Figure::ms(name("price_p99_ms"), &[times.of_thousand(990)]).against(calm);
        let max = Figure::ms(name("price_max_ms"), &[times.max()]).against(calm);
        let missing = Figure::new(name("missing"), "", vec![(self.schedule.run as usize - times.count()) as f64]);
        let recovery = Figure::new(name("recovery_s"), "s", vec![self.recovery_s(run + 1, calm.median())]);
        let ratio = p99.in_parts_of(calm, name("p99_ratio"), "");
        let is_promised = share < 1.0 && deed != Deed::FloodGet;
        let promise = |figure: Figure, limit| if is_promised { figure.promise(Promise::AtMost(limit)) } else { figure };
        let missing = promise(missing, 0.0);
        let recovery = promise(recovery, RECOVERY_S_MAX);
        if deed.is_hold() {
            vec![p50, p99, max, promise(ratio, HELD_RATIO_MAX), missing, recovery]
        } else {
            vec![p50, p99, promise(max, FLOODED_MS_MAX), missing, recovery]
        }
    }

    /// After how long the prices of a run came, those that did.
    fn came(&self, run: usize) -> Times {
        let numbered = self.arrivals.prices.iter().zip(0..);
        self.schedule.of_run(run, numbered.filter_map(|(time, number)| Some((number, (*time)?))))
    }

    /// How long after its beginning a run still has prices that come late, or not at all: later than an attack may make them.
    fn recovery_s(&self, run: usize, calm_ms: f64) -> f64 {
        let begins = self.schedule.due(self.schedule.warm + self.schedule.run * run as u64);
        let of_run =
            self.arrivals.prices.iter().zip(0..).filter(|(_, number)| self.schedule.run_of(*number) == Some(run));
        let late = of_run.filter_map(|(time, number)| {
            let is_late = time.is_none_or(|time| time.as_secs_f64() * 1e3 > HELD_RATIO_MAX * calm_ms);
            is_late.then(|| (self.schedule.due(number) + time.unwrap_or_default() - begins).as_secs_f64())
        });
        late.fold(0.0, f64::max)
    }
}
