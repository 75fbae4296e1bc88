//! Kills workers of both steps under bursts of every size.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use async_nats::header::NATS_BATCH_ID;
use bus::reader::{Selection, read_to_end};
use bus::topology::Limits;
use bus::{Connection, Stream, subject};
use futures::{StreamExt, TryStreamExt};
use market::Instrument;
use pipeline_tests::instance::{Condition, Instance};
use pipeline_tests::test_pipeline::TestPipeline;
use pipeline_tests::ticks;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use crate::{Audit, output, program};

/// Kills of workers, of both steps in turn.
const KILLS: usize = 300;
/// Lifetime of a worker after its start, in milliseconds: mostly just long enough to start, sometimes long enough to
/// catch up.
const LIFE_MS: std::ops::Range<u64> = 10..500;
/// Downtime of a worker, in milliseconds.
const SHORT_AWAY_MS: std::ops::Range<u64> = 0..40;
const LONG_AWAY_MS: u64 = 1_500;
/// Minimum size of the largest batch: proves that there was a backlog. Full batches are tested elsewhere, since a
/// reader never has that much input at once here.
const LARGE: usize = 400;
/// Enough to fill a batch: each may add a price, a candle and a state.
const INSTRUMENTS: usize = 600;
/// Concurrent publishes.
const ASKED_MAX: usize = 512;
/// Pause between two bursts, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 0..60;
const STEP: Duration = Duration::from_millis(5);

/// Kills workers; the audit must find no difference, and the commits must have had all sizes.
pub(super) async fn workers(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut chain = Chain::start().await?;
    let mut rng = StdRng::seed_from_u64(14);
    for number in 1..=KILLS {
        // Now and then long enough for the backlog to fill a batch.
        let away = if rng.random_ratio(1, 15) { LONG_AWAY_MS } else { rng.random_range(SHORT_AWAY_MS) };
        let life = rng.random_range(LIFE_MS);
        chain.pass(Duration::from_millis(life)).await?;
        chain.steps[number % 2].kill(Duration::from_millis(away));
        if number % 50 == 0 {
            say(&format!("{number} of {KILLS} kills, {} ticks published", chain.published()));
        }
    }
    let (base, published) = chain.finish().await?;
    let audit = Audit::take(&base).await?;
    let sizes = batch_sizes(&base.server.connect("admin").await).await?;
    let accepted = base.count("accepted");
    let detail = format!(
        "{KILLS} kills, {published} ticks, {accepted} accepted, {} batches of {} to {} messages; {} windows audited, {} \
         different, {} missing, {} extra",
        sizes.count, sizes.min, sizes.max, audit.windows, audit.different, audit.missing, audit.extra
    );
    let is_good = audit.is_clean() && accepted == published && sizes.max >= LARGE;
    Ok(if is_good { Ok(detail) } else { Err(detail) })
}

/// One process of each step, under a feeder.
struct Chain {
    base: TestPipeline,
    steps: [Instance; 2],
    feeder: JoinHandle<anyhow::Result<()>>,
    published: tokio::sync::watch::Receiver<u64>,
    stop: service::Shutdown,
}

const SERVICES: [&str; 2] = ["stream-processor", "aggregator"];

impl Chain {
    async fn start() -> anyhow::Result<Self> {
        // A single partition: all instruments are in its batches.
        let base = TestPipeline::with_limits(&Limits { partitions: 1, ..Limits::default() }).await;
        let start = |service: &str| Instance::start(service, base.dir.path(), &mut program(&base, service, &["run"]));
        let steps = [start(SERVICES[0])?, start(SERVICES[1])?];
        let (sender, published) = tokio::sync::watch::channel(0);
        let stop = service::Shutdown::new();
        let feeder = tokio::spawn(feed(base.server.connect("producer").await, sender, stop.clone()));
        Ok(Self { base, steps, feeder, published, stop })
    }

    fn published(&self) -> u64 {
        *self.published.borrow()
    }

    /// Lets time pass, and restarts killed workers.
    async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.tend()?;
            let is_up = self.steps.iter().all(|step| step.condition() == Condition::Up);
            if is_up && start.elapsed() >= time {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn tend(&mut self) -> anyhow::Result<()> {
        for (step, service) in self.steps.iter_mut().zip(SERVICES) {
            if step.tend()? {
                step.start_again(&mut program(&self.base, service, &["run"]))?;
            }
            ensure!(step.condition() != Condition::Done, "the {service} ended by itself");
        }
        ensure!(!self.feeder.is_finished(), "the feeder ended by itself");
        Ok(())
    }

    /// Ends the feeder and waits until all is committed; returns the number of ticks.
    async fn finish(mut self) -> anyhow::Result<(TestPipeline, u64)> {
        self.pass(Duration::ZERO).await?;
        self.stop.request();
        self.feeder.await??;
        output(program(&self.base, "topology", &["wait"])).await?;
        for step in &mut self.steps {
            step.tend()?;
            if let Some(line) = step.lines_with(" ERROR ").first() {
                bail!("{line}");
            }
        }
        let published = *self.published.borrow();
        Ok((self.base, published))
    }
}

/// Publishes bursts to 1 to all instruments, with one tick of equal event time each.
async fn feed(
    connection: Connection,
    published: tokio::sync::watch::Sender<u64>,
    stop: service::Shutdown,
) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(19);
    let mut instruments = (0..INSTRUMENTS)
        .map(|number| Instrument::new(&format!("coin-{number}"), "usd"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut event_ms = 1_583_020_800_000;
    while !stop.is_requested() {
        // Mostly another minute than the tick before, so that a tick also makes a candle.
        event_ms += rng.random_range(30_000..120_000);
        instruments.shuffle(&mut rng);
        // Small bursts are as likely as large ones: powers of two, and sizes between them.
        let most = 1 << rng.random_range(0..10);
        let count = instruments.len().min(rng.random_range(most / 2..most) + 1);
        let publishes = instruments.iter().take(count).map(|instrument| {
            let (connection, message) = (connection.clone(), ticks::tick(instrument, event_ms));
            async move { bus::publish::publish(&connection, &message).await.map(drop) }
        });
        futures::stream::iter(publishes.collect::<Vec<_>>()).buffer_unordered(ASKED_MAX).try_collect::<()>().await?;
        published.send_modify(|published| *published += count as u64);
        tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE_MS))).await;
    }
    Ok(())
}

/// Sizes of the batches of MARKET.
struct Sizes {
    count: usize,
    min: usize,
    max: usize,
}

/// A batch has outputs, at most one state per instrument, and the position.
async fn batch_sizes(admin: &Connection) -> anyhow::Result<Sizes> {
    let mut batches: BTreeMap<String, (usize, HashSet<String>)> = BTreeMap::new();
    let filters = vec![subject::all_of_partition(Stream::Market, 0)];
    read_to_end(admin, Selection { stream: Stream::Market, filters, from: 1 }, |delivery| {
        let Some(id) = delivery.headers.as_ref().and_then(|headers| headers.get(NATS_BATCH_ID)) else { return Ok(()) };
        let (outputs, instruments) = batches.entry(id.as_str().to_owned()).or_default();
        *outputs += 1;
        instruments.insert(delivery.subject.split('.').skip(3).collect::<Vec<_>>().join("."));
        anyhow::Ok(())
    })
    .await?;
    let sizes = || batches.values().map(|(outputs, instruments)| outputs + instruments.len() + 1);
    Ok(Sizes { count: batches.len(), min: sizes().min().unwrap_or(0), max: sizes().max().unwrap_or(0) })
}
