//! Kills nats-server in the middle of large commits.

use std::time::Duration;

use bus::topology::Limits;
use pipeline_tests::server::Server;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::numbered_batches::{Confirmed, NumberedBatches, check};

/// Number of kills with each setting.
const KILLS: usize = 60;
/// Lifetime before each kill, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 20..350;
/// Logged by nats-server when it completes a batch that it had applied in part.
const RESTORED: &str = "Restoring partial batch";
/// The line of nats.conf that syncs every commit to disk.
pub(super) const SYNC_ALWAYS: &str = "sync_interval: always";

/// Kills the server with both settings; the stored batches must be whole, and at least one start must have completed a
/// batch.
pub(super) async fn servers(say: fn(&str)) -> anyhow::Result<Result<String, String>> {
    let mut details = Vec::new();
    for (name, sync) in [("always", SYNC_ALWAYS), ("default", "")] {
        let server = Server::start_with(|conf| conf.replace(SYNC_ALWAYS, sync));
        let (batches, restored, wrong) = kill(server).await?;
        say(&format!("sync {name}: {KILLS} kills, {batches} batches of 900, {restored} completed at a start"));
        if let Some(first) = wrong.first() {
            return Ok(Err(format!("sync {name}: {first}, and {} more", wrong.len() - 1)));
        }
        details.push((name, batches, restored));
    }
    let detail: Vec<String> = details
        .iter()
        .map(|(name, batches, restored)| format!("sync {name}: {batches} batches whole, {restored} restored"))
        .collect();
    let detail = format!("{KILLS} kills each; {}", detail.join("; "));
    let was_in_the_middle = details.iter().any(|(_, _, restored)| *restored > 0);
    Ok(if was_in_the_middle { Ok(detail) } else { Err(format!("never in the middle of a batch: {detail}")) })
}

async fn kill(mut server: Server) -> anyhow::Result<(u64, usize, Vec<String>)> {
    server.create_streams(&Limits::default()).await;
    let batches = NumberedBatches::default();
    let work = tokio::spawn(batches.clone().commit(server.connect("stream-processor").await));
    let mut rng = StdRng::seed_from_u64(14);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(LIFE_MS))).await;
        anyhow::ensure!(!work.is_finished(), "{:?}", work.await);
        server.kill();
        server.start_again();
    }
    // One more start, to see that work continues after the last kill.
    let before = batches.acknowledged();
    while batches.acknowledged() == before {
        anyhow::ensure!(!work.is_finished(), "{:?}", work.await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    work.abort();
    drop(work.await);
    let batches = batches.acknowledged();
    let restored = server.log().lines().filter(|line| line.contains(RESTORED)).count();
    let wrong = check(&server.connect("admin").await, Confirmed { batches, feed: 0 }).await?;
    Ok((batches, restored, wrong))
}
