//! nats-server killed in the middle of large commits.

use std::time::Duration;

use bus::topology::Limits;
use pipeline_tests::server::Server;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::ledger::{Confirmed, Ledger, check};

/// How often it is killed, with each setting.
const KILLS: usize = 60;
/// How long it lives each time, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 20..350;
/// What the server logs when it completes a batch that it had applied in part.
const RESTORED: &str = "Restoring partial batch";
/// The line of nats.conf that makes every commit wait for the disk.
pub(super) const SYNC_ALWAYS: &str = "sync_interval: always";

/// Kills the server with both settings; what is stored must be whole, and the server must have had something to complete.
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
    let ledger = Ledger::default();
    let work = tokio::spawn(ledger.clone().commit(server.connect("stream-processor").await));
    let mut rng = StdRng::seed_from_u64(14);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(LIFE_MS))).await;
        anyhow::ensure!(!work.is_finished(), "{:?}", work.await);
        server.kill();
        server.start_again();
    }
    // One more, to see that work goes on after the last kill.
    let before = ledger.acknowledged();
    while ledger.acknowledged() == before {
        anyhow::ensure!(!work.is_finished(), "{:?}", work.await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    work.abort();
    drop(work.await);
    let batches = ledger.acknowledged();
    let restored = server.log().lines().filter(|line| line.contains(RESTORED)).count();
    let wrong = check(&server.connect("admin").await, Confirmed { batches, feed: 0 }).await?;
    Ok((batches, restored, wrong))
}
