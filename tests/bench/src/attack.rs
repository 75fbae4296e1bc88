//! Effect of hostile clients without a password on live prices. One feed of 100 ticks a second runs through calm and
//! attack phases in turn; each attack is compared with the calm phase before all of them.

mod firewall;
mod stranger;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use firewall::Firewall;
use pipeline_tests::process::peak_bytes;
use stranger::Abuse;

use super::effort::Effort;
use super::live_feed::{Arrivals, Schedule, feed};
use super::pipeline::Pipeline;
use super::report::{Figure, Promise};
use super::times::Times;

/// Ticks per second.
const RATE: u64 = 100;
/// Opening connections is a short flood of its own: attacks that hold connections are measured from this long after it.
const OPENING: Duration = Duration::from_secs(1);
/// Warm-up before any measurement.
const WARM: Duration = Duration::from_secs(4);
/// Length of an attack. The following calm takes twice as long, so that one attack does not affect the next.
const PHASE: Duration = Duration::from_secs(8);
const PHASE_QUICK: Duration = Duration::from_secs(4);
/// Phases of an attack and of its calm.
const PHASES: usize = 3;
/// Share of a core used by a limited flood.
const HALF: f64 = 0.5;

/// An attack.
#[derive(Debug, Clone, Copy)]
struct Attack {
    deed: Abuse,
    /// Share of a core that a flood uses, from 0 to 1.
    share: f64,
    /// Whether deploy/firewall.nft is loaded during the attack.
    has_firewall: bool,
}

impl Attack {
    const fn new(deed: Abuse, share: f64) -> Self {
        Self { deed, share, has_firewall: false }
    }

    const fn behind_firewall(self) -> Self {
        Self { has_firewall: true, ..self }
    }

    /// Name in figures.
    fn name(self) -> String {
        let firewall = if self.has_firewall { "_firewall" } else { "" };
        let unlimited = if self.share < 1.0 { "" } else { "_unlimited" };
        format!("attack.{}{firewall}{unlimited}", self.deed.name())
    }

    /// Whether prices are promised to stay live. nats-server cannot limit the rate of requests, nor the load of its own
    /// machine.
    fn is_promised(self) -> bool {
        match self.deed {
            Abuse::FloodGet => false,
            Abuse::FloodPorts => self.has_firewall,
            _ => self.has_firewall || self.share < 1.0,
        }
    }

    fn run(self, server: SocketAddr, until: Instant) -> anyhow::Result<()> {
        let firewall = self.has_firewall.then(|| Firewall::load(server.port())).transpose()?;
        self.deed.run(server, until, self.share);
        firewall.map_or(Ok(()), Firewall::unload)
    }
}

/// The exhaustion of ports comes last: they are free again after a minute.
const ATTACKS: [Attack; 13] = [
    Attack::new(Abuse::FloodUnknown, HALF),
    Attack::new(Abuse::HoldReading, HALF),
    Attack::new(Abuse::HoldNotReading, HALF),
    Attack::new(Abuse::FloodPublish, HALF),
    Attack::new(Abuse::FloodSubscribe, HALF),
    Attack::new(Abuse::FloodConnect, HALF),
    Attack::new(Abuse::FloodPorts, HALF).behind_firewall(),
    Attack::new(Abuse::FloodGet, HALF),
    Attack::new(Abuse::FloodPublish, 1.0),
    Attack::new(Abuse::FloodConnect, 1.0),
    Attack::new(Abuse::FloodConnect, 1.0).behind_firewall(),
    Attack::new(Abuse::FloodGet, 1.0),
    Attack::new(Abuse::FloodPorts, HALF),
];

/// Promise while connections are only held: at most this multiple of the undisturbed 99th percentile.
const HELD_RATIO_MAX: f64 = 3.0;
/// A price that takes longer counts as disturbed.
const DISTURBED: Duration = Duration::from_millis(100);

/// Runs the feed through all attacks; no program of the pipeline may end.
///
/// # Errors
/// A program fails.
pub async fn measure(effort: Effort, say: fn(&str)) -> anyhow::Result<Vec<Figure>> {
    let phase = effort.pick(PHASE, PHASE_QUICK);
    let run = RATE * phase.as_secs();
    let schedule =
        Schedule { rate: RATE, speed: 1, warm: RATE * WARM.as_secs(), run, runs: 1 + PHASES * ATTACKS.len() };
    let mut pipeline = Pipeline::start(1).await?;
    let server = pipeline.base.server.url();
    let server: SocketAddr = server.trim_start_matches("nats://").parse().context("the server's address")?;
    say(&format!("{} attacks of {} s each, {RATE} ticks a second", ATTACKS.len(), phase.as_secs()));
    let begins = move |run: usize| schedule.due(schedule.warm + schedule.run * run as u64);
    let (report, reported) = tokio::sync::oneshot::channel();
    let attackers = move |start: Instant| {
        std::thread::spawn(move || {
            let attack_all = || {
                for (number, attack) in ATTACKS.into_iter().enumerate() {
                    let first = 1 + PHASES * number;
                    std::thread::sleep((start + begins(first)).saturating_duration_since(Instant::now()));
                    attack.run(server, start + begins(first + 1))?;
                }
                anyhow::Ok(())
            };
            report.send(attack_all())
        });
    };
    let arrivals = feed(&pipeline, schedule, attackers).await?;
    reported.await??;
    for (name, service) in &mut pipeline.services {
        ensure!(service.process.is_running(), "the {name} has ended by itself");
    }
    let peak = peak_bytes(pipeline.base.server.id())? as f64 / 1e6;
    let mut figures = Judge { schedule, arrivals }.figures();
    figures.push(Figure::new("attack.nats_peak_mb", "MB", vec![peak]));
    Ok(figures)
}

/// Judges the latencies of the prices.
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
        for (number, attack) in ATTACKS.into_iter().enumerate() {
            figures.extend(self.figures_of(1 + PHASES * number, attack, &p99));
        }
        figures
    }

    fn figures_of(&self, run: usize, attack: Attack, calm: &Figure) -> Vec<Figure> {
        let name = |what: &str| format!("{}.{what}", attack.name());
        let times = self.came(run);
        let held = self.held(run);
        let p50 = Figure::ms(name("price_p50_ms"), &[times.of_thousand(500)]).against(calm);
        let p99 = Figure::ms(name("price_p99_ms"), &[times.of_thousand(990)]).against(calm);
        let max = Figure::ms(name("price_max_ms"), &[times.max()]).against(calm);
        let missing = Figure::new(name("missing"), "", vec![(self.schedule.run as usize - times.count()) as f64]);
        let recovery = Figure::new(name("recovery_s"), "s", vec![self.recovery_s(run)]);
        let held = Figure::ms(name("held_p99_ms"), &[held.of_thousand(990)]).against(calm);
        let ratio = held.in_parts_of(calm, name("held_p99_ratio"), "");
        let is_promised = attack.is_promised();
        let promise = |figure: Figure, limit| if is_promised { figure.promise(Promise::AtMost(limit)) } else { figure };
        let missing = promise(missing, 0.0);
        if attack.deed.is_hold() {
            vec![p50, p99, max, held, promise(ratio, HELD_RATIO_MAX), missing, recovery]
        } else {
            vec![p50, p99, max, missing, recovery]
        }
    }

    /// Latencies of the received prices of a run.
    fn came(&self, run: usize) -> Times {
        let numbered = self.arrivals.prices.iter().zip(0..);
        self.schedule.of_run(run, numbered.filter_map(|(time, number)| Some((number, (*time)?))))
    }

    /// The same without those of the first second.
    fn held(&self, run: usize) -> Times {
        let opened = self.schedule.warm + self.schedule.run * run as u64 + RATE * OPENING.as_secs();
        let numbered = self.arrivals.prices.iter().zip(0..).filter(|(_, number)| *number >= opened);
        self.schedule.of_run(run, numbered.filter_map(|(time, number)| Some((number, (*time)?))))
    }

    /// How long after an attack, whose last run this is, prices are still late or missing.
    fn recovery_s(&self, attack: usize) -> f64 {
        let is_calm = |number| self.schedule.run_of(number).is_some_and(|run| run > attack && run < attack + PHASES);
        let over = self.schedule.due(self.schedule.warm + self.schedule.run * (attack as u64 + 1));
        let of_calm = self.arrivals.prices.iter().zip(0..).filter(|(_, number)| is_calm(*number));
        let disturbed = of_calm.filter(|(time, _)| time.is_none_or(|time| time > DISTURBED));
        let ends =
            disturbed.map(|(time, number)| (self.schedule.due(number) + time.unwrap_or_default() - over).as_secs_f64());
        ends.fold(0.0, f64::max)
    }
}
