//! Three servers whose leaders freeze and die under running services; no service may mistake that for another log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use bus::publish::publish;
use bus::topology::Limits;
use bus::{Connection, Stream};
use pipeline_tests::cluster::Cluster;
use pipeline_tests::programs::{Running, succeed};
use pipeline_tests::test_pipeline::{LEASE_TTL_VARIABLE, TestPipeline};
use pipeline_tests::ticks;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

const ROUNDS: usize = 20;
/// Length of a freeze, or downtime of a killed leader, in milliseconds.
const AWAY_MS: std::ops::Range<u64> = 1_000..11_000;
/// One in this many rounds kills the leader instead of freezing it.
const KILL_EVERY: usize = 4;
const SERVICES: [&str; 4] = ["stream-processor", "stream-processor", "aggregator", "aggregator"];
/// Pause between the ticks of an instrument.
const PAUSE: Duration = Duration::from_millis(20);
/// 2023-01-01.
const FIRST_MS: i64 = 1_672_531_200_000;
/// Event time between two ticks, so that minutes close all the time.
const STEP_MS: i64 = 7_000;

/// Freezes and kills leaders of FEED and MARKET, then audits. No service may end by itself.
pub(super) async fn leaders(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut base = TestPipeline { server: Cluster::with_limits(&Limits::default()).await, dir: tempfile::tempdir()? };
    let mut services = SERVICES.map(|name| {
        // Three servers need a long lease time to live, as deploy/nats/cluster.conf advises.
        Running::start(base.program(name).arg("run").env(LEASE_TTL_VARIABLE, "15s"))
    });
    let feed = Feed::start(&base.server.connect("producer").await);
    let mut rng = StdRng::seed_from_u64(19);
    for round in 1..=ROUNDS {
        let stream = if rng.random_range(0..4) == 0 { Stream::Feed } else { Stream::Market };
        let leader = base.server.wait_for_leader(stream);
        let away = Duration::from_millis(rng.random_range(AWAY_MS));
        let kills = round % KILL_EVERY == 0;
        if kills {
            base.server.kill(leader)
        } else {
            base.server.freeze(leader)
        }
        tokio::time::sleep(away).await;
        if kills {
            base.server.start_again(leader)
        } else {
            base.server.thaw(leader)
        }
        base.server.wait_until_healthy();
        for (name, service) in SERVICES.iter().zip(&mut services) {
            ensure!(
                service.is_running(),
                "round {round}: the {name} has ended by itself, exit code {:?}",
                service.wait()
            );
        }
        let fault = if kills { "killed" } else { "frozen" };
        say(&format!("round {round} of {ROUNDS}: leader of {stream} {fault} for {:.1} s", away.as_secs_f64()));
    }
    let ticks = feed.stop().await?;
    if !base.program("topology").args(["wait", "--stalled", "90"]).status()?.success() {
        return Ok(Err(format!("the steps are stuck:\n{}", succeed(base.program("topology").arg("show")))));
    }
    base.server.wait_until_whole();
    let accepted = base.count("accepted");
    succeed(base.program("aggregator").arg("audit"));
    let detail = format!("{ROUNDS} leaders frozen or killed, {accepted} prices of {ticks}, no service ended");
    Ok(if accepted == ticks { Ok(detail) } else { Err(detail) })
}

/// A producer that publishes a tick of each instrument in turn until it is stopped.
struct Feed {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<u64, bus::Error>>,
}

impl Feed {
    fn start(producer: &Connection) -> Self {
        let (producer, stop, instruments) = (producer.clone(), Arc::<AtomicBool>::default(), ticks::instruments(16));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let event_ms = FIRST_MS + (sent / instruments.len() as u64) as i64 * STEP_MS;
                let instrument = &instruments[sent as usize % instruments.len()];
                publish(&producer, &ticks::tick(instrument, event_ms)).await?;
                sent += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(sent)
        });
        Self { stop, task }
    }

    /// Ends it; returns the number of ticks in FEED.
    async fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await??)
    }
}
